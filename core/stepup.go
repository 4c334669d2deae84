package core

import (
	"gatehouse/account"
)

// requireFresh guards a change of sign-in methods (design D13): the session must have authenticated within
// Policy.StepUpAge, and shown the second factor where the account has one. An API key needs account.ScopeSecurity instead, which only a fresh session can give. It returns
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
	return c.requireFactor(by)
}

// requireFactor wants the second factor of an account that has one to have been shown in this session within
// Policy.StepUpAge. It returns account.ErrReauthenticationRequired.
func (c *Core) requireFactor(by account.Caller) error {
	if !by.Principal.Account.TwoFactor {
		return nil
	}
	s := by.Principal.Session
	if s == nil || s.FactorAt == nil || c.Clock.Now().Sub(*s.FactorAt) >= c.Policy.StepUpAge {
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
	case !by.Principal.Account.Proven():
		return account.ErrEmailNotVerified
	}
	return nil
}
