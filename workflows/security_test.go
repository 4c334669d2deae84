package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// notify plays a notice to its end.
func (s *stage) notify() error {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("notice"), durable.FlowStage.ValueSet("sending"), durable.AccountID.ValueSet(owner.String()),
	}
	s.env.ExecuteWorkflow(workflows.SecurityNoticeWorkflow, workflows.SecurityNoticeInput{AccountID: owner, Template: "password_changed"})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *stage) requireNotice(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "notice", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
}

func TestSecurityNotice_SentOnceTheMailServerIsBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		require.Equal(t, activities.SendMailInput{AccountID: owner, Step: "notice", Template: "password_changed"}, in)
		if s.now() < time.Minute {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	require.NoError(t, s.notify())
	require.Contains(t, s.details(), "| Mail | password_changed: sent |")
	s.requireNotice("completed")
}

func TestSecurityNotice_NeverSent(t *testing.T) {
	t.Parallel()
	for name, mail := range map[string]func(activities.SendMailInput) (activities.Delivered, error){
		"refused": func(activities.SendMailInput) (activities.Delivered, error) {
			return activities.Delivered{}, account.ErrNotFound
		},
		"dead": func(activities.SendMailInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliveryDead}, nil
		},
		"account gone": func(activities.SendMailInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliveryExpired}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.mail = mail
			require.NoError(t, s.notify(), "that is no failure of the flow")
			require.Len(t, s.times("SendMail"), 1)
			s.requireNotice("failed")
		})
	}
}

func TestSecurityNotice_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.notify()))
	s.requireNotice("canceled")
}
