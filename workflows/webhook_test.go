package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var (
	delivery = uuid.MustParse("00000000-0000-4000-8000-00000000a00d")
	receiver = uuid.MustParse("00000000-0000-4000-8000-00000000a00e")
	event    = uuid.MustParse("00000000-0000-4000-8000-00000000a00f")
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

func (s *steps) SendWebhook(ctx context.Context, in activities.WebhookInput) (activities.WebhookTried, error) {
	return run(ctx, s, s.stage.hook, in)
}

func (s *steps) DropWebhook(ctx context.Context, in activities.WebhookInput) error {
	_, err := run(ctx, s, func(activities.WebhookInput) (struct{}, error) { return struct{}{}, nil }, in)
	return err
}

// deliver plays a delivery to its end.
func (s *stage) deliver() error {
	s.t.Helper()
	start := workflows.StartWebhook(account.WebhookDelivery{ID: delivery, EndpointID: receiver, Type: "account.created", AccountID: owner})
	require.Equal(s.t, "webhook/"+delivery.String(), start.WorkflowID)
	s.updates = start.Attributes
	s.env.ExecuteWorkflow(start.Workflow, start.Input)
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *stage) requireWebhook(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "webhook", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
}

// answers are those of a receiver, one for each attempt; the last one is given again and again.
func answers(all ...activities.WebhookTried) func(activities.WebhookInput) (activities.WebhookTried, error) {
	try := 0
	return func(in activities.WebhookInput) (activities.WebhookTried, error) {
		t := all[min(try, len(all)-1)]
		try++
		if t.State != "" {
			t.Try, t.EventID, t.Type, t.EndpointID = try, event, "account.created", receiver
		}
		if in.DeliveryID != delivery {
			return t, account.ErrInternal
		}
		return t, nil
	}
}

func failing(wait time.Duration) activities.WebhookTried {
	return activities.WebhookTried{State: account.WebhookWaiting, Status: 503, Reason: "webhook: answered 503", Wait: wait}
}

func TestWebhookDelivery_WaitsAsLongAsItIsTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.hook = answers(failing(5*time.Second), failing(5*time.Minute), failing(30*time.Minute), activities.WebhookTried{State: account.WebhookDelivered, Status: 204})
	waiting, stage := s.detailsAt(time.Minute), s.attributeAt(time.Minute, "FlowStage")
	next := s.attributeAt(time.Minute, "NextActionAt")
	require.NoError(t, s.deliver())
	require.Equal(t, []time.Duration{0, 5 * time.Second, 5*time.Minute + 5*time.Second, 35*time.Minute + 5*time.Second}, s.times("SendWebhook"))
	require.Contains(t, *waiting, "| Last attempt | 2, webhook: answered 503 |")
	require.Contains(t, *waiting, "attempt 3 at 2026-03-01T00:05:05Z")
	require.Contains(t, *waiting, "| Event id | "+account.WebhookID(event)+" |")
	require.Equal(t, "waiting", *stage)
	require.Equal(t, midnight.Add(5*time.Minute+5*time.Second), *next)
	require.Contains(t, s.details(), "| Last attempt | 4, taken: 204 |")
	s.requireWebhook("completed")
}

func TestWebhookDelivery_Endings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last    activities.WebhookTried
		outcome string
		details string
	}{
		"given up":          {activities.WebhookTried{State: account.WebhookDead, Reason: "webhook: answered 500"}, "failed", "gatehouse webhooks replay " + delivery.String()},
		"receiver disabled": {activities.WebhookTried{State: account.WebhookOwed, Reason: "webhook: answered 410"}, "held", "gatehouse webhooks enable " + receiver.String()},
		"receiver removed":  {activities.WebhookTried{}, "refused", "| Stage | refused |"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.hook = answers(failing(time.Hour), c.last)
			require.NoError(t, s.deliver(), "that is no failure of the flow")
			require.Len(t, s.times("SendWebhook"), 2)
			require.Contains(t, s.details(), c.details)
			s.requireWebhook(c.outcome)
		})
	}
}

// Our own faults are not the receiver's: they cost it no attempt of the schedule.
func TestWebhookDelivery_WaitsForTheStore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.hook = func(activities.WebhookInput) (activities.WebhookTried, error) {
		if s.now() < time.Minute {
			return activities.WebhookTried{}, errDown
		}
		return activities.WebhookTried{State: account.WebhookDelivered}, nil
	}
	require.NoError(t, s.deliver())
	require.Greater(t, len(s.times("SendWebhook")), 5)
	s.requireWebhook("completed")
}

func TestWebhookDelivery_ReplayedWhileItWaits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.hook = answers(failing(10*time.Hour), failing(14*time.Hour), activities.WebhookTried{State: account.WebhookDelivered})
	// The signal that every start comes with, and one before the first attempt is over, end no wait.
	s.at(0, func() { s.env.SignalWorkflow(workflows.WebhookNow, nil) })
	s.at(time.Hour, func() { s.env.SignalWorkflow(workflows.WebhookNow, nil) })
	require.NoError(t, s.deliver())
	require.Equal(t, []time.Duration{0, time.Hour, 15 * time.Hour}, s.times("SendWebhook"))
	s.requireWebhook("completed")
}

func TestWebhookDelivery_CanceledByOps(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(activities.WebhookInput) (activities.WebhookTried, error){
		"while it waits": answers(failing(10 * time.Hour)),
		"in the middle of it": func(activities.WebhookInput) (activities.WebhookTried, error) {
			return activities.WebhookTried{}, errDown
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.hook = hook
			s.at(time.Minute, s.env.CancelWorkflow)
			require.True(t, temporal.IsCanceledError(s.deliver()))
			require.Len(t, s.times("DropWebhook"), 1, "no other flow tries it again")
			s.requireWebhook("canceled")
		})
	}
}

func TestStartWebhook_OfNoAccount(t *testing.T) {
	t.Parallel()
	start := workflows.StartWebhook(account.WebhookDelivery{ID: delivery, EndpointID: receiver, Type: account.WebhookPing})
	set := temporal.NewSearchAttributes(start.Attributes...)
	require.Equal(t, 2, set.Size())
	require.False(t, set.ContainsKey(durable.AccountID))
}
