package core

import (
	"context"

	"gatehouse/account"
	"gatehouse/store"
)

// WelcomeStatus returns how the caller stands with the welcome bonus (C33).
func (c *Core) WelcomeStatus(ctx context.Context, by account.Caller, _ None) (account.Welcome, error) {
	return c.Store.WelcomeOf(ctx, by.Principal.Account.ID)
}

// MarkWelcomeShown records that the caller has seen the welcome (C32). The first time counts.
func (c *Core) MarkWelcomeShown(ctx context.Context, by account.Caller, _ None) (None, error) {
	return None{}, c.Store.MarkWelcomeShown(ctx, by.Principal.Account.ID)
}

// Unlocked tells what UnlockWelcome granted, and how the account stands then.
type Unlocked struct {
	Granted int64
	Welcome account.Welcome
}

// UnlockWelcome grants the rest of a reduced welcome bonus, once, when the caller's phone is verified (C30). Otherwise it
// grants nothing, which is no failure. It returns account.ErrEmailNotVerified while the caller's address is unproven.
func (c *Core) UnlockWelcome(ctx context.Context, by account.Caller, _ None) (Unlocked, error) {
	if out, done, err := made[Unlocked](by); done {
		return out, err
	}
	if err := c.requireVerified(by); err != nil {
		return Unlocked{}, err
	}
	return once(ctx, c, by, func(ctx context.Context, tx *store.Store) (Unlocked, error) {
		granted, welcome, err := tx.UnlockWelcome(ctx, by.Principal.Account.ID)
		return Unlocked{Granted: granted, Welcome: welcome}, err
	})
}
