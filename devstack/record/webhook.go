//go:build unix

package main

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// webhookSteps are the activities of a delivery.
type webhookSteps interface {
	SendWebhook(context.Context, activities.WebhookInput) (activities.WebhookTried, error)
	DropWebhook(context.Context, activities.WebhookInput) error
}

var (
	_ webhookSteps = (*activities.Activities)(nil)
	_ webhookSteps = (*steps)(nil)
)

func (s *steps) SendWebhook(context.Context, activities.WebhookInput) (activities.WebhookTried, error) {
	return s.script().hook()
}

func (s *steps) DropWebhook(context.Context, activities.WebhookInput) error { return nil }

// hooked is an event to a receiver, of the owner's account.
var hooked = account.WebhookDelivery{
	ID: uuid.MustParse("0b57a7e5-0000-4000-8000-000000000004"), EndpointID: uuid.MustParse("0b57a7e5-0000-4000-8000-000000000005"),
	Type: "account.created", AccountID: owner,
}

// receiving has a receiver that fails once, and a second attempt that ends so after wait. Without an end it fails for ever.
func receiving(wait time.Duration, end account.WebhookState) func() script {
	return func() script {
		w, try := world(), 0
		w.hook = func() (activities.WebhookTried, error) {
			try++
			t := activities.WebhookTried{Try: try, EventID: hooked.ID, Type: hooked.Type, EndpointID: hooked.EndpointID}
			switch {
			case try == 1 || end == account.WebhookWaiting:
				t.State, t.Status, t.Reason, t.Wait = account.WebhookWaiting, 503, "webhook: answered 503", wait
			case end == "":
				return activities.WebhookTried{}, nil
			case end == account.WebhookDelivered:
				t.State, t.Status = end, 204
			default:
				t.State, t.Status, t.Reason = end, 503, "webhook: answered 503"
			}
			return t, nil
		}
		return w
	}
}

// unsure has a store that is away once, which is no fault of the receiver.
func unsure() script {
	w, down := receiving(short, account.WebhookDelivered)(), true
	hook := w.hook
	w.hook = func() (activities.WebhookTried, error) {
		if down {
			down = false
			return activities.WebhookTried{}, account.ErrUnavailable.Because(errSecret)
		}
		return hook()
	}
	return w
}

func webhook() story {
	start := workflows.StartWebhook(hooked)
	return story{
		noun: "webhook", workflow: start.Workflow, summary: start.Summary, attributes: start.Attributes[1:],
		input: func(_, _ uuid.UUID) any { return start.Input },
	}
}

// nudge is what an operator's replay does to a flow that waits.
func (f *flow) nudge(ctx context.Context) error {
	start := workflows.StartWebhook(hooked)
	start.WorkflowID = f.id
	return f.client.Nudge(ctx, start, workflows.WebhookNow)
}

var webhookScenarios = []scenario{
	{"webhook-completed", webhook, unsure, func(ctx context.Context, f *flow) error {
		return do(ctx, f.nudge, f.closed)
	}},
	{"webhook-replayed", webhook, receiving(long, account.WebhookDelivered), func(ctx context.Context, f *flow) error {
		return do(ctx, f.nudge, f.settled, f.nudge, f.closed)
	}},
	{"webhook-given-up", webhook, receiving(short, account.WebhookDead), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"webhook-held", webhook, receiving(short, account.WebhookOwed), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"webhook-removed", webhook, receiving(short, ""), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"webhook-canceled", webhook, receiving(long, account.WebhookWaiting), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.cancel, f.closed)
	}},
}
