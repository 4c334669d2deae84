package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// CodeUse is what a code of account.PurposePasswordChange is spent on. One code serves one use (contract X15).
type CodeUse string

// The uses of a code: a new password (D05, D07), the end of the account's other sessions (D17) or of all of them (D18), and
// a fresh authentication of its session (reauthenticate).
const (
	UseSetPassword    CodeUse = "set_password"
	UseSignOutOthers  CodeUse = "sign_out_others"
	UseSignOutAll     CodeUse = "sign_out_all"
	UseReauthenticate CodeUse = "reauthenticate"
)

// ProvenContact returns where a code goes that guards an account from within a session: the account's email, or its number
// for the other channels. It must have been proven longer than age ago, or before a session began that a password opened, so that
// whoever got hold of a session cannot have put it there: any other session may be their second one, opened by an account at a
// provider or a key that they have added along with the contact. The address that the account began with counts for every session
// that began after its proof. It returns account.ErrNotFound when there is none, or the session has ended.
func (s *Store) ProvenContact(ctx context.Context, accountID, session uuid.UUID, channel account.Channel, age time.Duration) (string, error) {
	contact, proven, trusted := "a.phone_number", "a.phone_verified_at", sessionByPassword
	if channel == account.ChannelEmail {
		contact, proven, trusted = "a.email", "a.email_verified_at", "("+sessionByPassword+" OR a.email_changed_at IS NULL)"
	}
	var to string
	err := s.only(ctx, `
		SELECT `+contact+` FROM accounts a JOIN sessions s ON s.account_id = a.id
		WHERE a.id = $1 AND s.id = $2 AND `+contact+` IS NOT NULL AND `+accountUsable+` AND `+sessionLive+`
			AND (`+proven+` <= s.created_at AND `+trusted+` OR `+proven+` <= now() - $3::float8 * interval '1 second')`,
		[]any{accountID, session, seconds(age)}, &to)
	return to, err
}

// VerifiedPhone returns the number of an account, if it is verified, or account.ErrNotFound.
func (s *Store) VerifiedPhone(ctx context.Context, accountID uuid.UUID) (string, error) {
	var number string
	err := s.only(ctx, `
		SELECT phone_number FROM accounts
		WHERE id = $1 AND phone_number IS NOT NULL AND phone_verified_at IS NOT NULL AND deleted_at IS NULL`, []any{accountID}, &number)
	return number, err
}

// lockChallenges takes hold of every open challenge of the account that a challenge is about, in one order: who consumes
// one of them and ends the others would else wait for somebody who does so from the other end.
func (s *Store) lockChallenges(ctx context.Context, challenge uuid.UUID) error {
	_, err := s.db.NewRaw(`
		SELECT 1 FROM challenges
		WHERE account_id = (SELECT account_id FROM challenges WHERE id = ?) AND consumed_at IS NULL AND superseded_at IS NULL
		ORDER BY id FOR UPDATE`, challenge).Exec(ctx)
	return translate(err)
}

// HoldChallenges is lockChallenges for a change of an account that ends its codes, before it takes hold of the account: whoever
// spends one of them goes in that order, and the two would else wait for each other.
func (s *Store) HoldChallenges(ctx context.Context, accountID uuid.UUID) error {
	_, err := s.db.NewRaw(`
		SELECT 1 FROM challenges WHERE account_id = ? AND consumed_at IS NULL AND superseded_at IS NULL ORDER BY id FOR UPDATE`, accountID).
		Exec(ctx)
	return translate(err)
}

var errNoUse = errors.New("the session has ended, or the code has no use")

// SpendPasswordCode consumes a proven challenge of account.PurposePasswordChange and makes the change that was parked with
// its proof, in one transaction. Repeating it returns the same result. It returns account.ErrInvalidCode when the challenge
// is not proven, or the session that it counts for has ended.
func (s *Store) SpendPasswordCode(ctx context.Context, challenge uuid.UUID) (ChallengeResult, error) {
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
		out, err = tx.spendPasswordCode(ctx, row)
		if errors.Is(err, account.ErrNotFound) {
			err = account.ErrInvalidCode.Because(errNoUse)
		}
		if err != nil {
			return err
		}
		if _, err := tx.db.NewRaw(`UPDATE challenges SET proof = NULL WHERE id = ?`, challenge).Exec(ctx); err != nil {
			return err
		}
		return tx.keepResult(ctx, challenge, out)
	})
	return out, translate(err)
}

func (s *Store) spendPasswordCode(ctx context.Context, row challengeRow) (ChallengeResult, error) {
	proof, err := row.proof()
	if err != nil {
		return ChallengeResult{}, err
	}
	if row.AccountID == nil || row.SessionID == nil || account.Purpose(row.Purpose) != account.PurposePasswordChange {
		return ChallengeResult{}, account.ErrNotFound
	}
	owner, session := *row.AccountID, *row.SessionID
	out := ChallengeResult{AccountID: owner}
	if proof.Use == UseSetPassword {
		if err := s.dropPasswordCodes(ctx, owner); err != nil {
			return out, err
		}
	}
	// The account before its sessions, as wherever both change. A code to a phone counts while the number is the account's: its owner
	// may have given another because the phone was stolen. Codes to an address end with it (dropCodesTo).
	err = s.db.NewRaw(`
		SELECT password_hash IS NOT NULL FROM accounts a WHERE a.id = ? AND `+accountUsable+`
			AND (? = ? OR a.phone_number = ? AND a.phone_verified_at IS NOT NULL) FOR UPDATE`,
		owner, row.Channel, account.ChannelEmail, row.Destination).Scan(ctx, &out.HadPassword)
	if err != nil {
		return out, translate(err)
	}
	// A session that has ended proves nothing, not even by a code that was right just before.
	if err := s.Reauthenticated(ctx, owner, session); err != nil {
		return out, err
	}
	switch proof.Use {
	case UseSetPassword:
		out.PasswordSet = true
		if err := s.setPassword(ctx, owner, proof.PasswordHash, session); err != nil {
			return out, err
		}
		name := account.EventPasswordChanged
		if !out.HadPassword {
			name = account.EventPasswordAdded
		}
		return out, s.record(ctx, owner, name, nil)
	case UseSignOutOthers:
		out.SessionsEnded, err = s.RevokeSessions(ctx, owner, session, "revoked_by_other")
	case UseSignOutAll:
		out.SessionsEnded, err = s.RevokeSessions(ctx, owner, uuid.Nil, "revoked_all")
	case UseReauthenticate:
		err = s.showedMail(ctx, owner, session, row.Destination)
	default:
		err = account.ErrNotFound
	}
	return out, err
}

// setPassword sets the password of a locked account and ends all sessions but one.
func (s *Store) setPassword(ctx context.Context, owner uuid.UUID, hash string, keep uuid.UUID) error {
	if hash == "" {
		return account.ErrNotFound
	}
	res, err := s.db.NewRaw(`
		UPDATE accounts SET password_hash = ?, password_changed_at = now(), updated_at = now() WHERE id = ?`, hash, owner).Exec(ctx)
	if err := touched(res, err); err != nil {
		return err
	}
	return s.keepSession(ctx, owner, &keep, "password_changed")
}
