package store

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
)

// unlockable holds for a welcome w of an account a whose bonus was reduced and whose phone has been proven since.
const unlockable = `w.reduced AND w.received < w.full_bonus AND w.unlocked_at IS NULL AND a.phone_verified_at IS NOT NULL
	AND a.email_verified_at IS NOT NULL AND a.deleted_at IS NULL`

// WelcomeOf returns how an account stands with its welcome bonus.
func (s *Store) WelcomeOf(ctx context.Context, id uuid.UUID) (account.Welcome, error) {
	var w account.Welcome
	// What an unproven account says about its device was never used, and tells it nothing about others.
	err := s.db.NewRaw(`
		SELECT w.reduced, w.full_bonus, w.received, `+unlockable+`,
			(SELECT count(*) FROM (SELECT 1 FROM accounts o
				WHERE a.email_verified_at IS NOT NULL AND o.fingerprint_hash = a.fingerprint_hash AND o.id <> a.id
					AND o.email_verified_at IS NOT NULL AND o.deleted_at IS NULL
				LIMIT ?1) AS o)
		FROM welcomes w JOIN accounts a ON a.id = w.account_id WHERE w.account_id = ?0`, id, account.MaxSiblings).
		Scan(ctx, &w.Reduced, &w.Full, &w.Received, &w.Unlockable, &w.Siblings)
	return w, translate(err)
}

// MarkWelcomeShown keeps when the welcome of an account was first shown.
func (s *Store) MarkWelcomeShown(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`UPDATE welcomes SET shown_at = now() WHERE account_id = ? AND shown_at IS NULL`, id).Exec(ctx)
	return translate(err)
}

// UnlockWelcome grants the rest of a reduced welcome bonus, once, and returns what it granted and how the account stands
// then. It grants nothing while account.Welcome.Unlockable is not set.
func (s *Store) UnlockWelcome(ctx context.Context, id uuid.UUID) (granted int64, w account.Welcome, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		granted = 0
		// Whoever comes second waits here, and then finds it unlocked.
		err := translate(tx.db.NewRaw(`
			SELECT w.full_bonus - w.received FROM welcomes w JOIN accounts a ON a.id = w.account_id
			WHERE w.account_id = ? AND `+unlockable+` FOR UPDATE OF w`, id).Scan(ctx, &granted))
		if err == nil {
			err = tx.grantRest(ctx, id, granted)
		} else if errors.Is(err, account.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return err
		}
		w, err = tx.WelcomeOf(ctx, id)
		return err
	})
	return granted, w, translate(err)
}

func (s *Store) grantRest(ctx context.Context, id uuid.UUID, amount int64) error {
	moved, err := s.MoveCredits(ctx, CreditMove{AccountID: id, Kind: "welcome", Key: "welcome-rest", Amount: amount})
	if err != nil || !moved {
		return err
	}
	_, err = s.db.NewRaw(`UPDATE welcomes SET received = received + ?, unlocked_at = now() WHERE account_id = ?`, amount, id).Exec(ctx)
	return translate(err)
}
