package activities

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
)

// IssueSignupCodeInput names the attempt that needs a code and the challenge to make.
type IssueSignupCodeInput struct {
	AttemptID   uuid.UUID
	ChallengeID uuid.UUID
}

// IssuedCode is a challenge that waits to be sent.
type IssuedCode struct {
	ChallengeID   uuid.UUID
	Masked        string
	SendBy        time.Time
	CodeExpiresAt time.Time
	// FlowExpiresAt is when the flow gives up waiting for the code.
	FlowExpiresAt time.Time
	// Tries is how often the code may be entered.
	Tries int `json:",omitzero"`
}

func (a *Activities) issued(ch account.Challenge, flowExpires time.Time) IssuedCode {
	return IssuedCode{
		ChallengeID: ch.ID, Masked: account.Mask(ch.Channel, ch.Destination), SendBy: ch.SendBy, CodeExpiresAt: ch.CodeExpiresAt,
		FlowExpiresAt: flowExpires, Tries: a.Policy.CodeTries,
	}
}

// IssueSignupCode makes the challenge of a pending sign-up, in place of its former one. It returns account.ErrInvalidCode
// when the attempt has expired.
func (a *Activities) IssueSignupCode(ctx context.Context, in IssueSignupCodeInput) (IssuedCode, error) {
	email, expires, err := a.Store.SignupExpiry(ctx, in.AttemptID, a.Policy.SignupTTL)
	if err != nil {
		return IssuedCode{}, gone(err)
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.ChallengeID, Purpose: account.PurposeSignup, Subject: a.Keys.Subject(string(account.PurposeSignup), email),
		Channel: account.ChannelEmail, Destination: email, CodeTTL: a.Policy.CodeTTL,
	})
	return a.issued(ch, expires), err
}

// ChallengeInput names a proven challenge.
type ChallengeInput struct {
	ChallengeID uuid.UUID
}

// SignedUp is the account and first session that a sign-up made.
type SignedUp struct {
	AccountID uuid.UUID
	SessionID uuid.UUID
}

// CompleteSignup turns a proven sign-up code into an account, settings, credits and first session, in one transaction.
// It returns account.ErrInvalidCode and account.ErrEmailExists.
func (a *Activities) CompleteSignup(ctx context.Context, in ChallengeInput) (SignedUp, error) {
	signed, err := a.Store.CompleteSignup(ctx, in.ChallengeID, a.bonus(), a.Policy.SessionTTL, flowOf(ctx))
	return SignedUp(signed), err
}

// AttemptInput names a sign-up attempt.
type AttemptInput struct {
	AttemptID uuid.UUID
}

// Remaining tells until when something that should end was prolonged; the zero time means that it has ended.
type Remaining struct {
	Until time.Time
}

// AbandonSignup removes an expired attempt and its codes. Nothing is left behind.
func (a *Activities) AbandonSignup(ctx context.Context, in AttemptInput) (Remaining, error) {
	attempt, err := a.Store.Signup(ctx, in.AttemptID)
	if errors.Is(err, account.ErrNotFound) {
		return Remaining{}, nil
	}
	if err != nil {
		return Remaining{}, err
	}
	until, err := a.Store.AbandonSignup(ctx, in.AttemptID, a.Keys.Subject(string(account.PurposeSignup), attempt.Email))
	return Remaining{Until: until}, err
}

// RegisterAccount makes the unverified account of a parked attempt with its first session (B02). It returns
// account.ErrIdentityAlreadyUsed when the email or username is taken. Then no worker tries again: the
// identity may get free, and the client was told that there is no account.
func (a *Activities) RegisterAccount(ctx context.Context, in AttemptInput) (SignedUp, error) {
	signed, err := a.Store.Register(ctx, store.Registration{
		Attempt: in.AttemptID, SessionTTL: a.Policy.SessionTTL, Bonus: a.bonus(),
		NameAtProof: a.Policy.Enumeration == account.EnumerationHidden,
	})
	if errors.Is(err, account.ErrEmailExists) || errors.Is(err, account.ErrUsernameTaken) {
		err = account.ErrIdentityAlreadyUsed.Because(err)
		if failed := a.Store.EndSignup(ctx, in.AttemptID); failed != nil {
			return SignedUp{}, failed
		}
	}
	return SignedUp(signed), gone(err)
}

// IssueEmailCodeInput names the account whose address is to be proven and the challenge to make.
type IssueEmailCodeInput struct {
	AccountID   uuid.UUID
	ChallengeID uuid.UUID
}

// IssueEmailCode makes the challenge, with a code and a link, that proves an account's address, in place of its former
// one. It returns account.ErrInvalidCode when the account is gone.
func (a *Activities) IssueEmailCode(ctx context.Context, in IssueEmailCodeInput) (IssuedCode, error) {
	to, err := a.Store.RecipientOf(ctx, in.AccountID)
	if err != nil {
		return IssuedCode{}, gone(err)
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.ChallengeID, Purpose: account.PurposeEmail, Subject: a.Keys.Subject(string(account.PurposeEmail), to.Email),
		AccountID: &in.AccountID, Channel: account.ChannelEmail, Destination: to.Email, CodeTTL: a.Policy.CodeTTL, LinkTTL: a.Policy.LinkTTL,
	})
	return a.issued(ch, ch.CreatedAt.Add(a.Policy.UnverifiedTTL)), err
}

// Confirmed is the account whose address was proven, and the welcome bonus that brought.
type Confirmed struct {
	AccountID      uuid.UUID
	CreditsAwarded int64
}

// ConfirmEmail marks the address of a proven challenge as verified and grants the welcome bonus, in one transaction. It
// returns account.ErrInvalidCode.
func (a *Activities) ConfirmEmail(ctx context.Context, in ChallengeInput) (Confirmed, error) {
	r, err := a.Store.ConfirmEmail(ctx, in.ChallengeID, a.bonus())
	return Confirmed{AccountID: r.AccountID, CreditsAwarded: r.CreditsAwarded}, err
}

// AccountInput names an account.
type AccountInput struct {
	AccountID uuid.UUID
}

// Left tells how long something that should end still has; 0 means that it has ended.
type Left struct {
	Wait time.Duration
}

// PurgeUnverified deletes an account whose address nobody proved in time (design D5).
func (a *Activities) PurgeUnverified(ctx context.Context, in AccountInput) (Left, error) {
	wait, err := a.Store.PurgeUnverified(ctx, in.AccountID, a.Policy.UnverifiedTTL)
	return Left{Wait: wait}, err
}

// gone says of a flow's own row that was not found what it means to the client: the sign-up is over.
func gone(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrInvalidCode.Because(err)
	}
	return err
}
