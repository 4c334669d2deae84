package worker

import (
	"context"
	"errors"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// realignBatch bounds what one turn asks of flows.
const realignBatch = 100

// StrayStore knows the subscriptions that are not in line with their accounts.
type StrayStore interface {
	Strays(ctx context.Context, atMost int) ([]account.Stray, error)
}

// Asker asks flows, as durable.Client does.
type Asker interface {
	Ask(ctx context.Context, a durable.Ask, out any) error
}

// RealignSubscriptions ends the subscriptions of closed accounts, pauses those of deactivated ones and resumes those of
// accounts that are open again, where that could not be done with the account's own change: Temporal was away, a charge was
// under way. One that refuses, or whose flow takes no update, is asked again in the next turn and holds up no other. Any number of
// processes may run it at once.
func RealignSubscriptions(ctx context.Context, strays StrayStore, flows Asker) error {
	all, err := strays.Strays(ctx, realignBatch)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range all {
		err := flows.Ask(ctx, workflows.RealignSubscription(s), nil)
		switch {
		case ctx.Err() != nil, errors.Is(err, account.ErrUnavailable) && !errors.Is(err, durable.ErrFlowRefuses):
			return err // Temporal is away
		case err != nil && !errors.Is(err, account.ErrSubscriptionState):
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
