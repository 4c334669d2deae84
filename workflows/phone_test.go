package workflows_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const failover = 20 * time.Second

func phoneRequest() workflows.PhoneRequest { return workflows.PhoneRequest{ChallengeID: uuid.New()} }

// runPhone plays a verification to its end.
func (s *stage) runPhone(first workflows.PhoneRequest) error {
	s.t.Helper()
	s.mu.Lock()
	s.updates = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("phone"), durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
	}
	s.mu.Unlock()
	s.env.ExecuteWorkflow(workflows.PhoneVerificationWorkflow, workflows.PhoneInput{AccountID: owner, Request: first, Failover: failover})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

// ask sends an update of a flow whose updates bring nothing but an error.
func (s *stage) ask(after time.Duration, name string, arg any) *answer {
	got := &answer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept:   func() {},
			OnReject:   func(err error) { got.rejected = true; finish(err) },
			OnComplete: func(_ any, err error) { finish(err) },
		}, arg)
	})
	return got
}

func (s *stage) openPhone(after time.Duration, request workflows.PhoneRequest) *answer {
	return s.ask(after, workflows.PhoneOpen, request)
}

func (s *stage) provePhone(after time.Duration, request workflows.PhoneRequest) *answer {
	return s.ask(after, workflows.PhoneProceed, workflows.PhoneProof(request))
}

// sendsBy notes the channel of each try, and has the channel do what it is told.
func (s *stage) sendsBy(do func(account.Channel) (activities.Delivered, error)) *[]account.Channel {
	var tried []account.Channel
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		tried = append(tried, in.Channel)
		return do(in.Channel)
	}
	return &tried
}

func (s *stage) takes() (activities.Delivered, error) {
	return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
}

func TestPhone_SentProvenBoundAndTold(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	tried := s.sendsBy(func(account.Channel) (activities.Delivered, error) { return s.takes() })
	var told []activities.SendMailInput
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		told = append(told, in)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	opened := s.openPhone(0, first)
	again := s.openPhone(time.Second, first)
	proven := s.provePhone(time.Minute, first)

	require.NoError(t, s.runPhone(first))
	require.NoError(t, opened.err)
	require.Zero(t, opened.at, "answered at once")
	require.NoError(t, again.err, "a repeated request changes nothing")
	require.NoError(t, proven.err)
	require.Equal(t, []account.Channel{account.ChannelSMS}, *tried)
	require.Equal(t, []time.Duration{time.Minute}, s.times("BindPhone"))
	require.Equal(t, []activities.SendMailInput{{AccountID: owner, Step: "notice", Template: "phone_verified"}}, told)
	attributes := s.attributes()
	require.Equal(t, "completed", attributes["FlowOutcome"])
	require.NotContains(t, attributes, "NextActionAt")
	require.Contains(t, s.details(), "| Newest code | sms: sent, expires 2026-03-01T00:10:00Z |")
}

func TestPhone_RefusedSMSGoesByWhatsAppAtOnce(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	tried := s.sendsBy(func(c account.Channel) (activities.Delivered, error) {
		if c == account.ChannelSMS {
			return activities.Delivered{State: activities.DeliveryDead}, nil
		}
		return s.takes()
	})
	s.openPhone(0, first)
	proven := s.provePhone(time.Minute, first)
	require.NoError(t, s.runPhone(first))
	require.NoError(t, proven.err)
	require.Equal(t, []account.Channel{account.ChannelSMS, account.ChannelWhatsApp}, *tried)
	require.Equal(t, []time.Duration{0, 0}, s.times("SendCode"))
	require.Contains(t, s.details(), "whatsapp: sent")
}

func TestPhone_F23_SlowSMSGoesByWhatsAppInTime(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	tried := s.sendsBy(func(c account.Channel) (activities.Delivered, error) {
		if c == account.ChannelSMS {
			return activities.Delivered{}, errDown
		}
		return s.takes()
	})
	s.openPhone(0, first)
	proven := s.provePhone(time.Minute, first)
	require.NoError(t, s.runPhone(first))
	require.NoError(t, proven.err)
	channels, times := *tried, s.times("SendCode")
	require.Equal(t, account.ChannelWhatsApp, channels[len(channels)-1])
	require.NotContains(t, channels[:len(channels)-1], account.ChannelWhatsApp)
	require.LessOrEqual(t, times[len(times)-1], failover)
}

func TestPhone_BothDownAreTriedInTurnsUntilTheCodeIsPointless(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	tried := s.sendsBy(func(account.Channel) (activities.Delivered, error) {
		return activities.Delivered{}, errDown.After(9 * time.Second)
	})
	s.openPhone(0, first)
	seen := s.detailsAt(11 * time.Minute)
	require.NoError(t, s.runPhone(first))
	times := s.times("SendCode")
	require.Less(t, len(times), 80, "in turns, and not as fast as it can")
	require.LessOrEqual(t, times[len(times)-1], codeTTL, "no try after the code's time")
	require.Greater(t, times[len(times)-1], codeTTL/2)
	require.Contains(t, *tried, account.ChannelWhatsApp)
	require.Contains(t, *seen, "not delivered in time")
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])
	require.Empty(t, s.times("BindPhone"))
	require.Empty(t, s.times("SendMail"))
}

func TestPhone_RefusedByBothIsTriedNoMore(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	tried := s.sendsBy(func(account.Channel) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliveryDead}, nil
	})
	s.openPhone(0, first)
	seen := s.detailsAt(time.Minute)
	require.NoError(t, s.runPhone(first))
	require.Equal(t, []account.Channel{account.ChannelSMS, account.ChannelWhatsApp}, *tried)
	require.Contains(t, *seen, "whatsapp: dead")
}

func TestPhone_AnotherNumberReplacesTheCode(t *testing.T) {
	t.Parallel()
	s, first, second := newStage(t), phoneRequest(), phoneRequest()
	s.openPhone(0, first)
	s.openPhone(time.Minute, second)
	old := s.provePhone(2*time.Minute, first)
	proven := s.provePhone(3*time.Minute, second)
	require.NoError(t, s.runPhone(first))
	require.ErrorIs(t, old.err, account.ErrInvalidCode)
	require.True(t, old.rejected, "without a trace in the history")
	require.NoError(t, proven.err)
	require.Len(t, s.times("BindPhone"), 1)
}

func TestPhone_ARepeatedProofIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	bind := s.bind
	s.bind = func(in activities.ChallengeInput) (activities.AccountInput, error) {
		time.Sleep(20 * time.Millisecond)
		return bind(in)
	}
	s.openPhone(0, first)
	one, two := s.provePhone(time.Minute, first), s.provePhone(time.Minute, first)
	require.NoError(t, s.runPhone(first))
	require.NoError(t, one.err)
	require.NoError(t, two.err)
	require.Len(t, s.times("BindPhone"), 1)
}

func TestPhone_LostUpdateGoesOnAndFirstRefusalEnds(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	proven := s.provePhone(time.Minute, first)
	require.NoError(t, s.runPhone(first), "nobody opened it, and yet it went on")
	require.NoError(t, proven.err)

	refused := newStage(t)
	refused.phone = func(activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode
	}
	require.NoError(t, refused.runPhone(first))
	require.Equal(t, "expired", refused.attributes()["FlowOutcome"])
	require.Empty(t, refused.times("SendCode"))
}

func TestPhone_StoreDownIsOwed(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	issue := s.phone
	s.phone = func(in activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
		if s.now() < 30*time.Second {
			return activities.IssuedCode{}, account.ErrUnavailable
		}
		return issue(in)
	}
	s.openPhone(0, first)
	proven := s.provePhone(2*time.Minute, first)
	require.NoError(t, s.runPhone(first))
	require.NoError(t, proven.err)
	require.NotEmpty(t, s.times("SendCode"))
}

func TestPhone_ExpiresAndCancels(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	s.openPhone(0, first)
	require.NoError(t, s.runPhone(first))
	require.Equal(t, 2*codeTTL+time.Minute, s.now(), "with the last moment of its code")
	require.Equal(t, "expired", s.attributes()["FlowOutcome"])

	canceled := newStage(t)
	canceled.openPhone(0, first)
	canceled.at(time.Minute, canceled.env.CancelWorkflow)
	require.True(t, temporal.IsCanceledError(canceled.runPhone(first)))
	require.Equal(t, "canceled", canceled.attributes()["FlowOutcome"])
}

// during has a code made under a challenge only once something else has happened.
func (s *stage) during(happened <-chan struct{}, challenge uuid.UUID) {
	issue := s.phone
	s.phone = func(in activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
		if in.ChallengeID == challenge {
			<-happened
		}
		return issue(in)
	}
}

// A number that is asked for as the notice of the one before starts keeps the flow open.
func TestPhone_AnotherNumberAsTheFlowEnds(t *testing.T) {
	t.Parallel()
	s, first, second := newStage(t), phoneRequest(), phoneRequest()
	mail, told := s.mail, make(chan struct{})
	notices := 0
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		if notices++; notices == 1 {
			close(told)
		}
		return mail(in)
	}
	s.during(told, second.ChallengeID)
	s.openPhone(0, first)
	one := s.provePhone(time.Minute, first)
	opened, two := s.openPhone(time.Minute, second), s.provePhone(2*time.Minute, second)
	require.NoError(t, s.runPhone(first))
	for _, a := range []*answer{one, opened, two} {
		require.True(t, a.answered)
		require.NoError(t, a.err)
	}
	require.Len(t, s.times("SendCode"), 2, "what is accepted is sent")
	require.Len(t, s.times("BindPhone"), 2)
	require.Equal(t, 2, notices, "of both")
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

// A number that is proven while the notice of the one before has yet to start is told of, too.
func TestPhone_EveryNumberIsTold(t *testing.T) {
	t.Parallel()
	s, first, second := newStage(t), phoneRequest(), phoneRequest()
	notices := 0
	s.env.OnWorkflow(workflows.SecurityNoticeWorkflow, mock.Anything, mock.Anything).After(time.Minute).Return(
		func(workflow.Context, workflows.SecurityNoticeInput) error {
			notices++
			return nil
		})
	s.openPhone(0, first)
	one := s.provePhone(time.Minute, first)
	opened, two := s.openPhone(70*time.Second, second), s.provePhone(80*time.Second, second)
	require.NoError(t, s.runPhone(first))
	for _, a := range []*answer{one, opened, two} {
		require.True(t, a.answered)
		require.NoError(t, a.err)
	}
	require.Equal(t, 2, notices)
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

// timeUp is closed when the time of the first code is over.
func (s *stage) timeUp() <-chan struct{} {
	up := make(chan struct{})
	s.env.SetOnTimerFiredListener(func(string) {
		if s.now() >= phoneTTL && s.now() < phoneTTL+time.Minute {
			close(up)
		}
	})
	return up
}

const phoneTTL = 2*codeTTL + time.Minute

func TestPhone_AnotherNumberAsTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s, first, second := newStage(t), phoneRequest(), phoneRequest()
	s.during(s.timeUp(), second.ChallengeID)
	s.openPhone(0, first)
	opened, proven := s.openPhone(phoneTTL-time.Millisecond, second), s.provePhone(phoneTTL+2*time.Minute, second)
	require.NoError(t, s.runPhone(first))
	require.True(t, opened.answered)
	require.NoError(t, opened.err)
	require.Len(t, s.times("SendCode"), 2, "what is accepted is sent")
	require.True(t, proven.answered, "the flow waits for it")
	require.NoError(t, proven.err)
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}

func TestPhone_ProvenAsTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), phoneRequest()
	bind, up := s.bind, s.timeUp()
	s.bind = func(in activities.ChallengeInput) (activities.AccountInput, error) {
		<-up
		return bind(in)
	}
	s.openPhone(0, first)
	proven := s.provePhone(phoneTTL-time.Millisecond, first)
	require.NoError(t, s.runPhone(first))
	require.True(t, proven.answered)
	require.NoError(t, proven.err)
	require.Len(t, s.times("SendMail"), 1, "the owner is told")
	require.Equal(t, "completed", s.attributes()["FlowOutcome"])
}
