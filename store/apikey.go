package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

const keyColumns = `k.id, k.account_id, k.name, k.scopes, k.is_service, k.created_at, k.last_used_at`

const serviceKeyQuery = `SELECT ` + keyColumns + ` FROM api_keys k WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND k.is_service`

func keyTargets(to []any, k *account.APIKey) []any {
	return append(to, &k.ID, &k.AccountID, &k.Name, &k.Scopes, &k.Service, &k.CreatedAt, &k.LastUsedAt)
}

func (s *Store) serviceKey(ctx context.Context, keyHash []byte) (account.Principal, error) {
	p := account.Principal{APIKey: &account.APIKey{}}
	err := s.pool.QueryRow(ctx, serviceKeyQuery, pgx.QueryExecModeCacheStatement, keyHash).Scan(row(keyTargets(nil, p.APIKey)))
	return p, translate(err)
}

// KeyUse is a use of an API key that is worth a note.
type KeyUse struct {
	KeyID     uuid.UUID
	IP        string
	UserAgent string
	// Gap is how long a use need not be noted again, SessionTTL how long the implicit session outlives its last use.
	Gap        time.Duration
	SessionTTL time.Duration
}

// UseKey notes the use of an account's API key and prolongs its implicit session, or makes it: one per key, however many
// ask at once (contract X06). It returns account.ErrNotFound when the key is revoked, or when its use was noted less than
// Gap ago and its session is there.
func (s *Store) UseKey(ctx context.Context, u KeyUse) (account.Session, error) {
	var out account.Session
	// The key's row is locked first, as RevokeAPIKey does.
	err := s.db.NewRaw(`
		WITH used AS (
			UPDATE api_keys k SET last_used_at = now()
			WHERE id = ?0 AND revoked_at IS NULL AND account_id IS NOT NULL
				AND (last_used_at IS NULL OR last_used_at <= now() - ?1 * interval '1 second'
					OR NOT EXISTS (SELECT 1 FROM sessions s WHERE s.api_key_id = k.id AND `+sessionLive+`))
			RETURNING id, account_id)
		INSERT INTO sessions AS s (id, account_id, method, api_key_id, ip_address, user_agent, expires_at)
			SELECT gen_random_uuid(), account_id, '`+account.SessionByKey+`', id, ?2, ?3, now() + ?4 * interval '1 second' FROM used
		ON CONFLICT (api_key_id) WHERE api_key_id IS NOT NULL AND revoked_at IS NULL DO UPDATE SET
			last_active_at = now(), expires_at = now() + ?4 * interval '1 second'
		RETURNING `+sessionColumns,
		u.KeyID, seconds(u.Gap), nullable(u.IP), nullable(u.UserAgent), seconds(u.SessionTTL)).
		Scan(ctx, sessionTargets(nil, &out)...)
	return out, translate(err)
}

// UseServiceKey notes the use of a service key, unless that was done less than gap ago.
func (s *Store) UseServiceKey(ctx context.Context, id uuid.UUID, gap time.Duration) error {
	_, err := s.db.NewRaw(`
		UPDATE api_keys SET last_used_at = now() WHERE id = ? AND is_service AND revoked_at IS NULL
			AND (last_used_at IS NULL OR last_used_at <= now() - ? * interval '1 second')`, id, seconds(gap)).Exec(ctx)
	return translate(err)
}

// CreateAPIKey stores a new key by its hash and returns it with its time. It returns account.ErrTooManyKeys when the
// account has most live keys already; most 0 means no bound.
func (s *Store) CreateAPIKey(ctx context.Context, k account.APIKey, keyHash []byte, most int) (account.APIKey, error) {
	scopes := make([]string, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = string(scope)
	}
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if k.AccountID != nil && most > 0 {
			if err := tx.roomForKey(ctx, *k.AccountID, most); err != nil {
				return err
			}
		}
		err := tx.db.NewRaw(`
			INSERT INTO api_keys (id, account_id, name, key_hash, scopes, is_service) VALUES (?, ?, ?, ?, ?, ?)
			RETURNING created_at`,
			k.ID, k.AccountID, k.Name, keyHash, pgdialect.Array(scopes), k.Service).Scan(ctx, &k.CreatedAt)
		if err != nil {
			return err
		}
		if k.AccountID == nil {
			return tx.record(ctx, uuid.Nil, account.EventServiceKeyCreated, map[string]any{"key_id": k.ID})
		}
		return tx.record(ctx, *k.AccountID, account.EventKeyCreated, map[string]any{"key_id": k.ID, "scopes": scopes})
	})
	return k, translate(err)
}

// roomForKey has the keys of one account made one after the other, so that none slips past the count.
func (s *Store) roomForKey(ctx context.Context, accountID uuid.UUID, most int) error {
	if _, err := s.db.NewRaw(`SELECT 1 FROM accounts WHERE id = ? FOR NO KEY UPDATE`, accountID).Exec(ctx); err != nil {
		return err
	}
	var live int
	err := s.db.NewRaw(`SELECT count(*) FROM api_keys WHERE account_id = ? AND revoked_at IS NULL`, accountID).Scan(ctx, &live)
	if err == nil && live >= most {
		return account.ErrTooManyKeys
	}
	return err
}

const keyListQuery = `
	SELECT ` + keyColumns + ` FROM api_keys k WHERE k.account_id = $1 AND k.revoked_at IS NULL ORDER BY k.created_at DESC, k.id`

const serviceKeyListQuery = `
	SELECT ` + keyColumns + ` FROM api_keys k WHERE k.is_service AND k.revoked_at IS NULL ORDER BY k.created_at DESC, k.id`

// APIKeys returns the live keys of an account, newest first.
func (s *Store) APIKeys(ctx context.Context, accountID uuid.UUID) ([]account.APIKey, error) {
	return s.keys(ctx, keyListQuery, pgtype.UUID{Bytes: accountID, Valid: true})
}

// ServiceKeys returns the live keys of no account, newest first.
func (s *Store) ServiceKeys(ctx context.Context) ([]account.APIKey, error) {
	return s.keys(ctx, serviceKeyListQuery)
}

func (s *Store) keys(ctx context.Context, query string, args ...any) ([]account.APIKey, error) {
	rows, err := s.pool.Query(ctx, query, append([]any{pgx.QueryExecModeCacheStatement}, args...)...)
	if err != nil {
		return nil, translate(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.APIKey, error) {
		var k account.APIKey
		err := row.Scan(keyTargets(nil, &k)...)
		return k, err
	})
	return found, translate(err)
}

// KeysEndedBy returns the names of the API keys that a password reset has disabled, by the challenge that allowed it.
func (s *Store) KeysEndedBy(ctx context.Context, challenge uuid.UUID) ([]string, error) {
	var names []string
	// Both moments are that of the reset's transaction.
	err := s.db.NewRaw(`
		SELECT k.name FROM api_keys k JOIN challenges c ON c.account_id = k.account_id AND c.consumed_at = k.revoked_at
		WHERE c.id = ? ORDER BY k.created_at, k.id`, challenge).Scan(ctx, &names)
	return names, translate(err)
}

// RevokeAPIKey ends a key of an account, its implicit session and the pending change of email. It returns account.ErrNotFound
// when the account has no such live key.
func (s *Store) RevokeAPIKey(ctx context.Context, accountID, id uuid.UUID) error {
	_, err := s.revokeKey(ctx, id, &accountID)
	return err
}

// RevokeKey ends any key by its id, as operators do, and returns the account whose it was, nil for a service key. It
// returns account.ErrNotFound when there is no such live key.
func (s *Store) RevokeKey(ctx context.Context, id uuid.UUID) (owner *uuid.UUID, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.holdChallengesOf(ctx, "api_keys", id)
		if err == nil {
			owner, err = tx.revokeKey(ctx, id, nil)
		}
		return err
	})
	return owner, err
}

func (s *Store) revokeKey(ctx context.Context, id uuid.UUID, of *uuid.UUID) (owner *uuid.UUID, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.db.NewRaw(`
			UPDATE api_keys SET revoked_at = now() WHERE id = ?0 AND revoked_at IS NULL AND (?1::uuid IS NULL OR account_id = ?1)
			RETURNING account_id`, id, of).Scan(ctx, &owner)
		if err != nil {
			return err
		}
		if owner == nil {
			return tx.record(ctx, uuid.Nil, account.EventServiceKeyRevoked, map[string]any{"key_id": id})
		}
		// A statement of its own: it sees a session that a last use has just made.
		_, err = tx.db.NewRaw(`
			UPDATE sessions SET revoked_at = now(), revoke_reason = 'key_revoked' WHERE api_key_id = ? AND revoked_at IS NULL`, id).Exec(ctx)
		if err != nil {
			return err
		}
		if err := tx.dropEmailChanges(ctx, *owner); err != nil {
			return err
		}
		return tx.record(ctx, *owner, account.EventKeyRevoked, map[string]any{"key_id": id})
	})
	return owner, translate(err)
}
