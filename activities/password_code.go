package activities

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// IssuePasswordCodeInput names the account and the session that ask for a code, the challenge to make, and the channel whose
// contact it goes to: account.ChannelEmail, or any other for the number.
type IssuePasswordCodeInput struct {
	AccountID   uuid.UUID
	SessionID   uuid.UUID
	ChallengeID uuid.UUID
	Channel     account.Channel
}

// IssuePasswordCode makes the challenge that guards an account from within a session, in place of its former one. It returns
// account.ErrInvalidCode when the session has ended or has no contact that it may be sent to.
func (a *Activities) IssuePasswordCode(ctx context.Context, in IssuePasswordCodeInput) (IssuedCode, error) {
	to, err := a.Store.ProvenContact(ctx, in.AccountID, in.SessionID, in.Channel, a.Policy.ContactAge)
	if err != nil {
		return IssuedCode{}, gone(err)
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.ChallengeID, Purpose: account.PurposePasswordChange,
		Subject:   a.Keys.Subject(string(account.PurposePasswordChange), in.AccountID.String()),
		AccountID: &in.AccountID, SessionID: &in.SessionID, Channel: in.Channel, Destination: to, CodeTTL: a.Policy.CodeTTL,
	})
	return a.issued(ch, ch.CodeExpiresAt.Add(proofMargin)), err
}

// Spent is what a code was spent on: whether a password was set, whether there was one before, and whether the owner has a
// number to be told on.
type Spent struct {
	PasswordSet bool
	HadPassword bool
	Phone       bool
}

// SpendPasswordCode makes the change that a proven code allows, in one transaction (contract X15). It returns
// account.ErrInvalidCode.
func (a *Activities) SpendPasswordCode(ctx context.Context, in ChallengeInput) (Spent, error) {
	var spent Spent
	err := a.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
		r, err := tx.SpendPasswordCode(ctx, in.ChallengeID)
		if err != nil {
			return err
		}
		_, err = tx.VerifiedPhone(ctx, r.AccountID)
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
		spent = Spent{PasswordSet: r.PasswordSet, HadPassword: r.HadPassword, Phone: err == nil}
		owed := PasswordChangeNotices(r.AccountID, in.ChallengeID, spent)
		if r.SessionsEnded > 0 {
			owed = append(owed, Notice(a.Keys, r.AccountID, templates.SessionsEnded, in.ChallengeID.String()))
		}
		for _, n := range owed {
			if err := tx.OweNotice(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	return spent, err
}
