package core

import (
	"gatehouse/account"
)

// requireFresh guards a change of sign-in methods (design D13): the session must have authenticated within
// Policy.StepUpAge. An API key needs account.ScopeSecurity instead, which only a fresh session can give. It returns
// account.ErrReauthenticationRequired, account.ErrInsufficientScope, and account.ErrUnauthorized without a caller.
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
	case c.Clock.Now().Sub(p.Session.AuthTime) >= c.Policy.StepUpAge:
		return account.ErrReauthenticationRequired
	}
	return nil
}

// requireVerified keeps an account whose address is unproven from binding anything (design D5). It returns
// account.ErrEmailNotVerified, and account.ErrUnauthorized without a caller.
func (c *Core) requireVerified(by account.Caller) error {
	switch {
	case by.Principal == nil:
		return account.ErrUnauthorized
	case !by.Principal.Account.EmailVerified:
		return account.ErrEmailNotVerified
	}
	return nil
}
