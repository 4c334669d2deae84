package store

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/account"
)

const sessionColumns = `s.id, s.account_id, s.state, s.method, s.device_info, coalesce(s.ip_address, ''),
	coalesce(s.user_agent, ''), coalesce(s.device_id, ''), s.device_name, s.platform, s.created_at, s.last_active_at,
	s.auth_time, s.factor_at, s.expires_at, now()`

func sessionTargets(to []any, s *account.Session) []any {
	return append(to, &s.ID, &s.AccountID, &s.State, &s.Method, &s.DeviceInfo, &s.IP,
		&s.UserAgent, &s.Client.ID, &s.Client.Name, &s.Client.Platform, &s.CreatedAt, &s.LastActiveAt,
		&s.AuthTime, &s.FactorAt, &s.ExpiresAt, &s.ReadAt)
}

const sessionLive = `s.revoked_at IS NULL AND s.expires_at > now()`

// sessionByPassword holds for a session whose first proof was the password, whatever its second step was.
const sessionByPassword = `s.method = '` + account.SessionByPassword + `'`

// NewSession is a session to be created.
type NewSession struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Method    string
	IP        string
	UserAgent string
	TTL       time.Duration
	// RefreshHash is the hash of the session's refresh token, nil for none. The token waits RefreshIdle for its use; 0
	// means as long as the session lives. It cannot be used while the session is pending.
	RefreshHash []byte
	RefreshIdle time.Duration
	// Client is what the client calls its device.
	Client account.ClientDevice
}

// CreateSession inserts a session and its refresh token, records the login, and returns the session's times by the
// database clock.
func (s *Store) CreateSession(ctx context.Context, n NewSession) (account.Session, error) {
	out := account.Session{
		ID: n.ID, AccountID: n.AccountID, State: account.SessionActive, Method: n.Method, IP: n.IP, UserAgent: n.UserAgent,
		Client: n.Client,
	}
	created := n.step()
	created.into = []any{&out.CreatedAt, &out.LastActiveAt, &out.AuthTime, &out.ExpiresAt}
	err := s.atOnce(ctx, created)
	return out, err
}

// step is CreateSession as a step among others.
func (n NewSession) step() *step {
	return &step{
		query: `
		WITH created AS (
			INSERT INTO sessions (id, account_id, method, ip_address, user_agent, expires_at, device_id, device_name, platform)
			VALUES ($1::uuid, $2::uuid, $3::text, $4::text, $5::text, now() + $6::float8 * interval '1 second', $9, $10, $11)
			RETURNING id, created_at, last_active_at, auth_time, expires_at),
		refresh AS (
			INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
			SELECT $7::bytea, id, now() + $8::float8 * interval '1 second' FROM created WHERE $7::bytea IS NOT NULL),
		history AS (
			INSERT INTO login_history (account_id, method, outcome, ip_address, user_agent)
			SELECT $2::uuid, $3::text, 'succeeded', $4::text, $5::text FROM created)
		SELECT created_at, last_active_at, auth_time, expires_at FROM created`,
		args: []any{
			n.ID, n.AccountID, n.Method, nullable(n.IP), nullable(n.UserAgent), seconds(n.TTL), n.RefreshHash,
			seconds(min(cmp.Or(n.RefreshIdle, n.TTL), n.TTL)), nullable(n.Client.ID), n.Client.Name, n.Client.Platform,
		},
	}
}

// DisownSession is RevokeSession for a session that does not end by its own logout: the pending change of email ends with it.
func (s *Store) DisownSession(ctx context.Context, accountID, id uuid.UUID, reason string) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.RevokeSession(ctx, accountID, id, reason); err != nil {
			return err
		}
		return tx.dropEmailChanges(ctx, accountID)
	})
}

// RevokeSession ends a session of an account. It returns account.ErrNotFound when the account has no such live session.
func (s *Store) RevokeSession(ctx context.Context, accountID, id uuid.UUID, reason string) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`
			UPDATE sessions s SET revoked_at = now(), revoke_reason = ?
			WHERE id = ? AND account_id = ? AND `+sessionLive, reason, id, accountID).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventSessionRevoked, map[string]any{"session_id": id, "reason": reason})
	})
}

// RevokeSessions ends every live session of an account but one, or all when but is uuid.Nil, and the pending change of email,
// whether any is left to end or not: who asked for that may have logged out. It returns how many sessions it ended.
func (s *Store) RevokeSessions(ctx context.Context, accountID, but uuid.UUID, reason string) (int, error) {
	var n int64
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`
			UPDATE sessions s SET revoked_at = now(), revoke_reason = ?
			WHERE account_id = ? AND id <> ? AND `+sessionLive, reason, accountID, but).Exec(ctx)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err == nil {
			err = tx.dropEmailChanges(ctx, accountID)
		}
		if err != nil || n == 0 {
			return err
		}
		details := map[string]any{"sessions": n, "reason": reason}
		if but != uuid.Nil {
			details["kept"] = but
		}
		return tx.record(ctx, accountID, account.EventSessionsRevoked, details)
	})
	return int(n), err
}

const sessionListQuery = `
	SELECT ` + sessionColumns + ` FROM sessions s WHERE s.account_id = $1 AND s.state = 'active' AND ` + sessionLive + `
	ORDER BY (s.id = $2) DESC, s.last_active_at DESC, s.id LIMIT $3`

// Sessions returns the live sessions of an account, none that is pending: current first, if it is one, then the latest active, at
// most limit.
func (s *Store) Sessions(ctx context.Context, accountID, current uuid.UUID, limit int) ([]account.Session, error) {
	rows, err := s.pool.Query(ctx, sessionListQuery, pgx.QueryExecModeCacheStatement,
		uuidArgument(accountID), uuidArgument(current), limit)
	if err != nil {
		return nil, translate(err)
	}
	found, err := pgx.CollectRows(rows, func(read pgx.CollectableRow) (account.Session, error) {
		var one account.Session
		err := read.Scan(row(sessionTargets(nil, &one)))
		return one, err
	})
	return found, translate(err)
}

// TouchSession notes that a live session of an account is in use, unless that was noted less than gap ago, and returns
// its last activity. It returns account.ErrNotFound when the account has no such live session.
func (s *Store) TouchSession(ctx context.Context, accountID, id uuid.UUID, gap time.Duration) (time.Time, error) {
	var last time.Time
	err := s.db.NewRaw(`
		UPDATE sessions s SET last_active_at =
			CASE WHEN last_active_at <= now() - ? * interval '1 second' THEN now() ELSE last_active_at END
		WHERE id = ? AND account_id = ? AND `+sessionLive+` RETURNING last_active_at`, seconds(gap), id, accountID).
		Scan(ctx, &last)
	return last, translate(err)
}

// DescribeSession stores where a live session of an account is used from, and the label that its client chose; nil means
// that the user agent speaks for itself. It returns account.ErrNotFound when the account has no such live session.
func (s *Store) DescribeSession(ctx context.Context, accountID, id uuid.UUID, label *string, ip, userAgent string) error {
	res, err := s.db.NewRaw(`
		UPDATE sessions s SET device_info = ?, ip_address = ?, user_agent = ?, last_active_at = now()
		WHERE id = ? AND account_id = ? AND `+sessionLive, label, nullable(ip), nullable(userAgent), id, accountID).Exec(ctx)
	return touched(res, err)
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
