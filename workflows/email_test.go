package workflows_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var (
	firstMove  = uuid.MustParse("00000000-0000-4000-8000-00000000e001")
	secondMove = uuid.MustParse("00000000-0000-4000-8000-00000000e002")
)

// moveOn plays the changes of an account's email to their end.
func (s *stage) moveOn() error {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("email_change"), durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
	}
	s.env.ExecuteWorkflow(workflows.EmailChangeWorkflow, workflows.EmailChangeInput{
		AccountID: owner, Request: workflows.EmailChangeRequest{ChangeID: firstMove},
	})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func (s *stage) askMove(after time.Duration, change uuid.UUID) *answer {
	return s.update(after, workflows.EmailChangeOpen, workflows.EmailChangeRequest{ChangeID: change})
}

func (s *stage) proveMove(after time.Duration, change uuid.UUID) *answer {
	return s.update(after, workflows.EmailChangeProceed, workflows.SignupProof{ChallengeID: change})
}

func (s *stage) requireMoved(outcome string) {
	s.t.Helper()
	require.Equal(s.t, map[string]any{
		"FlowKind": "email_change", "FlowStage": outcome, "FlowOutcome": outcome, "AccountID": owner.String(),
	}, s.attributes())
}

// letters keeps which mails went where.
func (s *stage) letters() func() []string {
	var mu sync.Mutex
	var sent []string
	s.told = func(in activities.EmailChangeMailInput) (activities.Delivered, error) {
		to := " to the new"
		if in.Old {
			to = " to the old"
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, in.Template+to)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(sent)
		return sent
	}
}

func TestEmailChange_Proven(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	letters := s.letters()
	open, same := s.askMove(0, firstMove), s.askMove(time.Second, firstMove)
	proof, again := s.proveMove(time.Minute, firstMove), s.proveMove(time.Minute, firstMove)
	require.NoError(t, s.moveOn())
	for _, a := range []*answer{open, same, proof, again} {
		require.True(t, a.answered)
		require.NoError(t, a.err)
	}
	require.Equal(t, owner, proof.done.AccountID)
	require.Equal(t, proof.done, again.done)
	require.Len(t, s.times("IssueEmailChange"), 1)
	require.Len(t, s.times("SendCode"), 1)
	require.Len(t, s.times("ChangeEmail"), 1)
	require.Len(t, s.times("ForgetEmailChange"), 1)
	require.Equal(t, []string{"email_change_requested to the old", "email_changed to the new", "email_changed to the old"}, letters())
	s.requireMoved("completed")
}

func TestEmailChange_FirstUpdateLost(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.proveMove(time.Minute, firstMove)
	require.NoError(t, s.moveOn())
	require.Len(t, s.times("SendCode"), 1)
	s.requireMoved("completed")
}

func TestEmailChange_Unproven(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	wrong, late := s.proveMove(time.Minute, secondMove), s.proveMove(linkTTL+time.Hour, firstMove)
	require.NoError(t, s.moveOn())
	require.True(t, wrong.rejected)
	require.ErrorIs(t, wrong.err, account.ErrInvalidCode)
	require.False(t, late.answered, "the flow has ended")
	require.Equal(t, []time.Duration{linkTTL}, s.times("ForgetEmailChange"))
	require.Empty(t, s.times("ChangeEmail"))
	s.requireMoved("expired")
}

func TestEmailChange_ReplacedByAnother(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.askMove(time.Hour, secondMove)
	stale := s.proveMove(2*time.Hour, firstMove)
	proof := s.proveMove(linkTTL+30*time.Minute, secondMove)
	require.NoError(t, s.moveOn())
	require.ErrorIs(t, stale.err, account.ErrInvalidCode, "the newest only")
	require.NoError(t, proof.err, "each change has its own time")
	require.Len(t, s.times("SendCode"), 2)
	s.requireMoved("completed")
}

func TestEmailChange_AnotherWhileTheOldOneIsTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.told = func(in activities.EmailChangeMailInput) (activities.Delivered, error) {
		if in.Template == "email_changed" && s.now() < 2*time.Minute {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	s.proveMove(time.Minute, firstMove)
	open := s.askMove(70*time.Second, secondMove)
	proof := s.proveMove(80*time.Second, secondMove)
	require.NoError(t, s.moveOn())
	require.NoError(t, open.err)
	require.NoError(t, proof.err)
	require.Len(t, s.times("ForgetEmailChange"), 2, "each once both are told")
	s.requireMoved("completed")
}

// A change that is asked for as the last step for the one before ends keeps the flow open.
func TestEmailChange_AnotherAsTheFlowEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	issue, issuing, nothingPends := s.move, make(chan struct{}), make(chan struct{})
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		if in.ChangeID == secondMove {
			close(issuing)
			<-nothingPends
		}
		return issue(in)
	}
	s.forget = func(in activities.EmailChangeInput) error {
		if in.ChangeID == firstMove {
			<-issuing
		}
		return nil
	}
	forgotten := 0
	s.env.SetOnActivityCompletedListener(func(i *activity.Info, _ converter.EncodedValue, _ error) {
		if i.ActivityType.Name != "ForgetEmailChange" {
			return
		}
		if forgotten++; forgotten == 1 {
			close(nothingPends)
		}
	})
	s.proveMove(time.Minute, firstMove)
	open, proof := s.askMove(time.Minute, secondMove), s.proveMove(2*time.Minute, secondMove)
	require.NoError(t, s.moveOn())
	require.True(t, open.answered)
	require.NoError(t, open.err)
	require.Len(t, s.times("SendCode"), 2, "what is accepted is sent")
	require.True(t, proof.answered, "the flow waits for it")
	require.NoError(t, proof.err)
	require.Equal(t, 2, forgotten)
	s.requireMoved("completed")
}

func TestEmailChange_Taken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	letters := s.letters()
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		return activities.IssuedEmailChange{
			Code: activities.IssuedCode{ChallengeID: in.ChangeID, Masked: masked, FlowExpiresAt: s.env.Now().Add(linkTTL)}, Taken: true,
		}, nil
	}
	proof := s.proveMove(time.Minute, firstMove)
	require.NoError(t, s.moveOn())
	require.ErrorIs(t, proof.err, account.ErrInvalidCode)
	require.Empty(t, s.times("SendCode"))
	require.Equal(t, []string{"email_change_requested to the old", "signup_exists to the new"}, letters())
	s.requireMoved("expired")
}

func TestEmailChange_LostToASignUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.moved = func(activities.ChallengeInput) (activities.EmailChanged, error) {
		return activities.EmailChanged{}, account.ErrInvalidCode
	}
	proof := s.proveMove(time.Minute, firstMove)
	require.NoError(t, s.moveOn())
	require.ErrorIs(t, proof.err, account.ErrInvalidCode)
	s.requireMoved("expired")
}

func TestEmailChange_StoreDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	issue := s.move
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		if s.now() < time.Minute {
			return activities.IssuedEmailChange{}, errDown
		}
		return issue(in)
	}
	s.askMove(0, firstMove)
	s.proveMove(time.Hour, firstMove)
	require.NoError(t, s.moveOn())
	require.Len(t, s.times("SendCode"), 1, "the flow goes on with it")
	s.requireMoved("completed")
}

func TestEmailChange_GoneAtTheStart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.move = func(activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		return activities.IssuedEmailChange{}, account.ErrInvalidCode
	}
	require.NoError(t, s.moveOn())
	s.requireMoved("expired")
}

func TestEmailChange_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.moveOn()))
	require.Empty(t, s.times("ForgetEmailChange"))
	s.requireMoved("canceled")
}

// linkUp plays the link of an email to its end.
func (s *stage) linkUp() error {
	s.t.Helper()
	s.linking()
	return s.playLink()
}

// linking is a world in which a link goes well.
func (s *stage) linking() {
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		now := s.env.Now()
		return activities.IssuedEmailChange{Linking: true, Code: activities.IssuedCode{
			ChallengeID: in.ChangeID, Masked: masked, SendBy: now.Add(codeTTL), CodeExpiresAt: now.Add(codeTTL), FlowExpiresAt: now.Add(2 * codeTTL),
		}}, nil
	}
}

func (s *stage) playLink() error {
	s.t.Helper()
	s.env.ExecuteWorkflow(workflows.EmailLinkWorkflow, workflows.EmailChangeInput{
		AccountID: owner, Request: workflows.EmailChangeRequest{ChangeID: firstMove},
	})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

func TestEmailLink_Proven(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	letters := s.letters()
	var sent []string
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		sent = append(sent, in.Template)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	proof := s.proveMove(codeTTL, firstMove)
	require.NoError(t, s.linkUp())
	require.NoError(t, proof.err)
	require.Equal(t, owner, proof.done.AccountID)
	require.Equal(t, []string{"link_email"}, sent)
	require.Equal(t, []string{"email_change_requested to the old", "email_changed to the new", "email_changed to the old"}, letters())
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

func TestEmailLink_Unproven(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	late := s.proveMove(2*codeTTL+time.Minute, firstMove)
	require.NoError(t, s.linkUp())
	require.False(t, late.answered, "the flow has ended")
	require.Equal(t, []time.Duration{2 * codeTTL}, s.times("ForgetEmailChange"))
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])
}

func TestEmailLink_ReplacedByAnother(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.askMove(5*time.Minute, secondMove)
	stale, proof := s.proveMove(6*time.Minute, firstMove), s.proveMove(20*time.Minute, secondMove)
	require.NoError(t, s.linkUp())
	require.ErrorIs(t, stale.err, account.ErrInvalidCode, "the newest only")
	require.NoError(t, proof.err, "each link has its own time")
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

func TestEmailLink_MailDownUntilTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	require.NoError(t, s.linkUp())
	tries := s.times("SendCode")
	require.Greater(t, len(tries), 3)
	require.LessOrEqual(t, tries[len(tries)-1], codeTTL, "a code that nobody could use any more is not sent")
	require.Equal(t, []time.Duration{2 * codeTTL}, s.times("ForgetEmailChange"))
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])
}

func TestEmailLink_TakenMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.moved = func(activities.ChallengeInput) (activities.EmailChanged, error) {
		return activities.EmailChanged{}, account.ErrInvalidCode
	}
	proof := s.proveMove(time.Minute, firstMove)
	require.NoError(t, s.linkUp())
	require.ErrorIs(t, proof.err, account.ErrInvalidCode)
	require.Equal(t, []time.Duration{2 * codeTTL}, s.times("ForgetEmailChange"))
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])
}

func TestEmailLink_LostUpdateAndStoreDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.linking()
	issue := s.move
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		if s.now() < time.Minute {
			return activities.IssuedEmailChange{}, errDown
		}
		return issue(in)
	}
	proof := s.proveMove(5*time.Minute, firstMove)
	require.NoError(t, s.playLink())
	require.NoError(t, proof.err)
	require.Len(t, s.times("SendCode"), 1, "the flow goes on with it")
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

func TestEmailLink_GoneAtTheStart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.move = func(activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		return activities.IssuedEmailChange{}, account.ErrInvalidCode
	}
	require.NoError(t, s.playLink())
	require.Empty(t, s.times("SendCode"))
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])
}

func TestEmailLink_CanceledByOps(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.linkUp()))
	require.Equal(t, "canceled", s.attributes()["FlowOutcome"])
}
