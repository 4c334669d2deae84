package store

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"gatehouse/account"
)

const deviceColumns = `d.id, d.account_id, d.device_id, d.device_name, d.platform, d.created_at, d.last_used_at, d.expires_at`

func deviceTargets(d *account.TrustedDevice) []any {
	return []any{
		&d.ID, &d.AccountID, &d.Client.ID, &d.Client.Name, &d.Client.Platform, &d.CreatedAt, &d.LastUsedAt, &d.ExpiresAt,
	}
}

const deviceLive = `d.revoked_at IS NULL AND d.expires_at > now()`

// Trust is a device that its owner has just vouched for by a second step.
type Trust struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	// TokenHash is the hash of the token that the device will show.
	TokenHash []byte
	// Client is what the client calls it. One without a name is called by its ID.
	Client account.ClientDevice
	TTL    time.Duration
	// Most is how many devices the account may have: those unused for longest make room.
	Most int
}

// TrustDevice trusts a device, in place of the one that the client called alike before. Repeating the id changes nothing.
// Inside a transaction it comes after LiftSession. It returns account.ErrNotFound when the account may not be used.
func (s *Store) TrustDevice(ctx context.Context, t Trust) (account.TrustedDevice, error) {
	var out account.TrustedDevice
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockUsable(ctx, t.AccountID); err != nil {
			return err
		}
		var known bool
		trusted := append([]*step{{query: `SELECT EXISTS (SELECT 1 FROM devices WHERE id = $1)`, args: []any{t.ID}, into: []any{&known}}}, t.steps()...)
		read := &step{
			query: `SELECT ` + deviceColumns + ` FROM devices d WHERE id = $1 AND account_id = $2`, args: []any{t.ID, t.AccountID},
			into: deviceTargets(&out),
		}
		if err := tx.atOnce(ctx, append(trusted, read)...); err != nil {
			return err
		}
		if !read.found {
			return errNoRows
		}
		if known {
			return nil
		}
		return tx.record(ctx, t.AccountID, account.EventDeviceTrusted, t.details())
	})
	return out, translate(err)
}

// steps trust a device of an account that lockUsable has locked.
func (t Trust) steps() []*step {
	name := cmp.Or(t.Client.ID, t.ID.String())
	return []*step{
		{
			query: `UPDATE devices SET revoked_at = now() WHERE account_id = $1 AND device_id = $2 AND revoked_at IS NULL AND id <> $3`,
			args:  []any{t.AccountID, name, t.ID},
		},
		{
			query: `INSERT INTO devices (id, account_id, token_hash, device_id, device_name, platform, expires_at)
				VALUES ($3, $1, $4, $2, $5, $6, now() + $7::float8 * interval '1 second') ON CONFLICT (id) DO NOTHING`,
			args: []any{t.AccountID, name, t.ID, t.TokenHash, t.Client.Name, t.Client.Platform, seconds(t.TTL)},
		},
		{
			query: `UPDATE devices SET revoked_at = now() WHERE id IN (SELECT id FROM devices WHERE account_id = $1 AND revoked_at IS NULL
				ORDER BY id = $2 DESC, last_used_at DESC OFFSET greatest($3::int, 1))`,
			args: []any{t.AccountID, t.ID, t.Most},
		},
	}
}

// details are what is recorded of a device that is trusted since.
func (t Trust) details() map[string]any { return map[string]any{"device_id": t.ID} }

// lockUsable takes the account's row before its sessions and devices, in the order of a change of password: the other way
// round the two would wait for each other.
func (s *Store) lockUsable(ctx context.Context, accountID uuid.UUID) error {
	locked := usableLocked(accountID)
	err := s.atOnce(ctx, locked)
	if err == nil && !locked.found {
		return errNoRows
	}
	return err
}

func usableLocked(accountID uuid.UUID) *step {
	return &step{query: `SELECT a.id FROM accounts a WHERE a.id = $1 AND ` + accountUsable + ` FOR NO KEY UPDATE`, args: []any{accountID}}
}

// HoldSession keeps an account and a live session of it as they are until the transaction ends. It returns
// account.ErrNotFound when the session has ended, or the account may not be used.
func (s *Store) HoldSession(ctx context.Context, accountID, session uuid.UUID) error {
	return s.hold(ctx, accountID, `SELECT s.id FROM sessions s WHERE s.id = ? AND s.account_id = ? AND `+sessionLive+` FOR SHARE`, session)
}

// HoldKey is HoldSession for an API key of the account.
func (s *Store) HoldKey(ctx context.Context, accountID, key uuid.UUID) error {
	return s.hold(ctx, accountID, `SELECT k.id FROM api_keys k WHERE k.id = ? AND k.account_id = ? AND k.revoked_at IS NULL FOR SHARE`, key)
}

func (s *Store) hold(ctx context.Context, accountID uuid.UUID, query string, id uuid.UUID) error {
	if err := s.lockUsable(ctx, accountID); err != nil {
		return err
	}
	return translate(s.db.NewRaw(query, id, accountID).Scan(ctx, &id))
}

// TrustedDevice returns the device of an account that a token belongs to, or account.ErrNotFound.
func (s *Store) TrustedDevice(ctx context.Context, accountID uuid.UUID, tokenHash []byte) (account.TrustedDevice, error) {
	var out account.TrustedDevice
	err := s.db.NewRaw(`SELECT `+deviceColumns+` FROM devices d WHERE d.token_hash = ? AND d.account_id = ? AND `+deviceLive,
		tokenHash, accountID).Scan(ctx, deviceTargets(&out)...)
	return out, translate(err)
}

const deviceListQuery = `SELECT ` + deviceColumns + ` FROM devices d WHERE d.account_id = $1 AND ` + deviceLive + `
	ORDER BY d.last_used_at DESC, d.id`

// Devices returns the trusted devices of an account, the latest used first.
func (s *Store) Devices(ctx context.Context, accountID uuid.UUID) ([]account.TrustedDevice, error) {
	rows, err := s.pool.Query(ctx, deviceListQuery, pgx.QueryExecModeCacheStatement, pgtype.UUID{Bytes: accountID, Valid: true})
	if err != nil {
		return nil, translate(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.TrustedDevice, error) {
		var one account.TrustedDevice
		err := row.Scan(deviceTargets(&one)...)
		return one, err
	})
	return found, translate(err)
}

// RevokeDevice ends the trust in a device of an account. It returns account.ErrNotFound when the account has no such device.
func (s *Store) RevokeDevice(ctx context.Context, accountID, id uuid.UUID) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`UPDATE devices d SET revoked_at = now() WHERE d.id = ? AND d.account_id = ? AND `+deviceLive,
			id, accountID).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventDeviceRevoked, map[string]any{"device_id": id})
	})
}

// forgetDevices ends the trust in every device of an account, as a change of its password or its second factor does.
func (s *Store) forgetDevices(ctx context.Context, accountID uuid.UUID) error {
	_, err := s.db.NewRaw(`UPDATE devices SET revoked_at = now() WHERE account_id = ? AND revoked_at IS NULL`, accountID).Exec(ctx)
	return translate(err)
}

// Lift finishes the second step of a session.
type Lift struct {
	AccountID uuid.UUID
	SessionID uuid.UUID
	// Method is how, for the login history.
	Method string
	// TTL is the life of the session, counted from its first step: tokens that were handed out then stay good.
	TTL time.Duration
}

// LiftSession makes a pending session a full one, within the transaction that uses up the proof: it has authenticated just
// now, unless its first step was not enough for that, and shown the second factor. A full session has shown the factor, and
// changes in nothing else. It returns account.ErrNotFound when the session has ended, or the account may not be used.
func (s *Store) LiftSession(ctx context.Context, l Lift) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var pending bool
		locked, read := usableLocked(l.AccountID), l.read(&pending)
		if err := tx.atOnce(ctx, locked, read); err != nil {
			return err
		}
		if !locked.found || !read.found {
			return errNoRows
		}
		if !pending {
			_, err := tx.db.NewRaw(`UPDATE sessions SET factor_at = now() WHERE id = ?`, l.SessionID).Exec(ctx)
			return err
		}
		return tx.atOnce(ctx, l.step())
	})
}

// read locks the session, after its account.
func (l Lift) read(pending *bool) *step {
	return &step{
		query: `SELECT s.state = 'pending' FROM sessions s WHERE s.id = $1 AND s.account_id = $2 AND ` + sessionLive + ` FOR NO KEY UPDATE`,
		args:  []any{l.SessionID, l.AccountID}, into: []any{pending},
	}
}

// step makes a pending session that read has locked a full one.
func (l Lift) step() *step {
	return &step{
		query: `
		WITH lifted AS (
			UPDATE sessions SET state = 'active', factor_at = now(), last_active_at = now(),
				auth_time = CASE WHEN auth_time = 'epoch' THEN auth_time ELSE now() END,
				expires_at = created_at + $3::float8 * interval '1 second'
			WHERE id = $1 RETURNING account_id, ip_address, user_agent)
		INSERT INTO login_history (account_id, method, outcome, ip_address, user_agent)
		SELECT account_id, $2::text, 'succeeded', ip_address, user_agent FROM lifted`,
		args: []any{l.SessionID, l.Method, seconds(l.TTL)},
	}
}
