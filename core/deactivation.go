package core

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
	"gatehouse/workflows"
)

// DeactivateInput locks the caller's account (D04). An account without a password needs none.
type DeactivateInput struct {
	Password string
	Reason   string
}

const maxReason = 500

func (in DeactivateInput) validate(hasPassword bool) error {
	invalid := account.ErrInvalid
	if fault := blankFault(in.Password); hasPassword && fault != "" {
		invalid = invalid.On("password", fault)
	}
	if utf8.RuneCountInString(in.Reason) > maxReason {
		invalid = invalid.On("reason", "must be at most 500 characters")
	}
	return faults(invalid)
}

// Deactivate locks the caller's account until an operator opens it again (D04). Nothing of it is lost, its email and
// username stay taken, and no session, API key or password opens it. It returns account.ErrInvalidPassword and
// account.ErrTooManyRequests for wrong passwords (security.md SES-13), and account.ErrReauthenticationRequired for an account
// without a password whose session is not fresh.
func (c *Core) Deactivate(ctx context.Context, by account.Caller, in DeactivateInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	if err := in.validate(a.HasPassword); err != nil {
		return None{}, err
	}
	if a.HasPassword {
		if _, err := c.provePassword(ctx, by, in.Password); err != nil {
			return None{}, err
		}
	} else if err := c.requireFresh(by); err != nil {
		return None{}, err
	}
	_, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, told, error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return None{}, nil, err
		}
		return None{}, c.toVerified(a, templates.AccountDeactivated), tx.DeactivateAccount(ctx, a.ID, in.Reason)
	})
	if err == nil {
		c.followAccount(ctx, a.ID)
	}
	return None{}, unauthorized(err)
}

// Reactivate opens a deactivated account again, for operators. Its owner has to sign in anew, and is told. It returns
// account.ErrNotFound for an account that is not deactivated.
func (c *Core) Reactivate(ctx context.Context, accountID uuid.UUID) error {
	err := c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		verified, err := tx.ReactivateAccount(ctx, accountID)
		return c.toVerified(account.Account{ID: accountID, EmailVerified: verified}, templates.AccountReactivated), err
	})
	if err == nil {
		c.followAccount(ctx, accountID)
	}
	return err
}

// followTimeout is how long the answer to a deactivation waits for the pause of what is paid for.
const followTimeout = 2 * time.Second

// followAccount brings the subscriptions of an account in line with what has just become of it. The account's change stands
// whatever becomes of that: what does not get through now, a worker does within a minute (worker.RealignSubscriptions).
func (c *Core) followAccount(ctx context.Context, accountID uuid.UUID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), followTimeout)
	defer cancel()
	strays, err := c.Store.StraysOf(ctx, accountID)
	for _, s := range strays {
		err = errors.Join(err, c.Flows.Ask(ctx, workflows.RealignSubscription(s), nil))
	}
	if err != nil {
		c.Log.WarnContext(ctx, "subscriptions did not follow their account", "account", accountID, "error", err)
	}
}
