package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// pushSteps are the activities that tell devices something.
type pushSteps struct {
	targets func(activities.PushTargetsInput) ([]uuid.UUID, error)
	send    func(activities.SendPushInput) (activities.Delivered, error)
}

func pushesWell() pushSteps {
	return pushSteps{
		targets: func(activities.PushTargetsInput) ([]uuid.UUID, error) { return nil, nil },
		send: func(activities.SendPushInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliverySent}, nil
		},
	}
}

func (s *steps) PushTargets(ctx context.Context, in activities.PushTargetsInput) ([]uuid.UUID, error) {
	return run(ctx, s, s.stage.push.targets, in)
}

func (s *steps) SendPush(ctx context.Context, in activities.SendPushInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.push.send, in)
}

func (s *stage) withDevices(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	s.push.targets = func(in activities.PushTargetsInput) ([]uuid.UUID, error) {
		require.Equal(s.t, activities.PushTargetsInput{AccountID: owner}, in)
		return ids, nil
	}
	return ids
}

func TestSecurityNotice_GoesToDevicesToo(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ids := s.withDevices(3)
	s.push.send = func(in activities.SendPushInput) (activities.Delivered, error) {
		require.Equal(t, activities.SendPushInput{TokenID: in.TokenID, Step: "push", Template: "password_changed"}, in)
		switch {
		case in.TokenID == ids[0]:
			return activities.Delivered{State: activities.DeliveryDead}, nil
		case in.TokenID == ids[1] && s.now() < time.Minute:
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	require.NoError(t, s.notify())
	require.Contains(t, s.details(), "| Mail | password_changed: sent |")
	require.Contains(t, s.details(), "| Push | password_changed: 2 of 3 devices told |")
	s.requireNotice("completed")
}

// A push service that is away ends nothing, and a mail does not wait for it.
func TestSecurityNotice_MailDoesNotWaitForDevices(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.withDevices(1)
	s.push.send = func(activities.SendPushInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	require.NoError(t, s.notify())
	require.Less(t, s.times("SendMail")[0], time.Minute)
	tries := s.times("SendPush")
	require.Greater(t, len(tries), 5)
	require.LessOrEqual(t, tries[len(tries)-1], time.Hour+time.Minute, "an hour is enough")
	require.Contains(t, s.details(), "| Push | password_changed: 0 of 1 devices told |")
	s.requireNotice("completed")
}

func TestSecurityNotice_WithoutDevicesOrDatabase(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.push.targets = func(activities.PushTargetsInput) ([]uuid.UUID, error) { return nil, account.ErrUnavailable }
	require.NoError(t, s.notify())
	require.Contains(t, s.details(), "| Mail | password_changed: sent |")
	require.NotContains(t, s.details(), "Push")
	s.requireNotice("completed")
}

// What goes to a number, or to a former address, is told there alone.
func TestSecurityNotice_OtherChannelsGoNowhereElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.withDevices(1)
	s.env.ExecuteWorkflow(workflows.SecurityNoticeWorkflow, workflows.SecurityNoticeInput{
		AccountID: owner, Template: "email_changed", EmailChange: uuid.New(),
	})
	require.NoError(t, s.env.GetWorkflowError())
	require.Empty(t, s.times("SendPush"))
}
