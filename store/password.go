package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PasswordOf returns the hash of an account's password, empty when it has none. It returns account.ErrNotFound when the
// account may not be used.
func (s *Store) PasswordOf(ctx context.Context, accountID uuid.UUID) (string, error) {
	var hash string
	err := s.db.NewRaw(`SELECT coalesce(a.password_hash, '') FROM accounts a WHERE a.id = ? AND `+accountUsable, accountID).
		Scan(ctx, &hash)
	return hash, translate(err)
}

// PasswordChange replaces the password of an account, proven by the one before.
type PasswordChange struct {
	AccountID uuid.UUID
	// Before and After are hashes. A change by another request meanwhile makes Before a wrong one.
	Before, After string
	// Keep is the session that stays, nil for none. It counts as just authenticated.
	Keep *uuid.UUID
}

// ChangePassword sets the new password and ends all other sessions, every open reset, every code of
// account.PurposePasswordChange and the pending change of email, in one transaction. It returns account.ErrNotFound when Before
// is no longer the password.
func (s *Store) ChangePassword(ctx context.Context, p PasswordChange) error {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.HoldChallenges(ctx, p.AccountID); err != nil {
			return err
		}
		if err := tx.dropPasswordCodes(ctx, p.AccountID); err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`
			UPDATE accounts SET password_hash = ?, password_changed_at = now(), updated_at = now()
			WHERE id = ? AND password_hash = ? AND deleted_at IS NULL`, p.After, p.AccountID, p.Before).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		if err := tx.keepSession(ctx, p.AccountID, p.Keep, "password_changed"); err != nil {
			return err
		}
		return tx.record(ctx, p.AccountID, account.EventPasswordChanged, nil)
	})
	return translate(err)
}

// dropPasswordCodes ends the codes and links of an account that would set a password.
func (s *Store) dropPasswordCodes(ctx context.Context, accountID uuid.UUID) error {
	_, err := s.db.NewRaw(`
		WITH open AS (SELECT id FROM challenges
			WHERE account_id = ? AND purpose IN (?, ?) AND consumed_at IS NULL AND superseded_at IS NULL ORDER BY id FOR UPDATE)
		UPDATE challenges SET superseded_at = now() WHERE id IN (SELECT id FROM open)`,
		accountID, account.PurposeReset, account.PurposePasswordChange).Exec(ctx)
	return translate(err)
}

// keepSession ends every session of an account but keep, which counts as just authenticated, and what any of them began.
func (s *Store) keepSession(ctx context.Context, accountID uuid.UUID, keep *uuid.UUID, reason string) error {
	if err := s.endSessions(ctx, accountID, keep, reason); err != nil {
		return err
	}
	if err := s.dropEmailChanges(ctx, accountID); err != nil || keep == nil {
		return err
	}
	err := s.Reauthenticated(ctx, accountID, *keep)
	if errors.Is(err, account.ErrNotFound) {
		return nil // it ended meanwhile: then all of them have
	}
	return err
}

// Reauthenticated notes that the owner has just shown again, within a live session, that it is theirs: it may change sign-in
// methods, and its wrong guesses are forgotten. It returns account.ErrNotFound when the account has no such live session.
func (s *Store) Reauthenticated(ctx context.Context, accountID, session uuid.UUID) error {
	res, err := s.db.NewRaw(`
		UPDATE sessions s SET auth_time = now(), failed_guesses = 0
		WHERE id = ? AND account_id = ? AND `+sessionLive, session, accountID).Exec(ctx)
	return touched(res, err)
}

// endSessions revokes the sessions of an account, all but keep, and forgets its trusted devices: neither outlives what it
// was signed in by.
func (s *Store) endSessions(ctx context.Context, accountID uuid.UUID, keep *uuid.UUID, reason string) error {
	_, err := s.db.NewRaw(`
		UPDATE sessions SET revoked_at = now(), revoke_reason = ?
		WHERE account_id = ? AND revoked_at IS NULL AND id IS DISTINCT FROM ?::uuid`, reason, accountID, keep).Exec(ctx)
	if err != nil {
		return translate(err)
	}
	return s.forgetDevices(ctx, accountID)
}

// AddPassword gives its first password to an account without one. It returns account.ErrPasswordExists when it has one.
func (s *Store) AddPassword(ctx context.Context, accountID uuid.UUID, hash string) error {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`
			UPDATE accounts SET password_hash = ?, password_changed_at = now(), updated_at = now()
			WHERE id = ? AND password_hash IS NULL AND deleted_at IS NULL`, hash, accountID).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventPasswordAdded, nil)
	})
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrPasswordExists
	}
	return err
}

// PasswordGuessed counts a wrong password within a session: from the weak-th on the session has never authenticated, at the
// last it ends (security.md SES-13), which it reports.
func (s *Store) PasswordGuessed(ctx context.Context, session uuid.UUID, weak, last int) (ended bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.holdChallengesOf(ctx, "sessions", session); err != nil { // the last guess ends some
			return err
		}
		var owner uuid.UUID
		err := translate(tx.db.NewRaw(`
			UPDATE sessions SET failed_guesses = failed_guesses + 1,
				auth_time = CASE WHEN failed_guesses + 1 >= ?1 THEN 'epoch' ELSE auth_time END,
				revoked_at = CASE WHEN failed_guesses + 1 >= ?2 THEN now() END,
				revoke_reason = CASE WHEN failed_guesses + 1 >= ?2 THEN 'guessing' END
			WHERE id = ?0 AND revoked_at IS NULL RETURNING account_id, revoked_at IS NOT NULL`, session, weak, last).
			Scan(ctx, &owner, &ended))
		switch {
		case errors.Is(err, account.ErrNotFound):
			return nil
		case err != nil || !ended:
			return err
		}
		if err := tx.dropEmailChanges(ctx, owner); err != nil {
			return err
		}
		return tx.record(ctx, owner, account.EventSessionRevoked, map[string]any{"session_id": session, "reason": "guessing"})
	})
	return ended, err
}

// PasswordProven forgets the wrong passwords of a session.
func (s *Store) PasswordProven(ctx context.Context, session uuid.UUID) error {
	_, err := s.db.NewRaw(`UPDATE sessions SET failed_guesses = 0 WHERE id = ? AND failed_guesses > 0`, session).Exec(ctx)
	return translate(err)
}

// RecoverableAccount returns the account that a reset for an address would be about, or account.ErrNotFound: the address
// is unknown, its account may not be used, or the account got it in place of another one less than age ago.
func (s *Store) RecoverableAccount(ctx context.Context, email string, age time.Duration) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.db.NewRaw(`SELECT a.id FROM accounts a WHERE a.email = ? AND `+accountUsable+`
		AND (a.email_changed_at IS NULL OR a.email_changed_at <= now() - ? * interval '1 second')`, email, seconds(age)).Scan(ctx, &id)
	return id, translate(err)
}

// ResetPassword consumes a proven challenge and sets the password that was parked with its proof, and owes the owner the
// notice told, in one transaction. All sessions, API keys and other challenges of the account die with the old password. An
// account whose address was never proven before is verified now, gets its bonus, and loses everything that whoever made it has
// put there: only id and username stay (design D5). Repeating it returns the same result. It returns account.ErrInvalidCode when
// the challenge is not proven, or the account is gone or has another address.
func (s *Store) ResetPassword(ctx context.Context, challenge uuid.UUID, bonus Bonus, told account.Notice) (ChallengeResult, error) {
	var out ChallengeResult
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockChallenges(ctx, challenge); err != nil {
			return err
		}
		row, done, err := tx.consume(ctx, challenge)
		if err != nil {
			return err
		}
		if done != nil {
			out = *done
			return nil
		}
		out, err = tx.resetPassword(ctx, row, bonus)
		if err != nil {
			return err
		}
		if _, err := tx.db.NewRaw(`UPDATE challenges SET proof = NULL WHERE id = ?`, challenge).Exec(ctx); err != nil {
			return err
		}
		if err := tx.owe(ctx, out.AccountID, told); err != nil {
			return err
		}
		return tx.keepResult(ctx, challenge, out)
	})
	return out, translate(err)
}

var errNoReset = errors.New("no usable account has the address, or no password was parked")

func (s *Store) resetPassword(ctx context.Context, row challengeRow, bonus Bonus) (ChallengeResult, error) {
	proof, err := row.proof()
	if err != nil {
		return ChallengeResult{}, err
	}
	if proof.PasswordHash == "" || row.AccountID == nil || account.Purpose(row.Purpose) != account.PurposeReset {
		return ChallengeResult{}, account.ErrInvalidCode.Because(errNoReset)
	}
	id := *row.AccountID
	_, err = s.db.NewRaw(`
		UPDATE challenges SET superseded_at = now()
		WHERE account_id = ? AND consumed_at IS NULL AND superseded_at IS NULL`, id).Exec(ctx)
	if err != nil {
		return ChallengeResult{}, err
	}
	if _, err := s.endContest(ctx, row.Destination); err != nil {
		return ChallengeResult{}, err
	}
	var verified bool
	err = translate(s.db.NewRaw(`SELECT a.email_verified_at IS NOT NULL FROM accounts a WHERE a.id = ? AND a.email = ? AND `+
		accountUsable+` FOR NO KEY UPDATE`, id, row.Destination).Scan(ctx, &verified))
	if errors.Is(err, account.ErrNotFound) {
		return ChallengeResult{}, account.ErrInvalidCode.Because(errNoReset)
	}
	if err != nil {
		return ChallengeResult{}, err
	}
	_, err = s.db.NewRaw(`
		WITH a AS (UPDATE accounts SET password_hash = ?1, password_changed_at = now(), updated_at = now() WHERE id = ?0)
		UPDATE api_keys SET revoked_at = now() WHERE account_id = ?0 AND revoked_at IS NULL`, id, proof.PasswordHash).Exec(ctx)
	if err != nil {
		return ChallengeResult{}, err
	}
	if err := s.endSessions(ctx, id, nil, "password_reset"); err != nil {
		return ChallengeResult{}, err
	}
	if err := s.dropEmailChanges(ctx, id); err != nil {
		return ChallengeResult{}, err
	}
	out := ChallengeResult{AccountID: id}
	if !verified {
		out.CreditsAwarded, err = s.cleanUnverified(ctx, id, bonus)
	}
	if err != nil {
		return out, err
	}
	return out, s.record(ctx, id, account.EventPasswordReset, map[string]any{"proves_email": !verified})
}

// cleanUnverified hands an account that somebody made without proof to the owner of its mailbox.
func (s *Store) cleanUnverified(ctx context.Context, id uuid.UUID, bonus Bonus) (int64, error) {
	_, err := s.db.NewRaw(`
		WITH a AS (
			UPDATE accounts SET email_verified_at = now(), full_name = NULL, avatar_url = NULL, user_type = NULL,
				audio_usage = NULL, referral_source = NULL, phone_number = NULL, country_code = NULL, phone_verified_at = NULL,
				onboarding_done = false, marketing_opt_in = false, anonymous_id = NULL, fingerprint = NULL,
				fingerprint_hash = NULL, attribution = NULL
			WHERE id = ?0),
		l AS (DELETE FROM linked_providers WHERE account_id = ?0),
		d AS (DELETE FROM data_providers WHERE account_id = ?0),
		p AS (DELETE FROM push_tokens WHERE account_id = ?0)
		UPDATE settings SET timezone = DEFAULT, odds_format = DEFAULT, notify_email = DEFAULT, notify_push = DEFAULT,
			notify_sms = DEFAULT, theme = DEFAULT, language = DEFAULT
		WHERE account_id = ?0`, id).Exec(ctx)
	if err != nil {
		return 0, translate(err)
	}
	return s.grantWelcome(ctx, id, bonus)
}
