//go:build unix

package main

import (
	"context"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var messageScenarios = []scenario{
	{"message-retry-completed", onceMore, mailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"message-retry-expired", onceMore, mailLate, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"message-retry-failed", onceMore, mailRefused, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"message-retry-canceled", onceMore, mailAway, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.tried, f.cancel, f.closed)
	}},
}

// onceMore is a message that an operator has sent once more.
func onceMore() story {
	return story{
		noun: "message", workflow: workflows.MessageRetryWorkflow,
		input:   func(first, _ uuid.UUID) any { return workflows.MessageRetryInput{MessageID: first} },
		summary: "Once more: password_changed",
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("sending"), durable.AccountID.ValueSet(owner.String()),
		},
	}
}

// mailLate has a mail that has lost its point.
func mailLate() script {
	w := world()
	w.mail = func() (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliveryExpired}, nil
	}
	return w
}

// mailAway has a mail server that does not come back.
func mailAway() script {
	w := world()
	w.mail = func() (activities.Delivered, error) {
		return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
	}
	return w
}

func (s *steps) ResendMessage(context.Context, activities.ResendMessageInput) (activities.Delivered, error) {
	return s.script().mail()
}

// tried waits until a step waits for its next try.
func (f *flow) tried(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, f.run)
		return len(d.GetPendingActivities()) > 0, err
	})
}
