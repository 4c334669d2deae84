package core

import (
	"context"

	"gatehouse/account"
)

// MembershipsInput names somebody by their email (B17).
type MembershipsInput struct {
	Email string
}

// Memberships returns what somebody is a member of: all of it to themselves and to a service key, to anybody else what was
// made public (B17, design D11). An address without an account has none.
func (c *Core) Memberships(ctx context.Context, by account.Caller, in MembershipsInput) ([]account.Membership, error) {
	email := account.NormalizeEmail(in.Email)
	return c.Store.Memberships(ctx, email, mayKnow(by.Principal, email))
}

func mayKnow(p *account.Principal, email string) bool {
	switch {
	case p == nil:
		return false
	case p.Service():
		return true
	}
	a := p.Account
	return a.EmailVerified && a.Email != nil && *a.Email == email
}
