package core

import (
	"context"

	"gatehouse/account"
)

// LinkedAccounts is how an account can be opened (C09).
type LinkedAccounts struct {
	Linked        []account.LinkedProvider
	PrimaryMethod string
	HasPassword   bool
}

// LinkedAccounts returns the outside accounts that open the caller's account (A07, C09).
func (c *Core) LinkedAccounts(ctx context.Context, by account.Caller, _ None) (LinkedAccounts, error) {
	if by.Principal == nil {
		return LinkedAccounts{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	linked, err := c.Store.LinkedProviders(ctx, a.ID)
	return LinkedAccounts{Linked: linked, PrimaryMethod: a.PrimaryProvider, HasPassword: a.HasPassword}, err
}
