package activities

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
)

// IssuePhoneCodeInput names the account and the challenge to make; the number is parked under the challenge's id.
type IssuePhoneCodeInput struct {
	AccountID   uuid.UUID
	ChallengeID uuid.UUID
}

// IssuePhoneCode makes the challenge that proves a number, in place of the account's former one, whatever its number. It
// returns account.ErrInvalidCode when the account or what it parked is gone.
func (a *Activities) IssuePhoneCode(ctx context.Context, in IssuePhoneCodeInput) (IssuedCode, error) {
	attempt, err := a.Store.PhoneAttempt(ctx, in.ChallengeID)
	if err != nil {
		return IssuedCode{}, gone(err)
	}
	if attempt.AccountID != in.AccountID {
		return IssuedCode{}, account.ErrInvalidCode.Because(errors.New("the number was parked by another account"))
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.ChallengeID, Purpose: account.PurposePhone, Subject: a.Keys.Subject(string(account.PurposePhone), in.AccountID.String()),
		AccountID: &in.AccountID, Channel: account.ChannelSMS, Destination: attempt.Number, CodeTTL: a.Policy.CodeTTL,
	})
	// Accepted at the last moment, the code lives once more as long.
	return a.issued(ch, ch.CreatedAt.Add(2*a.Policy.CodeTTL+time.Minute)), err
}

// BindPhone gives the number of a proven challenge to its account, verified (A04). It returns account.ErrInvalidCode.
func (a *Activities) BindPhone(ctx context.Context, in ChallengeInput) (AccountInput, error) {
	owner, err := a.Store.BindPhone(ctx, in.ChallengeID, PhoneNotice(uuid.Nil, in.ChallengeID))
	return AccountInput{AccountID: owner}, err
}
