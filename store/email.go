package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

const emailChangeColumns = `id, account_id, coalesce(old_email, ''), coalesce(new_email, ''), taken, linking, expires_at,
	closed_at IS NOT NULL`

func emailChangeTargets(e *account.EmailChange) []any {
	return []any{&e.ID, &e.AccountID, &e.OldEmail, &e.NewEmail, &e.Taken, &e.Linking, &e.ExpiresAt, &e.Closed}
}

// OpenEmailChange parks a change of email for ttl, in place of the account's former one, whose code and link die. Repeating
// the id changes nothing. It returns account.ErrNotFound when the account is gone or unproven.
func (s *Store) OpenEmailChange(ctx context.Context, e account.EmailChange, ttl time.Duration) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var old string
		err := tx.db.NewRaw(`SELECT coalesce(email, '') FROM accounts
			WHERE id = ? AND email_verified_at IS NOT NULL AND deleted_at IS NULL FOR UPDATE`, e.AccountID).Scan(ctx, &old)
		if err != nil {
			return err
		}
		var known bool
		if err := tx.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM email_changes WHERE id = ?)`, e.ID).Scan(ctx, &known); err != nil || known {
			return err
		}
		if err := tx.dropEmailChanges(ctx, e.AccountID); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			INSERT INTO email_changes (id, account_id, old_email, new_email, taken, linking, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, now() + ? * interval '1 second')`,
			e.ID, e.AccountID, nullable(old), e.NewEmail, e.Taken, e.Linking, seconds(ttl)).Exec(ctx)
		return err
	})
}

// dropEmailChanges ends what an account has pending, with its code and link. Whatever shuts somebody out calls it, after it did:
// a change that they began would let them in again. Which session began it says nothing: a stolen token is the owner's own session.
func (s *Store) dropEmailChanges(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`
		WITH ended AS (UPDATE email_changes SET closed_at = now() WHERE account_id = ?0 AND closed_at IS NULL)
		UPDATE challenges SET superseded_at = now()
		WHERE purpose IN (?1, ?2) AND account_id = ?0 AND consumed_at IS NULL AND superseded_at IS NULL`,
		id, account.PurposeEmailChange, account.PurposeEmailLink).Exec(ctx)
	return translate(err)
}

// EmailChange returns a change of email, open or closed, or account.ErrNotFound.
func (s *Store) EmailChange(ctx context.Context, id uuid.UUID) (account.EmailChange, error) {
	var e account.EmailChange
	err := s.db.NewRaw(`SELECT `+emailChangeColumns+` FROM email_changes WHERE id = ?`, id).Scan(ctx, emailChangeTargets(&e)...)
	return e, translate(err)
}

// OpenEmailChangeOf returns the open change of an account with what is left of its time, or account.ErrNotFound.
func (s *Store) OpenEmailChangeOf(ctx context.Context, accountID uuid.UUID) (account.EmailChange, error) {
	var e account.EmailChange
	var left float64
	err := s.db.NewRaw(`SELECT `+emailChangeColumns+`, extract(epoch FROM expires_at - now())::float8 FROM email_changes
		WHERE account_id = ? AND closed_at IS NULL AND expires_at > now()`, accountID).Scan(ctx, append(emailChangeTargets(&e), &left)...)
	e.Left = time.Duration(left * float64(time.Second))
	return e, translate(err)
}

// ChallengeOwner returns whose account a challenge is about, or account.ErrNotFound.
func (s *Store) ChallengeOwner(ctx context.Context, id uuid.UUID) (uuid.UUID, error) {
	var owner uuid.UUID
	err := s.db.NewRaw(`SELECT account_id FROM challenges WHERE id = ? AND account_id IS NOT NULL`, id).Scan(ctx, &owner)
	return owner, translate(err)
}

// HasChallenge reports whether a subject has an unexpired code of a purpose, spent or not.
func (s *Store) HasChallenge(ctx context.Context, purpose account.Purpose, subject []byte) (bool, error) {
	var has bool
	err := s.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM challenges
		WHERE purpose = ? AND subject = ? AND superseded_at IS NULL AND code_expires_at > now())`, purpose, subject).Scan(ctx, &has)
	return has, translate(err)
}

// ChangeEmail consumes a proven challenge and gives its account the address that it proves, and owes the former address
// the notice told, in one transaction. The former address is kept for as long as keep says, for the undo of a closure. An
// unverified account of the new address dies, and so does a sign-up that is open for it; codes that were sent to the former one
// prove nothing any more. Repeating it returns the same result. It returns account.ErrInvalidCode when the challenge is not
// proven or the change is not open any more, and account.ErrEmailExists when the address was taken meanwhile.
func (s *Store) ChangeEmail(ctx context.Context, challenge uuid.UUID, told account.Notice, keep time.Duration) (ChallengeResult, error) {
	var out ChallengeResult
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.lockChallenges(ctx, challenge); err != nil {
			return err
		}
		// The account before the change, in the order of OpenEmailChange: the other way round the two would wait for each other.
		_, err := tx.db.NewRaw(`SELECT 1 FROM accounts WHERE id = (SELECT account_id FROM email_changes WHERE id = ?) FOR UPDATE`,
			challenge).Exec(ctx)
		if err != nil {
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
		var e account.EmailChange
		err = translate(tx.db.NewRaw(`UPDATE email_changes SET closed_at = now()
			WHERE id = ? AND new_email = ? AND NOT taken AND closed_at IS NULL AND expires_at > now()
			RETURNING `+emailChangeColumns, challenge, row.Destination).Scan(ctx, emailChangeTargets(&e)...))
		if err != nil {
			return ended(err)
		}
		if err := tx.clearEmail(ctx, e.NewEmail); err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`
			UPDATE accounts SET email = ?, email_verified_at = now(), email_changed_at = now(), updated_at = now()
			WHERE id = ? AND email IS NOT DISTINCT FROM ? AND email_verified_at IS NOT NULL AND `+usable,
			e.NewEmail, e.AccountID, nullable(e.OldEmail)).Exec(ctx)
		if err := touched(res, err); err != nil {
			return ended(err)
		}
		if err := tx.leaveEmail(ctx, e.AccountID, e.OldEmail, keep); err != nil {
			return err
		}
		if err := tx.record(ctx, e.AccountID, account.EventEmailChanged, nil); err != nil {
			return err
		}
		if e.OldEmail != "" {
			if err := tx.owe(ctx, e.AccountID, told); err != nil {
				return err
			}
		}
		out = ChallengeResult{AccountID: e.AccountID}
		return tx.keepResult(ctx, challenge, out)
	})
	return out, translate(err)
}

// clearEmail ends what others began for an address that an account has proven: an open sign-up would go on asking the mailbox for
// its code, and would cost whoever has the address next the password of their account.
func (s *Store) clearEmail(ctx context.Context, email string) error {
	if _, err := s.endContest(ctx, email); err != nil {
		return err
	}
	return s.removeUnverified(ctx, email)
}

// leaveEmail ends what was sent to an address that is no longer an account's own, and keeps it for a while: whoever took it away
// may go on and close the account, and its owner is then to be reached. One that is lost again has been lost since the first time:
// a thief who takes it twice must not have it come after their own.
func (s *Store) leaveEmail(ctx context.Context, accountID uuid.UUID, email string, keep time.Duration) error {
	if err := s.dropCodesTo(ctx, accountID, email); err != nil || email == "" {
		return err
	}
	_, err := s.db.NewRaw(`
		INSERT INTO former_emails (account_id, email, expires_at) VALUES (?, ?, now() + ? * interval '1 second')
		ON CONFLICT (account_id, email) DO UPDATE SET expires_at = EXCLUDED.expires_at`, accountID, email, seconds(keep)).Exec(ctx)
	return translate(err)
}

// dropCodesTo ends the codes and links about an account that went to an address which is no longer its own.
func (s *Store) dropCodesTo(ctx context.Context, accountID uuid.UUID, email string) error {
	_, err := s.db.NewRaw(`UPDATE challenges SET superseded_at = now()
		WHERE account_id = ? AND destination = ? AND consumed_at IS NULL AND superseded_at IS NULL`, accountID, email).Exec(ctx)
	return translate(err)
}

// UnlinkEmail takes an account's address away, with whatever was sent there to prove something or was to replace it, and
// keeps it under id for ttl, so that its owner can be told there, and for keep as ChangeEmail does. The account stays proven. It
// returns account.ErrLastProvider when no way to sign in would be left (contract X19), account.ErrNoSecondFactor when codes sent
// there are its second factor, and account.ErrNotFound when there is no address. Changes of one account wait for each other.
func (s *Store) UnlinkEmail(ctx context.Context, id, accountID uuid.UUID, ttl, keep time.Duration) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var old string
		err := tx.db.NewRaw(`
			SELECT email FROM accounts WHERE id = ? AND email IS NOT NULL AND email_verified_at IS NOT NULL AND `+usable+` FOR UPDATE`,
			accountID).Scan(ctx, &old)
		if err != nil {
			return err
		}
		if err := tx.keepFactor(ctx, accountID); err != nil {
			return err
		}
		if _, err := tx.db.NewRaw(`UPDATE accounts SET email = NULL WHERE id = ?`, accountID).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.keepWayIn(ctx, accountID); err != nil {
			return err
		}
		if err := tx.dropEmailChanges(ctx, accountID); err != nil {
			return err
		}
		if err := tx.leaveEmail(ctx, accountID, old, keep); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			INSERT INTO email_changes (id, account_id, old_email, expires_at, closed_at)
			VALUES (?, ?, ?, now() + ? * interval '1 second', now())`, id, accountID, old, seconds(ttl)).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventEmailRemoved, nil)
	})
}

const usable = `is_active AND NOT is_locked AND deleted_at IS NULL`

// ended says of a change that was not found any more what it means to whoever proves it.
func ended(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrInvalidCode.Because(errors.New("the change of email is not open any more"))
	}
	return err
}

// ForgetEmailChange removes a change of email, with its code and link unless they were spent.
func (s *Store) ForgetEmailChange(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`
		WITH gone AS (DELETE FROM email_changes WHERE id = ?0)
		UPDATE challenges SET superseded_at = now() WHERE id = ?0 AND consumed_at IS NULL AND superseded_at IS NULL`, id).Exec(ctx)
	return translate(err)
}
