package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// formerEmailLife is how long an address that was taken away is kept for the notice that goes there: a mail is tried for a
// day, once Temporal takes it. For the undo of a closure it is kept by itself.
const formerEmailLife = 48 * time.Hour

// LinkEmailInput asks for another email, or for one where there is none (D23).
type LinkEmailInput struct {
	Email string
}

// EmailLinkStarted is a code on its way to the new address: the token that VerifyEmailLink takes with it, where it went, and
// how long it lives.
type EmailLinkStarted struct {
	TempToken string
	Hint      string
	ExpiresIn time.Duration
}

// LinkEmail has a code sent to an address that is to become the email of the caller's account, in place of the present one,
// whose owner is told (D23, contract X19). It replaces whatever change was pending. Asking for the same address again within
// the gap between two codes sends none and returns what is under way.
// It returns account.ErrReauthenticationRequired, account.ErrEmailNotVerified, account.ErrEmailExists for the present address
// and, in documented enumeration mode, for a taken one, and account.ErrTooManyRequests.
func (c *Core) LinkEmail(ctx context.Context, by account.Caller, in LinkEmailInput) (EmailLinkStarted, error) {
	email, fault := account.ParseEmail(in.Email)
	if fault != "" {
		return EmailLinkStarted{}, account.ErrInvalid.On("email", fault)
	}
	if err := c.mayBind(by); err != nil {
		return EmailLinkStarted{}, err
	}
	if present := by.Principal.Account.Email; present != nil && *present == email {
		return EmailLinkStarted{}, account.ErrEmailExists
	}
	change, err := c.requestEmailChange(ctx, by, email, true)
	if err != nil {
		return EmailLinkStarted{}, err
	}
	left := c.Policy.CodeTTL
	if change.Left > 0 { // it was under way
		left = max(0, change.Left+c.Policy.CodeTTL-c.emailChangeLife(change))
	}
	return EmailLinkStarted{
		TempToken: c.Keys.TempToken(account.PurposeEmailLink, change.ID), Hint: account.Hint(account.ChannelEmail, email), ExpiresIn: left,
	}, nil
}

// VerifyEmailLinkInput proves an address by the code sent there and the token that LinkEmail returned (D24).
type VerifyEmailLinkInput struct {
	TempToken string
	OTP       string
}

func (in VerifyEmailLinkInput) validate() error {
	invalid := account.ErrInvalid
	if fault := blankFault(in.TempToken); fault != "" {
		invalid = invalid.On("temp_token", fault)
	}
	if fault := account.OTPFault(in.OTP); fault != "" {
		invalid = invalid.On("otp", fault)
	}
	return faults(invalid)
}

// VerifyEmailLink makes the address of LinkEmail the email of the caller's account, and tells both (D24). It returns
// account.ErrInvalidToken for a token that is not that of the account's open code, which costs a guess all the same, and
// account.ErrInvalidOTP and account.ErrTooManyRequests for wrong codes. An address that was taken meanwhile is a wrong code.
func (c *Core) VerifyEmailLink(ctx context.Context, by account.Caller, in VerifyEmailLinkInput) (None, error) {
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	if err := in.validate(); err != nil {
		return None{}, err
	}
	owner := by.Principal.Account.ID
	guess := c.guess(account.PurposeEmailLink, owner.String(), by)
	if err := c.checkTempToken(ctx, guess, owner, in.TempToken); err != nil {
		return None{}, err
	}
	counted, err := c.checkCode(ctx, &guess, owner.String(), in.OTP)
	if err == nil && counted.Done == nil {
		_, err = c.prove(ctx, emailLinkFlow(owner), counted.ID, guess, shownBy(by))
	}
	if errors.Is(err, account.ErrInvalidCode) {
		err = account.ErrInvalidOTP.Because(err)
	}
	return None{}, err
}

// UnlinkEmail takes the caller's email away, and tells its owner there (D25). It returns
// account.ErrReauthenticationRequired, account.ErrEmailNotVerified, account.ErrLastProvider when no way to sign in would be
// left: that is, no outside account (contract X19), account.ErrNoSecondFactor when codes to the email are the second factor,
// and account.ErrNotFound when there is no email.
func (c *Core) UnlinkEmail(ctx context.Context, by account.Caller, _ None) (None, error) {
	if err := c.mayBind(by); err != nil {
		return None{}, err
	}
	id, change := by.Principal.Account.ID, uuid.New()
	return None{}, c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return nil, err
		}
		n := c.notice(id, templates.EmailUnlinked, change.String())
		n.EmailChange = change
		return told{n}, tx.UnlinkEmail(ctx, change, id, formerEmailLife, c.Policy.ClosureGrace)
	})
}
