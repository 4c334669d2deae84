package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// NewFactor is an authenticator app to be set up.
type NewFactor struct {
	AccountID uuid.UUID
	// Sealed is the encrypted secret, BackupHashes are the hashes of the codes that stand in for the app.
	Sealed       []byte
	BackupHashes [][]byte
	// TTL is how long the app waits for its first code.
	TTL time.Duration
}

// BeginFactor stores a pending authenticator app and its backup codes, in the place of a pending one before. It returns
// account.ErrTwoFactorEnabled when the account has an app in use, and account.ErrNotFound when it may not be used.
func (s *Store) BeginFactor(ctx context.Context, n NewFactor) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockUsable(ctx, n.AccountID); err != nil {
			return err
		}
		_, err := tx.db.NewRaw(`DELETE FROM totp_factors WHERE account_id = ? AND confirmed_at IS NULL`, n.AccountID).Exec(ctx)
		if err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`
			INSERT INTO totp_factors (account_id, secret, expires_at) VALUES (?, ?, now() + ? * interval '1 second')
			ON CONFLICT (account_id) DO NOTHING`, n.AccountID, n.Sealed, seconds(n.TTL)).Exec(ctx)
		if err := touched(res, err); errors.Is(err, account.ErrNotFound) {
			return account.ErrTwoFactorEnabled
		} else if err != nil {
			return err
		}
		for _, hash := range n.BackupHashes {
			_, err := tx.db.NewRaw(`INSERT INTO backup_codes (account_id, code_hash) VALUES (?, ?)`, n.AccountID, hash).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Factor is an authenticator app that takes codes.
type Factor struct {
	Sealed []byte
	// Confirmed is false for a pending one.
	Confirmed bool
	// LastStep is the time step of the last code that was taken.
	LastStep int64
}

// FactorOf returns the authenticator app of an account. It returns account.ErrNotFound when there is none, or its time for
// a first code is over, and account.ErrTooManyRequests while it waits after wrong codes.
func (s *Store) FactorOf(ctx context.Context, accountID uuid.UUID) (Factor, error) {
	var f Factor
	var left float64
	err := s.db.NewRaw(`
		SELECT secret, confirmed_at IS NOT NULL, last_step,
			greatest(0, coalesce(extract(epoch FROM locked_until - now()), 0))::float8
		FROM totp_factors WHERE account_id = ? AND (confirmed_at IS NOT NULL OR expires_at > now())`, accountID).
		Scan(ctx, &f.Sealed, &f.Confirmed, &f.LastStep, &left)
	if err != nil {
		return Factor{}, translate(err)
	}
	if left > 0 {
		return Factor{}, account.ErrTooManyRequests.After(time.Duration(left * float64(time.Second)))
	}
	return f, nil
}

// FactorUse is a code of the second factor that was compared and is right.
type FactorUse struct {
	AccountID uuid.UUID
	// Session shows the factor, and may live for SessionTTL from its beginning.
	Session    uuid.UUID
	SessionTTL time.Duration
	// Sealed is the secret that Step was compared under. Instead of both, BackupHash names a backup code.
	Sealed     []byte
	Step       int64
	BackupHash []byte
	// Confirm lets the code be the first one of a pending app.
	Confirm bool
	// Fresh makes it a new authentication of the session, too.
	Fresh bool
	// Trust is the device to be remembered, nil for none.
	Trust *Trust
}

// method is how the session was signed in, for the login history.
func (u FactorUse) method() string {
	if u.BackupHash != nil {
		return "backup_code"
	}
	return "totp"
}

// FactorShown is what came of it.
type FactorShown struct {
	// Enabled is set when the code was the first one: the app is the account's second factor from now on.
	Enabled bool
	// Device is the remembered one.
	Device account.TrustedDevice
}

// ShowFactor uses a code up and marks the session as one that has shown the factor, in one transaction. A pending session
// becomes a full one. The first code of an app turns two-factor authentication on and ends the trust in devices before. It
// returns account.ErrInvalidCode when the code, or a later one, was used before, the app was replaced or has to wait after wrong
// codes, and account.ErrNotFound when account or session have ended.
func (s *Store) ShowFactor(ctx context.Context, u FactorUse) (FactorShown, error) {
	var out FactorShown
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockUsable(ctx, u.AccountID); err != nil {
			return err
		}
		var err error
		if u.BackupHash != nil {
			err = tx.useBackupCode(ctx, u)
		} else {
			out.Enabled, err = tx.useStep(ctx, u)
		}
		if errors.Is(err, account.ErrNotFound) {
			return account.ErrInvalidCode.Because(err)
		}
		if err != nil {
			return err
		}
		if out.Enabled {
			if err := tx.setTwoFactor(ctx, u.AccountID, true); err != nil {
				return err
			}
		}
		lift := Lift{AccountID: u.AccountID, SessionID: u.Session, Method: u.method(), TTL: u.SessionTTL}
		if err := tx.LiftSession(ctx, lift); err != nil {
			return err
		}
		if u.Fresh {
			if err := tx.Reauthenticated(ctx, u.AccountID, u.Session); err != nil {
				return err
			}
		}
		switch {
		case out.Enabled:
			err = tx.record(ctx, u.AccountID, account.EventFactorEnabled, map[string]any{"method": "app"})
		case u.BackupHash != nil:
			err = tx.record(ctx, u.AccountID, account.EventBackupCodeUsed, nil)
		}
		if err != nil || u.Trust == nil {
			return err
		}
		out.Device, err = tx.TrustDevice(ctx, *u.Trust)
		return err
	})
	return out, translate(err)
}

const factorListens = `(locked_until IS NULL OR locked_until <= now())`

// useStep takes a step that is later than every one before (security.md MFA-03).
func (s *Store) useStep(ctx context.Context, u FactorUse) (first bool, err error) {
	err = s.db.NewRaw(`
		WITH before AS (SELECT confirmed_at FROM totp_factors WHERE account_id = ?0)
		UPDATE totp_factors SET last_step = ?1, failures = 0, locked_until = NULL, expires_at = NULL,
			confirmed_at = coalesce(confirmed_at, now())
		WHERE account_id = ?0 AND secret = ?2 AND last_step < ?1 AND `+factorListens+`
			AND (confirmed_at IS NOT NULL OR ?3 AND expires_at > now())
		RETURNING (SELECT confirmed_at IS NULL FROM before)`, u.AccountID, u.Step, u.Sealed, u.Confirm).Scan(ctx, &first)
	return first, translate(err)
}

func (s *Store) useBackupCode(ctx context.Context, u FactorUse) error {
	res, err := s.db.NewRaw(`
		WITH app AS (
			UPDATE totp_factors SET failures = 0, locked_until = NULL
			WHERE account_id = ?0 AND confirmed_at IS NOT NULL AND `+factorListens+` AND EXISTS (
				SELECT 1 FROM backup_codes WHERE account_id = ?0 AND code_hash = ?1 AND used_at IS NULL)
			RETURNING account_id)
		UPDATE backup_codes b SET used_at = now() FROM app
		WHERE b.account_id = app.account_id AND b.code_hash = ?1 AND b.used_at IS NULL`, u.AccountID, u.BackupHash).Exec(ctx)
	return touched(res, err)
}

// setTwoFactor switches the one flag (contract X14). No device that was trusted before skips the new second step.
func (s *Store) setTwoFactor(ctx context.Context, accountID uuid.UUID, on bool) error {
	_, err := s.db.NewRaw(`UPDATE accounts SET two_factor_enabled = ?, updated_at = now() WHERE id = ?`, on, accountID).Exec(ctx)
	if err != nil {
		return translate(err)
	}
	return s.forgetDevices(ctx, accountID)
}

// HasBackupCode reports whether a code came with an account's app in use, even if it is used: ShowFactor decides that.
func (s *Store) HasBackupCode(ctx context.Context, accountID uuid.UUID, hash []byte) (bool, error) {
	var found bool
	err := s.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM backup_codes b JOIN totp_factors f USING (account_id)
			WHERE b.account_id = ? AND b.code_hash = ? AND f.confirmed_at IS NOT NULL)`, accountID, hash).Scan(ctx, &found)
	return found, translate(err)
}

// FactorFailed counts a wrong code of the second factor: after tries of them in a row the account waits for wait. It reports
// whether the wait has begun with this one, for an app that is in use.
func (s *Store) FactorFailed(ctx context.Context, accountID uuid.UUID, tries int, wait time.Duration) (locked bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := translate(tx.db.NewRaw(`
			UPDATE totp_factors SET
				failures = CASE WHEN failures + 1 >= ?1 THEN 0 ELSE failures + 1 END,
				locked_until = CASE WHEN failures + 1 >= ?1 THEN now() + ?2 * interval '1 second' END
			WHERE account_id = ?0 AND `+factorListens+`
			RETURNING locked_until IS NOT NULL AND confirmed_at IS NOT NULL`, accountID, tries, seconds(wait)).Scan(ctx, &locked))
		switch {
		case errors.Is(err, account.ErrNotFound):
			return nil
		case err != nil || !locked:
			return err
		}
		return tx.record(ctx, accountID, account.EventFactorLocked, nil)
	})
	return locked, err
}

// EnableTwoFactor makes codes to the proven email of an account its second factor, and takes session as one that has just
// authenticated. It returns account.ErrTwoFactorEnabled when two-factor authentication is on, and
// account.ErrNoSecondFactor for an account without a proven email.
func (s *Store) EnableTwoFactor(ctx context.Context, accountID, session uuid.UUID) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockUsable(ctx, accountID); err != nil {
			return err
		}
		var enabled, proven bool
		err := tx.db.NewRaw(`
			SELECT two_factor_enabled, email IS NOT NULL AND email_verified_at IS NOT NULL FROM accounts WHERE id = ?`, accountID).
			Scan(ctx, &enabled, &proven)
		switch {
		case err != nil:
			return err
		case enabled:
			return account.ErrTwoFactorEnabled
		case !proven:
			return account.ErrNoSecondFactor
		}
		if err := tx.setTwoFactor(ctx, accountID, true); err != nil {
			return err
		}
		if err := tx.Reauthenticated(ctx, accountID, session); err != nil {
			return err
		}
		// Within its term the session may undo what it did itself.
		if _, err = tx.db.NewRaw(`UPDATE sessions SET factor_at = now() WHERE id = ?`, session).Exec(ctx); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventFactorEnabled, map[string]any{"method": "email"})
	})
}

// DisableTwoFactor ends two-factor authentication of an account with all that belongs to it: the authenticator app and its
// backup codes. It returns account.ErrTwoFactorNotEnabled when it is off.
func (s *Store) DisableTwoFactor(ctx context.Context, accountID uuid.UUID) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockUsable(ctx, accountID); err != nil {
			return err
		}
		var enabled bool
		err := tx.db.NewRaw(`SELECT two_factor_enabled FROM accounts WHERE id = ?`, accountID).Scan(ctx, &enabled)
		if err != nil {
			return err
		}
		if !enabled {
			return account.ErrTwoFactorNotEnabled
		}
		if err := tx.setTwoFactor(ctx, accountID, false); err != nil {
			return err
		}
		if _, err = tx.db.NewRaw(`DELETE FROM totp_factors WHERE account_id = ?`, accountID).Exec(ctx); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventFactorDisabled, nil)
	})
}

// DropFactor is DisableTwoFactor for an owner who cannot show the factor: every session, every
// trusted device and the pending change of email end with it.
func (s *Store) DropFactor(ctx context.Context, accountID uuid.UUID) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.HoldChallenges(ctx, accountID); err != nil {
			return err
		}
		if err := tx.DisableTwoFactor(ctx, accountID); err != nil {
			return err
		}
		if err := tx.endSessions(ctx, accountID, nil, "factor_dropped"); err != nil {
			return err
		}
		return tx.dropEmailChanges(ctx, accountID)
	})
}

// keepFactor returns account.ErrNoSecondFactor for an account whose second factor is codes to its email: that must stay.
func (s *Store) keepFactor(ctx context.Context, accountID uuid.UUID) error {
	var mailed bool
	err := s.db.NewRaw(`
		SELECT a.two_factor_enabled AND NOT EXISTS (
			SELECT 1 FROM totp_factors f WHERE f.account_id = a.id AND f.confirmed_at IS NOT NULL)
		FROM accounts a WHERE a.id = ?`, accountID).Scan(ctx, &mailed)
	if err == nil && mailed {
		return account.ErrNoSecondFactor
	}
	return translate(err)
}

// showedMail notes that a session has shown the second factor of its account, if that is codes to the mailbox that it has
// just shown a code from.
func (s *Store) showedMail(ctx context.Context, accountID, session uuid.UUID, mailbox string) error {
	_, err := s.db.NewRaw(`
		UPDATE sessions SET factor_at = now()
		FROM accounts a WHERE sessions.id = ?1 AND a.id = ?0 AND a.email = ?2 AND NOT EXISTS (
			SELECT 1 FROM totp_factors f WHERE f.account_id = a.id AND f.confirmed_at IS NOT NULL)`,
		accountID, session, mailbox).Exec(ctx)
	return translate(err)
}
