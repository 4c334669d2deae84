package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const closureGrace = 7 * 24 * time.Hour

var closing = activities.ClosureInput{AccountID: owner, ClosureID: uuid.MustParse("00000000-0000-4000-8000-00000000a003")}

// closure plays a closure to its end, from the update that core sends.
func (s *stage) closure() (*answer, error) {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("closure"), durable.FlowStage.ValueSet("closing"), durable.AccountID.ValueSet(owner.String()),
	}
	asked := s.tell(0, workflows.ClosureClose)
	s.env.ExecuteWorkflow(workflows.AccountClosureWorkflow, workflows.AccountClosureInput(closing))
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return asked, s.env.GetWorkflowError()
}

// tell sends an update without an argument.
func (s *stage) tell(after time.Duration, name string) *answer {
	got := &answer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { got.rejected = true; finish(err) },
			OnComplete: func(_ any, err error) { finish(err) },
		})
	})
	return got
}

func (s *stage) requireClosure(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "closure", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
}

func TestAccountClosure_ErasedWhenItsTermIsOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	during := s.detailsAt(time.Hour)
	late := s.tell(closureGrace+30*time.Second, workflows.ClosureUndo)
	s.close = func(in activities.ClosureInput) (activities.Closed, error) {
		require.Equal(t, closing, in)
		return activities.Closed{EraseAt: midnight.Add(closureGrace)}, nil
	}
	var told []string
	s.closureMail = func(in activities.ClosureMailInput) (activities.Delivered, error) {
		told = append(told, in.Template)
		if s.now() >= closureGrace && s.now() < closureGrace+time.Minute {
			return activities.Delivered{}, errDown // the receipt waits for the mail server, and the erasure for the receipt
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	asked, err := s.closure()
	require.NoError(t, err)
	require.NoError(t, asked.err)
	require.Less(t, asked.at, time.Second, "the answer waits for no mail")
	require.Equal(t, "account_closed", told[0])
	require.Equal(t, "account_erased", told[len(told)-1])
	require.Len(t, s.times("CloseAccount"), 1, "the flow does not repeat what the update did")
	erased := s.times("EraseAccount")
	require.Len(t, erased, 1)
	require.Greater(t, erased[0], closureGrace+time.Minute)
	require.ErrorIs(t, late.err, account.ErrInvalidToken, "no way back once the receipt is on its way")
	require.True(t, late.rejected)
	require.Contains(t, *during, "| Stage | grace |")
	require.Contains(t, *during, "| Mail | account_closed: sent |")
	s.requireClosure("completed")
}

func TestAccountClosure_Undone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		return activities.Delivered{}, errDown
	}
	undone := s.tell(3*24*time.Hour, workflows.ClosureUndo)
	_, err := s.closure()
	require.NoError(t, err)
	require.True(t, undone.answered)
	require.NoError(t, undone.err)
	require.Empty(t, s.times("EraseAccount"))
	require.Less(t, s.now(), 4*24*time.Hour, "it waits no longer")
	s.requireClosure("undone")
}

// A request whose closure has been undone meanwhile does not undo the next one.
func TestAccountClosure_UndoOfAnotherClosure(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		return activities.Delivered{}, errDown
	}
	other, own := &answer{}, &answer{}
	for after, undo := range map[time.Duration]struct {
		got     *answer
		closure uuid.UUID
	}{24 * time.Hour: {other, uuid.New()}, 48 * time.Hour: {own, closing.ClosureID}} {
		s.at(after, func() {
			finish := func(err error) { undo.got.err, undo.got.answered = durable.FromTemporal(err), true }
			s.env.UpdateWorkflow(workflows.ClosureUndo, uuid.NewString(), &testsuite.TestUpdateCallback{
				OnAccept: func() {}, OnReject: finish, OnComplete: func(_ any, err error) { finish(err) },
			}, workflows.UndoRequest{By: []byte("by"), ClosureID: undo.closure, Former: 2})
		})
	}
	var undone activities.ReopenInput
	s.reopen = func(in activities.ReopenInput) (activities.Reopened, error) {
		undone = in
		return activities.Reopened{}, nil
	}
	_, err := s.closure()
	require.NoError(t, err)
	require.Equal(t, "by", string(undone.UndoneBy))
	require.Equal(t, 2, undone.Former, "the address whose link it was")
	require.ErrorIs(t, other.err, account.ErrNotFound)
	require.True(t, own.answered)
	require.NoError(t, own.err)
	require.Len(t, s.times("ReopenAccount"), 1)
	s.requireClosure("undone")
}

// Of several who show the link at one moment one is told that it worked.
func TestAccountClosure_UndoneOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	told := []*answer{}
	for range 3 {
		told = append(told, s.tell(24*time.Hour, workflows.ClosureUndo))
	}
	_, err := s.closure()
	require.NoError(t, err)
	require.Len(t, s.times("ReopenAccount"), 1)
	heard := 0
	for _, a := range told {
		require.True(t, a.answered)
		if a.err == nil {
			heard++
			continue
		}
		require.ErrorIs(t, a.err, account.ErrInvalidToken)
	}
	require.Equal(t, 1, heard)
	s.requireClosure("undone")
}

func TestAccountClosure_UndoneWhileNamesAreTaken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.reopen = func(activities.ReopenInput) (activities.Reopened, error) {
		if s.now() < 48*time.Hour {
			return activities.Reopened{}, account.ErrEmailExists
		}
		return activities.Reopened{}, nil
	}
	refused, undone := s.tell(24*time.Hour, workflows.ClosureUndo), s.tell(72*time.Hour, workflows.ClosureUndo)
	_, err := s.closure()
	require.NoError(t, err)
	require.ErrorIs(t, refused.err, account.ErrEmailExists)
	require.NoError(t, undone.err)
	s.requireClosure("undone")
}

func TestAccountClosure_GoesOnWithoutItsUpdate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.close = func(activities.ClosureInput) (activities.Closed, error) {
		if s.now() < time.Minute {
			return activities.Closed{}, errDown
		}
		return activities.Closed{EraseAt: midnight.Add(closureGrace)}, nil
	}
	asked, err := s.closure()
	require.NoError(t, err)
	require.Error(t, asked.err, "the client is not told that it is closed")
	require.Len(t, s.times("EraseAccount"), 1)
	s.requireClosure("completed")
}

func TestAccountClosure_Refused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.close = func(activities.ClosureInput) (activities.Closed, error) {
		return activities.Closed{}, account.ErrUnauthorized
	}
	asked, err := s.closure()
	require.NoError(t, err)
	require.ErrorIs(t, asked.err, account.ErrUnauthorized)
	require.Equal(t, []string{"CloseAccount"}, s.steps())
	s.requireClosure("refused")
}

func TestAccountClosure_WaitsForTheClockOfTheDatabase(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.erase = func(activities.ClosureInput) (activities.Left, error) {
		if s.now() < closureGrace+time.Minute {
			return activities.Left{Wait: time.Second}, nil
		}
		return activities.Left{}, nil
	}
	_, err := s.closure()
	require.NoError(t, err)
	require.Greater(t, len(s.times("EraseAccount")), 1)
	s.requireClosure("completed")
}

func TestAccountClosure_WithoutATerm(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.close = func(activities.ClosureInput) (activities.Closed, error) {
		return activities.Closed{EraseAt: midnight}, nil
	}
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliveryExpired}, nil
	}
	_, err := s.closure()
	require.NoError(t, err)
	require.Less(t, s.now(), time.Minute)
	require.Len(t, s.times("EraseAccount"), 1)
	s.requireClosure("completed")
}

func TestAccountClosure_ReceiptNeverSent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		return activities.Delivered{}, errDown
	}
	_, err := s.closure()
	require.NoError(t, err)
	require.Len(t, s.times("EraseAccount"), 1, "a day later at most")
	s.requireClosure("completed")
}

func TestAccountClosure_CanceledByOps(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Duration{time.Hour, closureGrace + time.Minute} {
		s := newStage(t)
		s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
			return activities.Delivered{}, errDown
		}
		s.at(at, s.env.CancelWorkflow)
		_, err := s.closure()
		require.True(t, temporal.IsCanceledError(err))
		require.Empty(t, s.times("EraseAccount"))
		s.requireClosure("canceled")
	}
}

// Up to four mails go out one after the other, and one that hangs must not leave the last without a turn.
func TestAccountClosure_TimeForEveryMail(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	attempts := map[string]activity.Info{}
	s.env.RegisterActivityWithOptions(func(ctx context.Context, in activities.ClosureMailInput) (activities.Delivered, error) {
		attempts[in.Template] = activity.GetInfo(ctx)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}, activity.RegisterOptions{Name: "SendClosureMail", DisableAlreadyRegisteredCheck: true})
	_, err := s.closure()
	require.NoError(t, err)
	require.Len(t, attempts, 2)
	for template, info := range attempts {
		require.Equal(t, time.Minute, info.StartToCloseTimeout, template)
		require.Equal(t, 5*time.Second, info.HeartbeatTimeout, template)
	}
}
