package worker

import (
	"context"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// webhookTurns bounds how often one call takes what is owed.
const webhookTurns = 50

// WebhookStore knows the events that receivers must be told.
type WebhookStore interface {
	// ClaimWebhooks takes deliveries that are owed, for the caller to start within a minute.
	ClaimWebhooks(ctx context.Context, atOnce, atOnceFailing int) ([]account.WebhookDelivery, error)
}

// Nudger starts flows, or signals those that run, as durable.Client does.
type Nudger interface {
	Nudge(ctx context.Context, s durable.Start, signal string) error
}

// StartWebhooks starts the deliveries that are owed, as many at once as the rules allow. It gives up at the first that cannot
// be started: whatever was taken with it is owed again a minute later. Any number of processes may run it at once.
func StartWebhooks(ctx context.Context, owed WebhookStore, flows Nudger, rules account.WebhookRules) error {
	for range webhookTurns {
		due, err := owed.ClaimWebhooks(ctx, rules.AtOnce, rules.AtOnceFailing)
		if err != nil || len(due) == 0 {
			return err
		}
		for _, d := range due {
			if err := flows.Nudge(ctx, workflows.StartWebhook(d), workflows.WebhookNow); err != nil {
				return err
			}
		}
	}
	return nil
}
