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

// codeMargin is how much longer than its code the flow waits.
const codeMargin = time.Minute

// codeSteps are what the world does with a code that guards an account.
type codeSteps struct {
	issue func(activities.IssuePasswordCodeInput) (activities.IssuedCode, error)
	spend func(activities.ChallengeInput) (activities.Spent, error)
	sms   func(activities.SendMailInput) (activities.Delivered, error)
}

func (s *stage) codesWell() codeSteps {
	return codeSteps{
		issue: func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
			end := s.env.Now().Add(codeTTL)
			return activities.IssuedCode{
				ChallengeID: in.ChallengeID, Masked: masked, SendBy: end, CodeExpiresAt: end, FlowExpiresAt: end.Add(codeMargin),
			}, nil
		},
		spend: func(activities.ChallengeInput) (activities.Spent, error) {
			return activities.Spent{PasswordSet: true, HadPassword: true, Phone: true}, nil
		},
		sms: func(activities.SendMailInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliverySent}, nil
		},
	}
}

// passwordChangeSteps holds the played steps to the signatures of the real ones.
type passwordChangeSteps interface {
	IssuePasswordCode(context.Context, activities.IssuePasswordCodeInput) (activities.IssuedCode, error)
	SpendPasswordCode(context.Context, activities.ChallengeInput) (activities.Spent, error)
	SendSMS(context.Context, activities.SendMailInput) (activities.Delivered, error)
}

var (
	_ passwordChangeSteps = (*activities.Activities)(nil)
	_ passwordChangeSteps = (*steps)(nil)
)

func (s *steps) IssuePasswordCode(ctx context.Context, in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.code.issue, in)
}

func (s *steps) SpendPasswordCode(ctx context.Context, in activities.ChallengeInput) (activities.Spent, error) {
	return run(ctx, s, s.stage.code.spend, in)
}

func (s *steps) SendSMS(ctx context.Context, in activities.SendMailInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.code.sms, in)
}

func codeBy(channels ...account.Channel) workflows.PasswordChangeRequest {
	return workflows.PasswordChangeRequest{ChallengeID: uuid.New(), SessionID: session, Channels: channels}
}

// changes plays a flow to its end.
func (s *stage) changes(first workflows.PasswordChangeRequest) error {
	s.t.Helper()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("password"), durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
		durable.NextActionAt.ValueSet(midnight.Add(codeTTL)),
	}
	s.env.ExecuteWorkflow(workflows.PasswordChangeWorkflow, workflows.PasswordChangeInput{AccountID: owner, Request: first})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

// changeAnswer is what an update brought.
type changeAnswer struct {
	done     workflows.PasswordChangeDone
	err      error
	answered bool
	at       time.Duration
}

func (s *stage) tellChange(after time.Duration, name string, arg any) *changeAnswer {
	got := &changeAnswer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: finish,
			OnComplete: func(result any, err error) {
				got.done, _ = result.(workflows.PasswordChangeDone)
				finish(err)
			},
		}, arg)
	})
	return got
}

func (s *stage) askCode(after time.Duration, request workflows.PasswordChangeRequest) *changeAnswer {
	return s.tellChange(after, workflows.PasswordChangeOpen, request)
}

func (s *stage) spendCode(after time.Duration, challenge uuid.UUID) *changeAnswer {
	return s.tellChange(after, workflows.PasswordChangeProceed, workflows.PasswordChangeProof{ChallengeID: challenge})
}

func (s *stage) requireChange(outcome string) {
	s.t.Helper()
	// A notice is a flow of its own, whose attributes the test environment mixes with these.
	got := s.attributes()
	require.Equal(s.t, outcome, got["FlowOutcome"])
	require.Equal(s.t, outcome, got["FlowStage"])
	require.Equal(s.t, owner.String(), got["AccountID"])
	require.NotContains(s.t, got, "NextActionAt")
}

func TestPasswordChange(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	issue := s.code.issue
	s.code.issue = func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		require.Equal(t, activities.IssuePasswordCodeInput{
			AccountID: owner, SessionID: session, ChallengeID: first.ChallengeID, Channel: account.ChannelEmail,
		}, in)
		return issue(in)
	}
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		require.Equal(t, activities.SendCodeInput{ChallengeID: first.ChallengeID, Template: "security_code", Channel: account.ChannelEmail}, in)
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	var told []string
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		told = append(told, in.Template)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	s.code.sms = s.mail
	opened := s.askCode(0, first)
	seen := s.detailsAt(time.Minute)
	done := s.spendCode(5*time.Minute, first.ChallengeID)

	require.NoError(t, s.changes(first))
	require.NoError(t, opened.err)
	require.NoError(t, done.err)
	require.Equal(t, workflows.PasswordChangeDone{HadPassword: true}, done.done)
	require.Equal(t, []string{"IssuePasswordCode", "SendCode", "SpendPasswordCode"}, s.steps()[:3], "each once")
	require.ElementsMatch(t, []string{"password_changed", "password_changed_sms"}, told)
	require.Contains(t, *seen, "| Contact | "+masked+" |")
	require.Contains(t, *seen, "| Newest code by email | sent |")
	require.Contains(t, s.details(), "| Stage | completed |")
}

func TestPasswordChange_TellsOnlyOfPasswords(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		spent activities.Spent
		told  []string
	}{
		"signed out":         {activities.Spent{HadPassword: true, Phone: true}, nil},
		"first, no number":   {activities.Spent{PasswordSet: true}, []string{"password_added"}},
		"another, no number": {activities.Spent{PasswordSet: true, HadPassword: true}, []string{"password_changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, first := newStage(t), codeBy(account.ChannelEmail)
			s.code.spend = func(activities.ChallengeInput) (activities.Spent, error) { return one.spent, nil }
			var told []string
			s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
				told = append(told, in.Template)
				return activities.Delivered{State: activities.DeliverySent}, nil
			}
			s.askCode(0, first)
			s.spendCode(time.Minute, first.ChallengeID)
			require.NoError(t, s.changes(first))
			require.Equal(t, one.told, told)
			require.Empty(t, s.times("SendSMS"))
		})
	}
}

func TestPasswordChange_OneOfTwoChannelsSuffices(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelSMS, account.ChannelWhatsApp)
	tries := map[account.Channel]int{}
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		require.Equal(t, "phone_code", in.Template)
		require.Equal(t, first.ChallengeID, in.ChallengeID, "one code on both")
		tries[in.Channel]++
		if in.Channel == account.ChannelSMS {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	s.askCode(0, first)
	seen := s.detailsAt(time.Minute)
	done := s.spendCode(2*time.Minute, first.ChallengeID)
	require.NoError(t, s.changes(first))
	require.NoError(t, done.err)
	require.Equal(t, 1, tries[account.ChannelWhatsApp])
	require.Greater(t, tries[account.ChannelSMS], 1, "it is tried all the same")
	require.Contains(t, *seen, "| Newest code by sms | on its way |")
	require.Contains(t, *seen, "| Newest code by whatsapp | sent |")
	sends := s.times("SendCode")
	require.LessOrEqual(t, sends[len(sends)-1], 2*time.Minute+time.Second, "nobody waits for it any more")
}

func TestPasswordChange_ExpiresWithItsCode(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) {
		if s.now() < 5*time.Minute {
			return activities.Delivered{}, errDown.After(3 * time.Minute)
		}
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	s.askCode(0, first)
	seen := s.detailsAt(14 * time.Minute)
	late := s.spendCode(20*time.Minute, first.ChallengeID)
	require.NoError(t, s.changes(first))
	require.Contains(t, *seen, "awaiting_proof", "the life of a code counts from its acceptance")
	require.False(t, late.answered && late.err == nil, "after its end there is no flow to tell")
	require.Empty(t, s.times("SpendPasswordCode"))
	require.Greater(t, s.now(), 15*time.Minute)
	require.Less(t, s.now(), 18*time.Minute)
	s.requireChange("expired")
}

func TestPasswordChange_ProvenInTheLastSecondOfItsCode(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.askCode(0, first)
	done := s.spendCode(codeTTL+codeMargin/2, first.ChallengeID)
	require.NoError(t, s.changes(first))
	require.NoError(t, done.err)
}

func TestPasswordChange_WithoutAContact(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelSMS)
	s.code.issue = func(activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode
	}
	opened := s.askCode(0, first)
	require.NoError(t, s.changes(first))
	require.ErrorIs(t, opened.err, account.ErrInvalidCode)
	require.Len(t, s.times("IssuePasswordCode"), 1, "what is refused is not tried again")
	require.NotContains(t, s.steps(), "SendCode")
	s.requireChange("refused")
}

func TestPasswordChange_NewestCodeOnly(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	newer := codeBy(account.ChannelSMS)
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		if in.ChallengeID == first.ChallengeID {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	s.askCode(0, first)
	again := s.askCode(2*time.Minute, newer)
	repeated := s.askCode(3*time.Minute, newer)
	done := s.spendCode(4*time.Minute, newer.ChallengeID)
	require.NoError(t, s.changes(first))
	require.NoError(t, again.err)
	require.NoError(t, repeated.err)
	require.NoError(t, done.err)
	require.Len(t, s.times("IssuePasswordCode"), 2, "a repeated request makes no code")
	sends := s.times("SendCode")
	require.Less(t, sends[len(sends)-1], 3*time.Minute, "the older code is no longer sent")
}

func TestPasswordChange_WrongProofLeavesTheFlowWaiting(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.code.spend = func(in activities.ChallengeInput) (activities.Spent, error) {
		if in.ChallengeID != first.ChallengeID {
			return activities.Spent{}, account.ErrInvalidCode
		}
		return activities.Spent{}, nil
	}
	s.askCode(0, first)
	odd := s.spendCode(time.Minute, uuid.New())
	right := s.spendCode(2*time.Minute, first.ChallengeID)
	require.NoError(t, s.changes(first))
	require.ErrorIs(t, odd.err, account.ErrInvalidCode)
	require.NoError(t, right.err)
}

func TestPasswordChange_ParallelProofsGetOneAnswer(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.askCode(0, first)
	var answers []*changeAnswer
	for range 5 {
		answers = append(answers, s.spendCode(time.Minute, first.ChallengeID))
	}
	require.NoError(t, s.changes(first))
	for _, a := range answers {
		require.True(t, a.answered)
		require.NoError(t, a.err)
		require.True(t, a.done.HadPassword)
	}
	require.Len(t, s.times("SpendPasswordCode"), 1)
}

func TestPasswordChange_LostUpdateAndStoreDown(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	issue := s.code.issue
	s.code.issue = func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		if s.now() < time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	opened := s.askCode(0, first)
	done := s.spendCode(5*time.Minute, first.ChallengeID)
	require.NoError(t, s.changes(first))
	require.Equal(t, account.Unavailable, account.AsError(opened.err).Kind, "%v", opened.err)
	require.Less(t, opened.at, 10*time.Second, "nobody waits for the store")
	require.NoError(t, done.err)
	require.Len(t, s.times("SendCode"), 1, "the flow went on by itself")
}

func TestPasswordChange_CodeRefusedByTheProvider(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelSMS)
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliveryDead}, nil
	}
	s.askCode(0, first)
	seen := s.detailsAt(time.Minute)
	require.NoError(t, s.changes(first))
	require.Contains(t, *seen, "| Newest code by sms | dead |")
	s.requireChange("expired")
}

func TestPasswordChange_ProviderDownUntilTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.askCode(0, first)
	seen := s.detailsAt(codeTTL + codeMargin/2)
	require.NoError(t, s.changes(first))
	tries := s.times("SendCode")
	require.Greater(t, len(tries), 3)
	require.LessOrEqual(t, tries[len(tries)-1], codeTTL, "a code that nobody could use any more is not sent")
	require.Contains(t, *seen, "| Newest code by email | not delivered in time |")
	require.Equal(t, codeTTL+codeMargin, s.now())
	s.requireChange("expired")
}

func TestPasswordChange_CanceledByOps(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), codeBy(account.ChannelEmail)
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.askCode(0, first)
	s.at(time.Minute, s.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(s.changes(first)))
	tries := s.times("SendCode")
	require.Less(t, tries[len(tries)-1], time.Minute, "nothing more is sent")
	s.requireChange("canceled")
}
