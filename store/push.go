package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PushToken is the token by which a push service knows a device. It is found by its hash, and sent to by what is sealed.
type PushToken struct {
	// ID is a new one; a token that is there already keeps its own.
	ID     uuid.UUID
	Hash   []byte
	Sealed []byte
	// OS is nil where the client does not say.
	OS *string
	// AccountID is whom it is bound to, where that was asked for.
	AccountID uuid.UUID
}

// KeepPushToken keeps a token that belongs to nobody for ttl. One that is bound stays as it is.
func (s *Store) KeepPushToken(ctx context.Context, t PushToken, ttl time.Duration) error {
	_, err := s.db.NewRaw(`
		INSERT INTO push_tokens AS p (id, token_hash, sealed, os, expires_at)
		VALUES (?, ?, ?, ?, now() + ? * interval '1 second')
		ON CONFLICT (token_hash) DO UPDATE
			SET os = coalesce(excluded.os, p.os), expires_at = excluded.expires_at, updated_at = now()
			WHERE p.account_id IS NULL`, t.ID, t.Hash, t.Sealed, t.OS, seconds(ttl)).Exec(ctx)
	return translate(err)
}

// pushBound says that a token p still reaches whom it is bound to: that ends with the session that bound it.
const pushBound = `EXISTS (SELECT 1 FROM sessions s JOIN accounts a ON a.id = s.account_id
	WHERE s.id = p.session_id AND s.account_id = p.account_id AND s.state = 'active' AND ` + sessionLive + ` AND ` + accountUsable + `)`

// BindPushToken binds a token to an account, for as long as one of its sessions lives, and forgets the tokens bound longest
// ago beyond limit. It returns account.ErrNotFound when the token is bound to another account, or the account is gone.
func (s *Store) BindPushToken(ctx context.Context, t PushToken, accountID, session uuid.UUID, limit int) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// The tokens of an account change one at a time: the limit is exact, and no two wait for each other's rows.
		var id uuid.UUID
		err := tx.db.NewRaw(`SELECT id FROM accounts WHERE id = ? AND deleted_at IS NULL FOR NO KEY UPDATE`, accountID).Scan(ctx, &id)
		if err != nil {
			return err
		}
		err = tx.db.NewRaw(`
			INSERT INTO push_tokens AS p (id, token_hash, sealed, os, account_id, session_id) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (token_hash) DO UPDATE SET
				account_id = excluded.account_id, session_id = excluded.session_id, os = coalesce(excluded.os, p.os), expires_at = NULL,
				settings = CASE WHEN p.account_id = excluded.account_id THEN p.settings ELSE '{}' END, updated_at = clock_timestamp()
				WHERE p.account_id IS NULL OR p.account_id = excluded.account_id OR NOT `+pushBound+`
			RETURNING id`, t.ID, t.Hash, t.Sealed, t.OS, accountID, session).Scan(ctx, &id)
		if err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			DELETE FROM push_tokens WHERE id IN (
				SELECT id FROM push_tokens WHERE account_id = ? ORDER BY updated_at DESC, id OFFSET ?)`, accountID, limit).Exec(ctx)
		return err
	})
}

// ChangePushSettings merges settings into those of an account's token. It returns account.ErrNotFound when the account has
// no such token, and account.ErrInvalid when the result would be longer than limit.
func (s *Store) ChangePushSettings(ctx context.Context, accountID uuid.UUID, hash []byte, settings json.RawMessage, limit int) error {
	var fits bool
	err := s.db.NewRaw(`
		UPDATE push_tokens SET
			settings = CASE WHEN octet_length((settings || ?2::jsonb)::text) <= ?3 THEN settings || ?2::jsonb ELSE settings END
		WHERE token_hash = ?1 AND account_id = ?0
		RETURNING settings @> ?2::jsonb`,
		accountID, hash, string(settings), limit).Scan(ctx, &fits)
	if err == nil && !fits {
		return account.ErrInvalid.On("settings", "are too many")
	}
	return translate(err)
}

// pushWanted are the devices of an account that may be sent something: bound, and silenced neither by the account's
// preferences nor by the device's own.
const pushWanted = `push_tokens p JOIN settings w ON w.account_id = p.account_id
	WHERE w.notify_push AND p.settings -> 'enabled' IS DISTINCT FROM 'false'::jsonb AND ` + pushBound

// PushTargets returns the ids of the tokens that a notice to an account goes to.
func (s *Store) PushTargets(ctx context.Context, accountID uuid.UUID) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.db.NewRaw(`SELECT p.id FROM `+pushWanted+` AND p.account_id = ? ORDER BY p.updated_at, p.id`, accountID).Scan(ctx, &ids)
	return ids, translate(err)
}

// PushTarget returns a token that may still be sent to, or account.ErrNotFound.
func (s *Store) PushTarget(ctx context.Context, id uuid.UUID) (PushToken, error) {
	var row struct {
		TokenHash, Sealed []byte
		AccountID         uuid.UUID
	}
	err := s.db.NewRaw(`SELECT p.token_hash, p.sealed, p.account_id FROM `+pushWanted+` AND p.id = ?`, id).Scan(ctx, &row)
	return PushToken{ID: id, Hash: row.TokenHash, Sealed: row.Sealed, AccountID: row.AccountID}, translate(err)
}

// RemovePushToken forgets a token that its push service no longer knows.
func (s *Store) RemovePushToken(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`DELETE FROM push_tokens WHERE id = ?`, id).Exec(ctx)
	return translate(err)
}
