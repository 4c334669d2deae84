package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

var lost = uuid.MustParse("00000000-0000-4000-8000-00000000a0e5")

// retry plays the flow of a message that is sent once more.
func (s *stage) retry(resend func(activities.ResendMessageInput) (activities.Delivered, error)) error {
	s.t.Helper()
	s.env.RegisterActivityWithOptions(func(_ context.Context, in activities.ResendMessageInput) (activities.Delivered, error) {
		return resend(in)
	}, activity.RegisterOptions{Name: "ResendMessage", DisableAlreadyRegisteredCheck: true})
	start := workflows.StartMessageRetry(lost, owner, "welcome", midnight)
	s.updates = start.Attributes
	s.env.ExecuteWorkflow(start.Workflow, start.Input)
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *stage) requireRetried(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "message", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
	require.Contains(s.t, s.details(), "| Stage | "+outcome+" |")
	require.Contains(s.t, s.details(), lost.String())
}

func TestMessageRetry_SentOnceTheProviderIsBack(t *testing.T) {
	t.Parallel()
	s, tries := newStage(t), 0
	require.NoError(t, s.retry(func(in activities.ResendMessageInput) (activities.Delivered, error) {
		require.Equal(t, lost, in.MessageID)
		if tries++; tries < 3 {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}))
	require.Equal(t, 3, tries)
	s.requireRetried("completed")
}

func TestMessageRetry_ComesToNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state   activities.DeliveryState
		err     error
		outcome string
	}{
		"refused again":    {state: activities.DeliveryDead, outcome: "failed"},
		"its time is over": {state: activities.DeliveryExpired, outcome: "expired"},
		"nothing to send":  {err: account.ErrNotFound, outcome: "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tries := newStage(t), 0
			require.NoError(t, s.retry(func(activities.ResendMessageInput) (activities.Delivered, error) {
				tries++
				return activities.Delivered{State: c.state}, c.err
			}), "that is no failure of the flow")
			require.Equal(t, 1, tries)
			s.requireRetried(c.outcome)
		})
	}
}

func TestMessageRetry_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.retry(func(activities.ResendMessageInput) (activities.Delivered, error) {
		return activities.Delivered{}, errDown
	})))
	s.requireRetried("canceled")
}

func TestStartMessageRetry(t *testing.T) {
	t.Parallel()
	a, b := workflows.StartMessageRetry(lost, owner, "welcome", midnight), workflows.StartMessageRetry(lost, uuid.Nil, "welcome", midnight)
	require.Equal(t, a.WorkflowID, b.WorkflowID, "two operators join")
	require.Len(t, a.Attributes, 4)
	require.Len(t, b.Attributes, 3, "a message about no account")
}
