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

// loginLife is how long a login waits for its code.
const loginLife = 2*codeTTL + time.Minute

var trusted = uuid.MustParse("00000000-0000-4000-8000-00000000a003")

// deviceSteps are what the world does in a login that owes a code.
type deviceSteps struct {
	issue  func(activities.LoginInput) (activities.IssuedCode, error)
	send   func(activities.LoginInput) (activities.Queued, error)
	verify func(activities.ChallengeInput) (activities.VerifiedDevice, error)
}

func (s *stage) verifiesWell() deviceSteps {
	return deviceSteps{
		issue: func(in activities.LoginInput) (activities.IssuedCode, error) {
			now := s.env.Now()
			return activities.IssuedCode{
				ChallengeID: in.SessionID, Masked: masked, SendBy: now.Add(codeTTL), CodeExpiresAt: now.Add(codeTTL), FlowExpiresAt: now.Add(loginLife),
			}, nil
		},
		send: func(activities.LoginInput) (activities.Queued, error) {
			return activities.Queued{Delivered: activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}}, nil
		},
		verify: func(activities.ChallengeInput) (activities.VerifiedDevice, error) {
			return activities.VerifiedDevice{DeviceID: trusted}, nil
		},
	}
}

// loginSteps holds the played steps to the signatures of the real ones.
type loginSteps interface {
	IssueDeviceCode(context.Context, activities.LoginInput) (activities.IssuedCode, error)
	SendDeviceCode(context.Context, activities.LoginInput) (activities.Queued, error)
	VerifyDevice(context.Context, activities.ChallengeInput) (activities.VerifiedDevice, error)
}

var (
	_ loginSteps = (*activities.Activities)(nil)
	_ loginSteps = (*steps)(nil)
)

func (s *steps) IssueDeviceCode(ctx context.Context, in activities.LoginInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.device.issue, in)
}

func (s *steps) SendDeviceCode(ctx context.Context, in activities.LoginInput) (activities.Queued, error) {
	return run(ctx, s, s.stage.device.send, in)
}

func (s *steps) VerifyDevice(ctx context.Context, in activities.ChallengeInput) (activities.VerifiedDevice, error) {
	return run(ctx, s, s.stage.device.verify, in)
}

// logsIn plays a login that owes a code to its end.
func (s *stage) logsIn() error {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("device"), durable.FlowStage.ValueSet("awaiting_proof"),
		durable.AccountID.ValueSet(owner.String()), durable.NextActionAt.ValueSet(midnight.Add(loginLife)),
	}
	s.env.ExecuteWorkflow(workflows.DeviceVerificationWorkflow, workflows.DeviceVerificationInput{AccountID: owner, SessionID: session})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *stage) requireLogin(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "device", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
}

// loginAnswer is what an update of a login brought.
type loginAnswer struct {
	done     workflows.DeviceVerified
	err      error
	answered bool
	at       time.Duration
}

func (s *stage) tellLogin(after time.Duration, name string, arg any) *loginAnswer {
	got := &loginAnswer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: finish,
			OnComplete: func(result any, err error) {
				got.done, _ = result.(workflows.DeviceVerified)
				finish(err)
			},
		}, arguments(arg)...)
	})
	return got
}

func (s *stage) loggedIn(after time.Duration, challenge uuid.UUID) *loginAnswer {
	return s.tellLogin(after, workflows.DeviceProceed, workflows.DeviceProof{ChallengeID: challenge})
}

func TestDeviceVerification(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	opened := s.tellLogin(0, workflows.DeviceOpen, nil)
	seen := s.detailsAt(time.Minute)
	done := s.loggedIn(9*time.Minute, session)
	require.NoError(t, s.logsIn())
	require.NoError(t, opened.err)
	require.NoError(t, done.err)
	require.Equal(t, trusted, done.done.DeviceID)
	require.Equal(t, []string{"IssueDeviceCode", "SendDeviceCode", "VerifyDevice"}, s.steps()[:3], "each once")
	require.Contains(t, *seen, "| Address | "+masked+" |")
	require.Contains(t, *seen, "| Code | sent |")
	require.Contains(t, s.details(), "| Stage | completed |")
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

func TestDeviceVerification_ExpiresWithItsCode(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.tellLogin(0, workflows.DeviceOpen, nil)
	late := s.loggedIn(loginLife+time.Minute, session)
	require.NoError(t, s.logsIn())
	require.False(t, late.answered && late.err == nil, "after its end there is no flow to tell")
	require.Empty(t, s.times("VerifyDevice"))
	require.Equal(t, loginLife, s.now())
	s.requireLogin("expired")
}

// Design D9: a code that comes too soon after another one is sent as soon as it may be.
func TestDeviceVerification_TheCodeWaitsItsTurn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	send := s.device.send
	s.device.send = func(in activities.LoginInput) (activities.Queued, error) {
		if s.now() < 45*time.Second {
			return activities.Queued{Wait: 45*time.Second - s.now()}, nil
		}
		return send(in)
	}
	s.tellLogin(0, workflows.DeviceOpen, nil)
	seen := s.detailsAt(30 * time.Second)
	done := s.loggedIn(2*time.Minute, session)
	require.NoError(t, s.logsIn())
	require.NoError(t, done.err)
	require.Contains(t, *seen, "| Code | waits for its turn |")
	require.Equal(t, []time.Duration{0, 45 * time.Second}, s.times("SendDeviceCode"))
}

func TestDeviceVerification_ACodeWhoseTurnComesTooLateIsNotSent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.device.send = func(activities.LoginInput) (activities.Queued, error) { return activities.Queued{Wait: time.Hour}, nil }
	s.tellLogin(0, workflows.DeviceOpen, nil)
	seen := s.detailsAt(time.Minute)
	require.NoError(t, s.logsIn())
	require.Contains(t, *seen, "| Code | expired |")
	require.Len(t, s.times("SendDeviceCode"), 1)
	s.requireLogin("expired")
}

func TestDeviceVerification_MailDownUntilTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.device.send = func(activities.LoginInput) (activities.Queued, error) { return activities.Queued{}, errDown }
	s.tellLogin(0, workflows.DeviceOpen, nil)
	require.NoError(t, s.logsIn())
	tries := s.times("SendDeviceCode")
	require.Greater(t, len(tries), 5)
	require.LessOrEqual(t, tries[len(tries)-1], codeTTL, "a code that nobody could use in time is not sent")
	s.requireLogin("expired")
}

func TestDeviceVerification_WrongProofLeavesTheFlowWaiting(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	calls := 0
	s.device.verify = func(activities.ChallengeInput) (activities.VerifiedDevice, error) {
		if calls++; calls == 1 {
			return activities.VerifiedDevice{}, account.ErrInvalidCode
		}
		return activities.VerifiedDevice{DeviceID: trusted}, nil
	}
	s.tellLogin(0, workflows.DeviceOpen, nil)
	foreign := s.loggedIn(time.Minute, uuid.New())
	unproven := s.loggedIn(2*time.Minute, session)
	right := s.loggedIn(3*time.Minute, session)
	require.NoError(t, s.logsIn())
	require.ErrorIs(t, foreign.err, account.ErrInvalidCode)
	require.ErrorIs(t, unproven.err, account.ErrInvalidCode)
	require.NoError(t, right.err)
	require.Len(t, s.times("VerifyDevice"), 2, "the proof of another login never gets that far")
}

func TestDeviceVerification_ParallelProofsGetOneAnswer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.tellLogin(0, workflows.DeviceOpen, nil)
	var answers []*loginAnswer
	for range 5 {
		answers = append(answers, s.loggedIn(time.Minute, session))
	}
	require.NoError(t, s.logsIn())
	for _, a := range answers {
		require.True(t, a.answered)
		require.NoError(t, a.err)
		require.Equal(t, trusted, a.done.DeviceID)
	}
	require.Len(t, s.times("VerifyDevice"), 1)
}

func TestDeviceVerification_LostUpdateAndStoreDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	issue := s.device.issue
	s.device.issue = func(in activities.LoginInput) (activities.IssuedCode, error) {
		if s.now() < time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	opened := s.tellLogin(0, workflows.DeviceOpen, nil)
	done := s.loggedIn(10*time.Minute, session)
	require.NoError(t, s.logsIn())
	require.True(t, opened.answered)
	require.NoError(t, done.err)
	require.Len(t, s.times("SendDeviceCode"), 1, "the flow went on by itself")
}

func TestDeviceVerification_OfAnAccountThatIsGone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.device.issue = func(activities.LoginInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode
	}
	opened := s.tellLogin(0, workflows.DeviceOpen, nil)
	require.NoError(t, s.logsIn())
	require.ErrorIs(t, opened.err, account.ErrInvalidCode)
	require.NotContains(t, s.steps(), "SendDeviceCode")
	s.requireLogin("refused")
}

func TestDeviceVerification_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.device.send = func(activities.LoginInput) (activities.Queued, error) { return activities.Queued{}, errDown }
	s.tellLogin(0, workflows.DeviceOpen, nil)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.logsIn()))
	tries := s.times("SendDeviceCode")
	require.Less(t, tries[len(tries)-1], time.Minute, "nothing more is sent")
	s.requireLogin("canceled")
}
