package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// ChangeProfile changes what is given of a person, column by column, and returns a with these fields and UpdatedAt as
// they are stored now. A phone number that differs from the present one is unverified; dropped says that this one was not. It
// returns account.ErrNotFound when the account is gone.
func (s *Store) ChangeProfile(ctx context.Context, a account.Account, ch account.ProfileChange) (_ account.Account, dropped bool, err error) {
	// Fresh, because scanning leaves what is there when it reads NULL.
	a.Profile.FullName, a.Profile.UserType, a.Profile.AudioUsage, a.Profile.ReferralSource = nil, nil, nil, nil
	a.PhoneNumber, a.CountryCode = nil, nil
	p := &a.Profile
	var other bool
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.db.NewRaw(`
			WITH before AS (SELECT phone_number, phone_verified_at FROM accounts WHERE id = ?6 AND deleted_at IS NULL FOR NO KEY UPDATE)
			UPDATE accounts SET
				full_name = CASE WHEN ?0::text IS NULL THEN full_name ELSE nullif(?0, '') END,
				user_type = coalesce(?1, user_type),
				audio_usage = coalesce(?2, audio_usage),
				referral_source = CASE WHEN ?3::text IS NULL THEN referral_source ELSE nullif(?3, '') END,
				phone_verified_at = CASE WHEN accounts.phone_number IS DISTINCT FROM coalesce(?4, accounts.phone_number)
					THEN NULL ELSE accounts.phone_verified_at END,
				phone_number = coalesce(?4, accounts.phone_number),
				country_code = coalesce(?5, country_code),
				updated_at = now()
			FROM before WHERE id = ?6 AND deleted_at IS NULL
			RETURNING full_name, user_type, audio_usage, referral_source, accounts.phone_number, country_code,
				accounts.phone_verified_at IS NOT NULL, updated_at, accounts.phone_number IS DISTINCT FROM before.phone_number,
				before.phone_verified_at IS NOT NULL AND accounts.phone_verified_at IS NULL`,
			ch.FullName, ch.UserType, ch.AudioUsage, ch.ReferralSource, ch.PhoneNumber, ch.CountryCode, a.ID,
		).Scan(ctx, &p.FullName, &p.UserType, &p.AudioUsage, &p.ReferralSource, &a.PhoneNumber, &a.CountryCode,
			&a.PhoneVerified, &a.UpdatedAt, &other, &dropped)
		if err != nil || !other {
			return err
		}
		return tx.record(ctx, a.ID, account.EventPhoneChanged, map[string]any{"verified_before": dropped})
	})
	return a, dropped, translate(err)
}

// RecordOnboarding records an onboarding event of an account; a completed one ends its onboarding, once and for all.
func (s *Store) RecordOnboarding(ctx context.Context, id uuid.UUID, event account.OnboardingEvent, step *int64) error {
	_, err := s.db.NewRaw(`
		WITH done AS (
			UPDATE accounts SET onboarding_done = true, updated_at = now()
			WHERE id = ?0 AND ?1 = 'completed' AND NOT onboarding_done)
		INSERT INTO onboarding_events AS e (account_id, event, at_step) SELECT id, ?1, ?2::int FROM accounts WHERE id = ?0
		ON CONFLICT (account_id, event) DO UPDATE
			SET at_step = coalesce(excluded.at_step, e.at_step), times = e.times + 1, updated_at = now()`,
		id, event, step).Exec(ctx)
	return translate(err)
}
