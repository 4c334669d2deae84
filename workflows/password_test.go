package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const resetTTL = 30 * time.Minute

// resetSteps are what the world does in a password reset.
type resetSteps struct {
	issue func(activities.IssueResetInput) (activities.IssuedCode, error)
	send  func(activities.ChallengeInput) (activities.Delivered, error)
	set   func(activities.ChallengeInput) (activities.Confirmed, error)
}

func (s *stage) resetsWell() resetSteps {
	return resetSteps{
		issue: func(in activities.IssueResetInput) (activities.IssuedCode, error) {
			end := s.env.Now().Add(resetTTL)
			return activities.IssuedCode{ChallengeID: in.ChallengeID, Masked: masked, SendBy: end, CodeExpiresAt: end, FlowExpiresAt: end}, nil
		},
		send: func(activities.ChallengeInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(resetTTL)}, nil
		},
		set: func(activities.ChallengeInput) (activities.Confirmed, error) {
			return activities.Confirmed{AccountID: owner}, nil
		},
	}
}

// passwordSteps holds the played steps to the signatures of the real ones.
type passwordSteps interface {
	IssueReset(context.Context, activities.IssueResetInput) (activities.IssuedCode, error)
	SendResetLink(context.Context, activities.ChallengeInput) (activities.Delivered, error)
	ResetPassword(context.Context, activities.ChallengeInput) (activities.Confirmed, error)
}

var (
	_ passwordSteps = (*activities.Activities)(nil)
	_ passwordSteps = (*steps)(nil)
)

func (s *steps) IssueReset(ctx context.Context, in activities.IssueResetInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.reset.issue, in)
}

func (s *steps) SendResetLink(ctx context.Context, in activities.ChallengeInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.reset.send, in)
}

func (s *steps) ResetPassword(ctx context.Context, in activities.ChallengeInput) (activities.Confirmed, error) {
	return run(ctx, s, s.stage.reset.set, in)
}

func forgotten() workflows.PasswordResetRequest {
	return workflows.PasswordResetRequest{AccountID: owner, ChallengeID: uuid.New()}
}

// resets plays a reset to its end.
func (s *stage) resets(first workflows.PasswordResetRequest) error {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("password"), durable.FlowStage.ValueSet("awaiting_proof"),
		durable.NextActionAt.ValueSet(midnight.Add(resetTTL)),
	}
	s.env.ExecuteWorkflow(workflows.PasswordResetWorkflow, first)
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

// resetAnswer is what an update of a reset brought.
type resetAnswer struct {
	done     workflows.PasswordResetDone
	err      error
	rejected bool
	answered bool
	at       time.Duration
}

func (s *stage) tellReset(after time.Duration, name string, arg any) *resetAnswer {
	got := &resetAnswer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { got.rejected = true; finish(err) },
			OnComplete: func(result any, err error) {
				got.done, _ = result.(workflows.PasswordResetDone)
				finish(err)
			},
		}, arg)
	})
	return got
}

func (s *stage) forgot(after time.Duration, request workflows.PasswordResetRequest) *resetAnswer {
	return s.tellReset(after, workflows.PasswordResetOpen, request)
}

func (s *stage) remember(after time.Duration, challenge uuid.UUID) *resetAnswer {
	return s.tellReset(after, workflows.PasswordResetProceed, workflows.PasswordResetProof{ChallengeID: challenge})
}

func (s *stage) requireReset(outcome string, account uuid.UUID) {
	s.t.Helper()
	want := map[string]any{"FlowKind": "password", "FlowStage": outcome, "FlowOutcome": outcome}
	if account != uuid.Nil {
		want["AccountID"] = account.String()
	}
	got := s.attributes()
	require.Equal(s.t, want, got)
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	opened := s.forgot(0, first)
	seen := s.detailsAt(time.Minute)
	done := s.remember(20*time.Minute, first.ChallengeID)

	require.NoError(t, s.resets(first))
	require.NoError(t, opened.err)
	require.NoError(t, done.err)
	require.Equal(t, owner, done.done.AccountID)
	require.Equal(t, []string{"IssueReset", "SendResetLink", "ResetPassword"}, s.steps()[:3], "each once")
	require.Contains(t, *seen, "| Address | "+masked+" |")
	require.Contains(t, *seen, "| Newest link | sent |")
	require.Contains(t, s.details(), "| Stage | completed |")
}

func TestPasswordReset_ExpiresWithItsLink(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.reset.send = func(activities.ChallengeInput) (activities.Delivered, error) {
		if s.now() < 10*time.Minute {
			return activities.Delivered{}, errDown.After(3 * time.Minute)
		}
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(resetTTL)}, nil
	}
	s.forgot(0, first)
	seen := s.detailsAt(35 * time.Minute)
	late := s.remember(50*time.Minute, first.ChallengeID)
	require.NoError(t, s.resets(first))
	require.Contains(t, *seen, "awaiting_proof", "the life of a link counts from its acceptance")
	require.False(t, late.answered && late.err == nil, "after its end there is no flow to tell")
	require.Empty(t, s.times("ResetPassword"))
	require.Greater(t, s.now(), 40*time.Minute)
	require.Less(t, s.now(), 45*time.Minute)
	s.requireReset("expired", owner)
}

func TestPasswordReset_ForNobody(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.reset.issue = func(activities.IssueResetInput) (activities.IssuedCode, error) { return activities.IssuedCode{}, nil }
	opened := s.forgot(0, first)
	require.NoError(t, s.resets(first))
	require.True(t, opened.answered)
	require.NoError(t, opened.err, "the answer is that of any other address")
	require.NotContains(t, s.steps(), "SendResetLink")
	s.requireReset("refused", uuid.Nil)
}

func TestPasswordReset_NewestLinkOnly(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	newer := forgotten()
	s.reset.send = func(in activities.ChallengeInput) (activities.Delivered, error) {
		if in.ChallengeID == first.ChallengeID {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(resetTTL)}, nil
	}
	s.forgot(0, first)
	again := s.forgot(2*time.Minute, newer)
	repeated := s.forgot(3*time.Minute, newer)
	done := s.remember(4*time.Minute, newer.ChallengeID)
	require.NoError(t, s.resets(first))
	require.NoError(t, again.err)
	require.NoError(t, repeated.err)
	require.NoError(t, done.err)
	require.Len(t, s.times("IssueReset"), 2, "a repeated request makes no link")
	require.Less(t, s.times("SendResetLink")[len(s.times("SendResetLink"))-1], 3*time.Minute, "the older link is no longer sent")
}

func TestPasswordReset_WrongProofLeavesTheFlowWaiting(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.reset.set = func(in activities.ChallengeInput) (activities.Confirmed, error) {
		if in.ChallengeID != first.ChallengeID {
			return activities.Confirmed{}, account.ErrInvalidCode
		}
		return activities.Confirmed{AccountID: owner, CreditsAwarded: bonus}, nil
	}
	s.forgot(0, first)
	wrong := s.remember(time.Minute, uuid.New())
	right := s.remember(2*time.Minute, first.ChallengeID)
	require.NoError(t, s.resets(first))
	require.ErrorIs(t, wrong.err, account.ErrInvalidCode)
	require.NoError(t, right.err)
	require.Equal(t, workflows.PasswordResetDone{AccountID: owner, CreditsAwarded: bonus}, right.done)
}

func TestPasswordReset_ParallelProofsGetOneAnswer(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.forgot(0, first)
	var answers []*resetAnswer
	for range 5 {
		answers = append(answers, s.remember(time.Minute, first.ChallengeID))
	}
	require.NoError(t, s.resets(first))
	for _, a := range answers {
		require.True(t, a.answered)
		require.NoError(t, a.err)
		require.Equal(t, owner, a.done.AccountID)
	}
	require.Len(t, s.times("ResetPassword"), 1)
}

func TestPasswordReset_LostUpdateAndStoreDown(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	issue := s.reset.issue
	s.reset.issue = func(in activities.IssueResetInput) (activities.IssuedCode, error) {
		if s.now() < time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	opened := s.forgot(0, first)
	done := s.remember(10*time.Minute, first.ChallengeID)
	require.NoError(t, s.resets(first))
	require.Equal(t, account.Unavailable, account.AsError(opened.err).Kind, "%v", opened.err)
	require.Less(t, opened.at, 10*time.Second, "nobody waits for the store")
	require.NoError(t, done.err)
	require.Len(t, s.times("SendResetLink"), 1, "the flow went on by itself")
}

func TestPasswordReset_LinkRefusedByTheProvider(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.reset.send = func(activities.ChallengeInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliveryDead}, nil
	}
	s.forgot(0, first)
	seen := s.detailsAt(time.Minute)
	require.NoError(t, s.resets(first))
	require.Contains(t, *seen, "| Newest link | dead |")
	s.requireReset("expired", owner)
}

func TestPasswordReset_CanceledByOps(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), forgotten()
	s.reset.send = func(activities.ChallengeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.forgot(0, first)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.resets(first)))
	tries := s.times("SendResetLink")
	require.Less(t, tries[len(tries)-1], time.Minute, "nothing more is sent")
	s.requireReset("canceled", owner)
}
