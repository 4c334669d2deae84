package core

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// SecurityOverview is how an account can be signed in to (C22).
type SecurityOverview struct {
	PrimaryMethod string
	HasPassword   bool
	Providers     []string
	EmailVerified bool
}

// SecurityOverview returns how the caller's account can be signed in to (C22).
func (c *Core) SecurityOverview(ctx context.Context, by account.Caller, _ None) (SecurityOverview, error) {
	if by.Principal == nil {
		return SecurityOverview{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	providers, err := c.providersOf(ctx, a.ID)
	return SecurityOverview{
		PrimaryMethod: a.PrimaryProvider, HasPassword: a.HasPassword, Providers: providers, EmailVerified: a.EmailVerified,
	}, err
}

// providersOf names the outside accounts that open an account, oldest first.
func (c *Core) providersOf(ctx context.Context, accountID uuid.UUID) ([]string, error) {
	linked, err := c.Store.LinkedProviders(ctx, accountID)
	names := make([]string, len(linked))
	for i, l := range linked {
		names[i] = string(l.Provider)
	}
	return names, err
}
