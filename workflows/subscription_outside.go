package workflows

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// AskSubscription is how the flow of a subscription is asked from outside of any flow. It is started if it does not run: one
// that was lost goes on with what the store knows. Without an opening the subscription exists already.
func AskSubscription(id string, owner uuid.UUID, plan string, opening *SubscriptionOpening, update string, arg any) durable.Ask {
	start := StartSubscription(id, owner, plan)
	return durable.Ask{
		WorkflowID: start.WorkflowID, Workflow: start.Workflow, Queue: start.Queue,
		Input:  SubscriptionFlow{SubscriptionID: id, Opening: opening},
		Update: update, Arg: arg, Summary: start.Summary, Attributes: start.Attributes,
	}
}

// StartSubscription starts the flow of a subscription that exists.
func StartSubscription(id string, owner uuid.UUID, plan string) durable.Start {
	return durable.Start{
		WorkflowID: SubscriptionWorkflowID(id), Workflow: SubscriptionWorkflow, Queue: durable.QueueBilling,
		Input: SubscriptionFlow{SubscriptionID: id}, Summary: "Subscription " + id,
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("subscription"), durable.FlowStage.ValueSet(stageOpening),
			durable.AccountID.ValueSet(owner.String()), durable.Plan.ValueSet(plan),
		},
	}
}

// RealignSubscription brings a subscription in line with its account.
func RealignSubscription(s account.Stray) durable.Ask {
	kind := map[account.Realignment]activities.SubscriptionCommandKind{
		account.RealignEnd: activities.CommandCancelNow, account.RealignPause: activities.CommandPause, account.RealignResume: activities.CommandResume,
	}[s.Needs]
	return AskSubscription(s.SubscriptionID, s.AccountID, s.PlanCode, nil, string(kind), SubscriptionRequest{
		Key: "account/" + string(s.Needs) + "/" + strconv.FormatInt(s.Version, 10), Reason: account.PausedDeactivation,
	})
}

// SubscriptionFlows are the flows of subscriptions as activities see them.
type SubscriptionFlows struct {
	Client *durable.Client
}

// Revive starts the flow of a subscription unless it runs, and reports whether it had to.
func (f SubscriptionFlows) Revive(ctx context.Context, id string, owner uuid.UUID, plan string) (bool, error) {
	return f.Client.Revive(ctx, StartSubscription(id, owner, plan))
}

// Look has the flow of a subscription ask for the outcome of its charge at once. One that does not run is not missed.
func (f SubscriptionFlows) Look(ctx context.Context, id string) error {
	err := f.Client.Tell(ctx, durable.Tell{WorkflowID: SubscriptionWorkflowID(id), Update: SubscriptionLook}, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		return nil
	}
	return err
}

// LookIfIdle is Look for a flow that does not wait for a charge.
func (f SubscriptionFlows) LookIfIdle(ctx context.Context, id string) error {
	charging, err := f.Client.Doing(ctx, SubscriptionWorkflowID(id), stepName(a.ChargeInvoice))
	if errors.Is(err, durable.ErrNoFlow) || err == nil && charging {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Look(ctx, id)
}

// Running returns a page of the subscriptions whose flow runs and was started before a moment, and the token of the next page.
func (f SubscriptionFlows) Running(ctx context.Context, before time.Time, page []byte) (ids []string, next []byte, err error) {
	flows, next, err := f.Client.Running(ctx, SubscriptionWorkflow, before, page)
	for _, flow := range flows {
		ids = append(ids, strings.TrimPrefix(flow, SubscriptionWorkflowID("")))
	}
	return ids, next, err
}
