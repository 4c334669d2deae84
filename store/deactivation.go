package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// DeactivateAccount locks an account in one transaction: its data stays as it is, its email and username stay taken, and
// no session, API key, code or password opens it. It returns account.ErrNotFound when the
// account may not be used any more.
func (s *Store) DeactivateAccount(ctx context.Context, accountID uuid.UUID, reason string) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.HoldChallenges(ctx, accountID); err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`
			UPDATE accounts a SET is_active = false, is_locked = true, deactivated_at = now(), deactivation_reason = ?, updated_at = now()
			WHERE a.id = ? AND `+accountUsable, nullable(reason), accountID).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		if err := tx.endAccess(ctx, accountID, "account_deactivated"); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventAccountDeactivated, nil)
	})
}

// ReactivateAccount opens a deactivated account again, with nobody signed in, and reports whether its address is proven. It
// returns account.ErrNotFound for an account that is gone, closed or not deactivated.
func (s *Store) ReactivateAccount(ctx context.Context, accountID uuid.UUID) (verified bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.db.NewRaw(`
			UPDATE accounts SET is_active = true, is_locked = false, deactivated_at = NULL, deactivation_reason = NULL, updated_at = now()
			WHERE id = ? AND deactivated_at IS NOT NULL AND deleted_at IS NULL
			RETURNING `+reachable, accountID).Scan(ctx, &verified)
		if err != nil {
			return err
		}
		// What was under way when it was deactivated may have made one more session.
		if err := tx.endAccess(ctx, accountID, "account_deactivated"); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventAccountReactivated, nil)
	})
	return verified, err
}

// DeactivatedAccount returns the deactivated account that has a name as its email or its id, or account.ErrNotFound.
func (s *Store) DeactivatedAccount(ctx context.Context, name string) (uuid.UUID, error) {
	var found uuid.UUID
	err := s.db.NewRaw(`
		SELECT id FROM accounts WHERE (email = ?0 OR id::text = ?0) AND deactivated_at IS NOT NULL AND deleted_at IS NULL`, name).
		Scan(ctx, &found)
	return found, translate(err)
}
