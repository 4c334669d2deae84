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
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var linkID = uuid.MustParse("00000000-0000-4000-8000-00000000b001")

// linkStage is a stage with the steps of a link.
type linkStage struct {
	*stage
	begin, finish, drop func() error
}

func newLinkStage(t *testing.T) *linkStage {
	t.Helper()
	well := func() error { return nil }
	s := &linkStage{stage: newStage(t), begin: well, finish: well, drop: well}
	in := workflows.ProviderLinkInput{LinkID: linkID, AccountID: owner, Starter: session, Provider: account.ProviderGoogle}
	step := func(name string, fn any) { s.env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name}) }
	step("OpenProviderLink", func(_ context.Context, got activities.OpenProviderLinkInput) (activities.ProviderLinkOpened, error) {
		s.note("OpenProviderLink")
		require.Equal(t, activities.OpenProviderLinkInput(in), got)
		return activities.ProviderLinkOpened{ExpiresAt: s.env.Now().Add(codeTTL)}, durable.ToTemporal(s.begin())
	})
	step("FinishProviderLink", func(_ context.Context, got activities.ProviderLinkInput) error {
		s.note("FinishProviderLink")
		require.Equal(t, linkID, got.LinkID)
		return durable.ToTemporal(s.finish())
	})
	step("DropProviderLink", func(_ context.Context, got activities.ProviderLinkInput) error {
		s.note("DropProviderLink")
		require.Equal(t, linkID, got.LinkID)
		return durable.ToTemporal(s.drop())
	})
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("provider_link"), durable.FlowStage.ValueSet("awaiting_provider"),
		durable.AccountID.ValueSet(owner.String()), durable.NextActionAt.ValueSet(midnight.Add(codeTTL)),
	}
	return s
}

func (s *linkStage) play() error {
	s.t.Helper()
	s.env.ExecuteWorkflow(workflows.ProviderLinkWorkflow, workflows.ProviderLinkInput{
		LinkID: linkID, AccountID: owner, Starter: session, Provider: account.ProviderGoogle,
	})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *linkStage) requireEnd(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "provider_link", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
	require.Contains(s.t, s.details(), "| Stage | "+outcome+" |")
}

func (s *linkStage) tell(after time.Duration) *answer {
	return s.update(after, workflows.ProviderLinkProceed, nil)
}

func TestProviderLink_Completed(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		require.Equal(t, activities.SendMailInput{
			AccountID: owner, Step: "linked", Template: "provider_linked", Notice: activities.ProviderLinkNotice(owner, linkID).ID,
		}, in)
		if s.now() < 2*time.Minute {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	opened := s.update(0, workflows.ProviderLinkOpen, nil)
	first, again := s.tell(time.Minute), s.tell(90*time.Second)
	require.NoError(t, s.play())
	for name, a := range map[string]*answer{"open": opened, "first": first, "again": again} {
		require.True(t, a.answered, name)
		require.NoError(t, a.err, name)
	}
	require.Equal(t, time.Minute, first.at, "it does not wait for the mail")
	require.Len(t, s.times("FinishProviderLink"), 1)
	require.Empty(t, s.times("DropProviderLink"))
	s.requireEnd("completed")
}

func TestProviderLink_NobodyComesBack(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	down := 3
	s.drop = func() error {
		if down--; down > 0 {
			return errDown
		}
		return nil
	}
	require.NoError(t, s.play())
	require.GreaterOrEqual(t, s.times("DropProviderLink")[0], codeTTL)
	require.Empty(t, s.times("SendMail"))
	s.requireEnd("expired")
}

func TestProviderLink_OfAnOutsideAccountThatIsTaken(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.finish = func() error { return account.ErrProviderConnected }
	got := s.tell(time.Minute)
	require.NoError(t, s.play())
	require.ErrorIs(t, got.err, account.ErrProviderConnected)
	require.Empty(t, s.times("SendMail"))
	s.requireEnd("refused")
}

func TestProviderLink_SurvivesADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.finish = func() error {
		if s.now() < 2*time.Minute {
			return account.ErrUnavailable
		}
		return nil
	}
	early, late := s.tell(time.Minute), s.tell(3*time.Minute)
	require.NoError(t, s.play())
	require.ErrorIs(t, early.err, account.ErrOutcomeUnknown)
	require.NoError(t, late.err)
	s.requireEnd("completed")
}

// The state may be there though its answer was lost: the flow goes on until it knows.
func TestProviderLink_BeginsOnceTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.begin = func() error {
		if s.now() < 30*time.Second {
			return account.ErrUnavailable
		}
		return nil
	}
	opened, done := s.update(0, workflows.ProviderLinkOpen, nil), s.tell(3*time.Minute)
	require.NoError(t, s.play())
	require.NoError(t, opened.err)
	require.NoError(t, done.err)
	s.requireEnd("completed")
}

func TestProviderLink_ThatCannotBegin(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.begin = func() error { return account.ErrEmailNotVerified }
	opened := s.update(0, workflows.ProviderLinkOpen, nil)
	require.NoError(t, s.play())
	require.ErrorIs(t, opened.err, account.ErrEmailNotVerified)
	s.requireEnd("refused")
}

func TestProviderLink_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newLinkStage(t)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.play()))
	s.requireEnd("canceled")
}
