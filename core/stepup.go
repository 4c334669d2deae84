package core

import (
	"context"

	"gatehouse/account"
	"gatehouse/store"
)

// requireFresh guards a change of sign-in methods (design D13): the session must have authenticated within
// Policy.StepUpAge, and shown the second factor where the account has one. An API key needs account.ScopeSecurity instead,
// which only a fresh session can give. It returns account.ErrReauthenticationRequired, account.ErrInsufficientScope, and
// account.ErrUnauthorized without a caller.
func (c *Core) requireFresh(by account.Caller) error {
	p := by.Principal
	switch {
	case p == nil || p.Session == nil && p.APIKey == nil:
		return account.ErrUnauthorized
	case p.APIKey != nil:
		if !p.Can(account.ScopeSecurity) {
			return account.ErrInsufficientScope
		}
		return nil
	case p.Session.ReadAt.Sub(p.Session.AuthTime) >= c.Policy.StepUpAge:
		return account.ErrReauthenticationRequired
	}
	return c.requireFactor(by)
}

// requireFactor wants the second factor of an account that has one to have been shown in this session within
// Policy.StepUpAge. It returns account.ErrReauthenticationRequired.
func (c *Core) requireFactor(by account.Caller) error {
	if !by.Principal.Account.TwoFactor {
		return nil
	}
	s := by.Principal.Session
	if s == nil || s.FactorAt == nil || s.ReadAt.Sub(*s.FactorAt) >= c.Policy.StepUpAge {
		return account.ErrReauthenticationRequired
	}
	return nil
}

// requireLive is the last word on a change that a fresh session may make, within the change's own transaction: whoever ended
// the session while the request was on its way ended this, too (security.md RST-03). It returns account.ErrUnauthorized.
func requireLive(ctx context.Context, tx *store.Store, by account.Caller) error {
	owner, session, err := current(by)
	if err != nil {
		return err
	}
	if key := by.Principal.APIKey; key != nil {
		return unauthorized(tx.HoldKey(ctx, owner, key.ID))
	}
	return unauthorized(tx.HoldSession(ctx, owner, session))
}

// requireLiveOverCodes is requireLive for a change that ends codes of the account, too: it takes hold of those before the
// account, in the order of whoever spends one.
func requireLiveOverCodes(ctx context.Context, tx *store.Store, by account.Caller) error {
	owner, _, err := current(by)
	if err == nil {
		err = tx.HoldChallenges(ctx, owner)
	}
	if err != nil {
		return err
	}
	return requireLive(ctx, tx, by)
}

// shownBy is the proof of a code that the caller's session has shown: it is good while that lives, up to the change itself.
func shownBy(by account.Caller) store.Proof {
	if by.Principal.Session == nil {
		return store.Proof{}
	}
	return store.Proof{Session: &by.Principal.Session.ID}
}

// requireVerified keeps an account whose address is unproven from binding anything (design D5). It returns
// account.ErrEmailNotVerified, and account.ErrUnauthorized without a caller.
func (c *Core) requireVerified(by account.Caller) error {
	switch {
	case by.Principal == nil:
		return account.ErrUnauthorized
	case !by.Principal.Account.Proven():
		return account.ErrEmailNotVerified
	}
	return nil
}

// OwnerProof shows that the owner asks, and not just whoever holds the session: by the account's password, or by a code of
// SendPasswordCode. Where both are given the password counts.
//
// A wrong password is account.ErrInvalidPassword, and a failed login of the account; a wrong code is account.ErrInvalidOTP.
// Both count against the session (security.md SES-13), and too many of them are account.ErrTooManyRequests.
type OwnerProof struct {
	Password string
	OTP      string
}

// judge adds what is wrong with the form of the proof.
func (p OwnerProof) judge(invalid *account.Error) *account.Error {
	switch {
	case p.Password != "":
		return invalid
	case p.OTP == "":
		return invalid.On("password", "password or otp is required")
	}
	if fault := account.OTPFault(p.OTP); fault != "" {
		return invalid.On("otp", fault)
	}
	return invalid
}

// byOwner makes a change if the proof holds: change itself after the password, or use in the transaction that spends the
// code.
func (c *Core) byOwner(ctx context.Context, by account.Caller, proof OwnerProof, use store.CodeUse, change func() error) error {
	if proof.Password != "" {
		if _, err := c.provePassword(ctx, by, proof.Password); err != nil {
			return err
		}
		return change()
	}
	_, err := c.spendCode(ctx, by, proof.OTP, func() (store.Proof, error) { return store.Proof{Use: use}, nil })
	return err
}

// Reauthenticate makes the caller's session as fresh as a new login (design D13, conventions 10), so that it may change
// sign-in methods for a while. A code of the account's authenticator app will do as well as one of SendPasswordCode, and is
// the second factor, too; so is a code to the email where that is the factor. Its errors are those of the proof.
func (c *Core) Reauthenticate(ctx context.Context, by account.Caller, in OwnerProof) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	owner, session, err := current(by)
	if err != nil {
		return None{}, err
	}
	if err := faults(in.judge(account.ErrInvalid)); err != nil {
		return None{}, err
	}
	proof := func() error {
		return c.byOwner(ctx, by, in, store.UseReauthenticate, func() error {
			_, err := once(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, error) {
				return None{}, tx.Reauthenticated(ctx, owner, session)
			})
			return unauthorized(err)
		})
	}
	if in.Password != "" {
		return None{}, proof()
	}
	use := store.FactorUse{AccountID: owner, Session: session, SessionTTL: c.Policy.SessionTTL, Fresh: true}
	return None{}, c.byApp(ctx, by, use, in.OTP, proof)
}
