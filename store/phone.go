package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PhoneAttempt is a number that an account wants to prove. Its id is that of its challenge.
type PhoneAttempt struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Number    string
	CreatedAt time.Time
}

// Bound is what one key may take: as a quota exactly, or as a budget in fixed windows.
type Bound struct {
	Key    []byte
	Quotas []account.Quota
}

// ParkPhone parks a number whose code is about to be sent, and charges the code to every quota and budget; when one of them
// is used up, nothing is charged and parked. It returns account.ErrTooManyRequests with the time to wait.
func (s *Store) ParkPhone(ctx context.Context, a PhoneAttempt, quotas, budgets []Bound) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.Charge(ctx, quotas, budgets); err != nil {
			return err
		}
		_, err := tx.db.NewRaw(`INSERT INTO phone_attempts (id, account_id, number) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			a.ID, a.AccountID, a.Number).Exec(ctx)
		return err
	})
}

// Charge takes one from every quota and budget; when one of them is used up, nothing is taken. It returns
// account.ErrTooManyRequests with the time to wait.
func (s *Store) Charge(ctx context.Context, quotas, budgets []Bound) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		for _, b := range quotas {
			if err := tx.TakeQuota(ctx, b.Key, b.Quotas); err != nil {
				return err
			}
		}
		for _, b := range budgets {
			for _, q := range b.Quotas {
				if err := tx.spend(ctx, b.Key, q); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// spend takes one from a budget of q.Max in windows of q.Per, the first of which begins now. It returns
// account.ErrTooManyRequests with the rest of the window.
func (s *Store) spend(ctx context.Context, key []byte, q account.Quota) error {
	res, err := s.db.NewRaw(`
		INSERT INTO budgets AS b (key, used, ends_at) SELECT ?0::bytea, 1, now() + ?1 * interval '1 second' WHERE ?2 > 0
		ON CONFLICT (key) DO UPDATE SET
			used = CASE WHEN b.ends_at <= now() THEN 1 ELSE b.used + 1 END,
			ends_at = CASE WHEN b.ends_at <= now() THEN EXCLUDED.ends_at ELSE b.ends_at END
		WHERE b.used < ?2 OR b.ends_at <= now()`, key, seconds(q.Per), q.Max).Exec(ctx)
	if err = touched(res, err); !errors.Is(err, account.ErrNotFound) {
		return err
	}
	var wait float64
	err = s.db.NewRaw(`SELECT coalesce((SELECT extract(epoch FROM ends_at - now()) FROM budgets WHERE key = ?), ?)::float8`,
		key, seconds(q.Per)).Scan(ctx, &wait)
	if err != nil {
		return translate(err)
	}
	return account.ErrTooManyRequests.After(max(time.Duration(wait*float64(time.Second)), time.Second))
}

// PhoneAttempt returns a parked number, or account.ErrNotFound.
func (s *Store) PhoneAttempt(ctx context.Context, id uuid.UUID) (PhoneAttempt, error) {
	var a PhoneAttempt
	err := s.db.NewRaw(`SELECT id, account_id, number, created_at FROM phone_attempts WHERE id = ?`, id).
		Scan(ctx, &a.ID, &a.AccountID, &a.Number, &a.CreatedAt)
	return a, translate(err)
}

// NewestPhoneAttempt returns the last number parked for an account and number within a time, or account.ErrNotFound.
func (s *Store) NewestPhoneAttempt(ctx context.Context, accountID uuid.UUID, number string, within time.Duration) (PhoneAttempt, error) {
	var a PhoneAttempt
	err := s.db.NewRaw(`
		SELECT id, account_id, number, created_at FROM phone_attempts
		WHERE account_id = ? AND number = ? AND created_at > now() - ? * interval '1 second'
		ORDER BY created_at DESC LIMIT 1`, accountID, number, seconds(within)).Scan(ctx, &a.ID, &a.AccountID, &a.Number, &a.CreatedAt)
	return a, translate(err)
}

// BindPhone consumes a proven challenge and gives its account the number, verified, and owes the owner the notice told, in
// one transaction. Repeating it returns the same account. It returns account.ErrInvalidCode when the challenge is not proven, or
// the account is gone or its address unproven.
func (s *Store) BindPhone(ctx context.Context, challenge uuid.UUID, told account.Notice) (uuid.UUID, error) {
	var owner uuid.UUID
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		row, done, err := tx.consume(ctx, challenge)
		if err != nil {
			return err
		}
		if done != nil {
			owner = done.AccountID
			return nil
		}
		err = translate(tx.db.NewRaw(`
			UPDATE accounts SET phone_number = ?, country_code = coalesce(?, country_code), phone_verified_at = now(), updated_at = now()
			WHERE id = ? AND email_verified_at IS NOT NULL AND deleted_at IS NULL RETURNING id`,
			row.Destination, nullable(account.PhoneCountry(row.Destination)), row.AccountID).Scan(ctx, &owner))
		if errors.Is(err, account.ErrNotFound) || err == nil && row.Purpose != string(account.PurposePhone) {
			return account.ErrInvalidCode.Because(errors.New("no account awaits the number"))
		}
		if err != nil {
			return err
		}
		if err := tx.keepResult(ctx, challenge, ChallengeResult{AccountID: owner}); err != nil {
			return err
		}
		if err := tx.owe(ctx, owner, told); err != nil {
			return err
		}
		return tx.record(ctx, owner, account.EventPhoneVerified, nil)
	})
	return owner, translate(err)
}
