package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// Ended counts what EndRestored has ended.
type Ended struct {
	Accounts, Sessions, Keys, Devices, BackupCodes, Challenges int64
}

// restoredBatch bounds one transaction of EndRestored.
const restoredBatch = 500

// EndRestored ends whatever an older copy of the database has brought back to life, since nobody can know what of it had ended
// before: sessions with their refresh tokens, trusted devices, unused codes and links of every purpose, unused backup codes,
// links to providers under way and, unless they are to be kept, API keys; authenticator apps take no code of before
// (reliability.md F-41). Each account that loses something has an event. Repeating it after a failure goes on.
func (s *Store) EndRestored(ctx context.Context, keepKeys bool) (Ended, error) {
	var all Ended
	for n := int64(restoredBatch); n == restoredBatch; all.Challenges += n {
		res, err := s.db.NewRaw(`
			UPDATE challenges SET superseded_at = now() WHERE id IN (
				SELECT id FROM challenges WHERE consumed_at IS NULL AND superseded_at IS NULL LIMIT ?)`, restoredBatch).Exec(ctx)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil {
			return all, translate(err)
		}
	}
	if _, err := s.db.NewRaw(`UPDATE provider_links SET expires_at = now() WHERE claimed_at IS NULL AND expires_at > now()`).Exec(ctx); err != nil {
		return all, translate(err)
	}
	for last := uuid.Nil; ; {
		var ids []uuid.UUID
		err := s.db.NewRaw(`SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?`, last, restoredBatch).Scan(ctx, &ids)
		if err != nil || len(ids) == 0 {
			return all, translate(err)
		}
		first := last
		last = ids[len(ids)-1]
		if err := s.endRestored(ctx, first, last, keepKeys, &all); err != nil {
			return all, err
		}
	}
}

// endRestored does the accounts after one id up to another.
func (s *Store) endRestored(ctx context.Context, after, upto uuid.UUID, keepKeys bool, all *Ended) error {
	var owners []ownerEnded
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		owners = nil
		err := tx.db.NewRaw(`
			WITH keys AS (
				UPDATE api_keys SET revoked_at = now()
				WHERE account_id > ?0 AND account_id <= ?1 AND revoked_at IS NULL AND NOT ?2 RETURNING account_id),
			gone AS (
				UPDATE sessions SET revoked_at = now(), revoke_reason = ?3
				WHERE account_id > ?0 AND account_id <= ?1 AND revoked_at IS NULL AND NOT (?2 AND api_key_id IS NOT NULL) RETURNING account_id),
			trusted AS (
				UPDATE devices SET revoked_at = now() WHERE account_id > ?0 AND account_id <= ?1 AND revoked_at IS NULL RETURNING account_id),
			codes AS (
				DELETE FROM backup_codes WHERE account_id > ?0 AND account_id <= ?1 AND used_at IS NULL RETURNING account_id),
			apps AS ( -- a step of 30 seconds, and the next one, which counts already
				UPDATE totp_factors SET last_step = greatest(last_step, floor(extract(epoch FROM now()) / 30)::bigint + 1)
				WHERE account_id > ?0 AND account_id <= ?1)
			SELECT account_id, sum(k) AS keys, sum(s) AS sessions, sum(d) AS devices, sum(b) AS backup_codes FROM (
				SELECT account_id, 1 AS k, 0 AS s, 0 AS d, 0 AS b FROM keys
				UNION ALL SELECT account_id, 0, 1, 0, 0 FROM gone
				UNION ALL SELECT account_id, 0, 0, 1, 0 FROM trusted
				UNION ALL SELECT account_id, 0, 0, 0, 1 FROM codes) AS each
			GROUP BY account_id ORDER BY account_id`, after, upto, keepKeys, account.RevokedByRestore).Scan(ctx, &owners)
		if err != nil {
			return err
		}
		for _, o := range owners {
			err := tx.record(ctx, o.AccountID, account.EventSessionsRevoked, map[string]any{
				"reason": account.RevokedByRestore, "sessions": o.Sessions, "keys": o.Keys, "devices": o.Devices, "backup_codes": o.BackupCodes,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range owners {
		all.Accounts++
		all.Sessions += o.Sessions
		all.Keys += o.Keys
		all.Devices += o.Devices
		all.BackupCodes += o.BackupCodes
	}
	return nil
}

// ownerEnded is what an account has lost.
type ownerEnded struct {
	AccountID                            uuid.UUID
	Keys, Sessions, Devices, BackupCodes int64
}
