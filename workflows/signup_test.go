package workflows_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var errDown = account.ErrUnavailable.Because(errors.New("down"))

// request is the first of an attempt.
func request() workflows.SignupRequest {
	id := uuid.New()
	return workflows.SignupRequest{AttemptID: id, ChallengeID: id}
}

// another is a further request of the same attempt.
func another(r workflows.SignupRequest) workflows.SignupRequest {
	r.ChallengeID = uuid.New()
	return r
}

func TestSignup_ByCode(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	var sent []activities.SendCodeInput
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		sent = append(sent, in)
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	var mailed []activities.SendMailInput
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		mailed = append(mailed, in)
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	opened := s.open(0, first)
	waiting := s.detailsAt(time.Minute)
	proven := s.proceed(5*time.Minute, first.ChallengeID)

	require.NoError(t, s.run(account.SignupByCode, first))
	require.NoError(t, opened.err)
	require.Zero(t, opened.opened, "the account does not exist yet")
	require.NoError(t, proven.err)
	require.Equal(t, workflows.SignupDone{AccountID: owner, SessionID: session}, proven.done)
	require.Equal(t, []string{"IssueSignupCode", "SendCode", "CompleteSignup", "SendMail"}, s.steps())
	require.Equal(t, []activities.SendCodeInput{{ChallengeID: first.ChallengeID, Template: "signup_code"}}, sent)
	require.Equal(t, []activities.SendMailInput{
		{AccountID: owner, Step: "welcome/" + owner.String(), Template: "welcome"},
	}, mailed)
	require.Contains(t, *waiting, "| Stage | awaiting_proof |")
	require.Contains(t, *waiting, "| Address | "+masked+" |")
	require.Contains(t, *waiting, "| Newest code | sent, expires 2026-03-01T00:10:00Z |")
	require.Contains(t, *waiting, "| Gives up | 2026-03-01T00:30:00Z |")
	require.Contains(t, s.details(), "| Stage | completed |")
	require.Contains(t, s.details(), "| Mail | welcome: sent |")
	s.requireEnding("completed", owner)
}

func TestSignup_ByRegister(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	var sent []activities.SendCodeInput
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		sent = append(sent, in)
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	opened := s.open(0, first)
	proven := s.proceed(3*24*time.Hour, first.ChallengeID)

	require.NoError(t, s.run(account.SignupByRegister, first))
	require.NoError(t, opened.err)
	require.Equal(t, owner, opened.opened.AccountID)
	require.Equal(t, session, opened.opened.SessionID)
	require.NoError(t, proven.err)
	require.Equal(t, workflows.SignupDone{AccountID: owner, CreditsAwarded: bonus}, proven.done)
	require.Equal(t, []string{"RegisterAccount", "IssueEmailCode", "SendCode", "ConfirmEmail", "SendMail"}, s.steps())
	require.Equal(t, []activities.SendCodeInput{{ChallengeID: first.ChallengeID, Template: "confirm_email"}}, sent)
	s.requireEnding("completed", owner)
}

func TestSignup_IdentityTakenAtTheStart(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.register = func(activities.AttemptInput) (activities.SignedUp, error) {
		return activities.SignedUp{}, account.ErrIdentityAlreadyUsed
	}
	opened := s.open(0, first)

	require.NoError(t, s.run(account.SignupByRegister, first), "a refusal is no failure of the flow")
	require.ErrorIs(t, opened.err, account.ErrIdentityAlreadyUsed)
	require.Equal(t, []string{"RegisterAccount"}, s.steps(), "asked once for update and flow together, nothing sent")
	s.requireEnding("refused", uuid.Nil)
}

func TestSignup_AttemptGoneBeforeItsFirstCode(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.issue = func(activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode
	}
	opened := s.open(0, first)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.ErrorIs(t, opened.err, account.ErrInvalidCode)
	s.requireEnding("expired", uuid.Nil)
}

func TestSignup_WrongChallengeLeavesTheFlowWaiting(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.complete = func(in activities.ChallengeInput) (activities.SignedUp, error) {
		if in.ChallengeID != first.ChallengeID {
			return activities.SignedUp{}, account.ErrInvalidCode
		}
		return activities.SignedUp{AccountID: owner, SessionID: session}, nil
	}
	s.open(0, first)
	wrong := s.proceed(time.Minute, uuid.New())
	right := s.proceed(2*time.Minute, first.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.ErrorIs(t, wrong.err, account.ErrInvalidCode)
	require.False(t, wrong.rejected, "only the store can tell")
	require.NoError(t, right.err)
	require.Equal(t, owner, right.done.AccountID)
}

func TestSignup_RepeatedRequestsGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	opened := []*answer{s.open(0, first), s.open(0, first), s.open(time.Minute, first)}
	proven := []*answer{
		s.proceed(2*time.Minute, first.ChallengeID), s.proceed(2*time.Minute, first.ChallengeID),
	}
	// The welcome mail holds the flow open.
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) {
		if s.now() < 10*time.Minute {
			return activities.Delivered{}, errDown.After(3 * time.Minute)
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	proven = append(proven, s.proceed(5*time.Minute, first.ChallengeID))
	other := s.proceed(5*time.Minute, uuid.New())
	late := s.open(5*time.Minute, another(first))

	require.NoError(t, s.run(account.SignupByRegister, first))
	for _, a := range opened {
		require.True(t, a.answered)
		require.NoError(t, a.err)
		require.Equal(t, workflows.SignupOpened{AccountID: owner, SessionID: session}, a.opened)
	}
	for _, a := range proven {
		require.True(t, a.answered)
		require.NoError(t, a.err)
		require.Equal(t, workflows.SignupDone{AccountID: owner, CreditsAwarded: bonus}, a.done)
	}
	require.True(t, other.rejected, "leaves no trace in the history")
	require.ErrorIs(t, other.err, account.ErrInvalidCode)
	require.True(t, late.rejected)
	require.ErrorIs(t, late.err, account.ErrUnavailable, "the caller tries again and starts the next flow")
	for _, step := range []string{"RegisterAccount", "IssueEmailCode", "SendCode", "ConfirmEmail"} {
		require.Len(t, s.times(step), 1, step)
	}
}

func TestSignup_LostUpdate(t *testing.T) {
	t.Parallel()
	for kind, made := range map[account.SignupKind][]string{
		account.SignupByCode:     {"IssueSignupCode", "SendCode"},
		account.SignupByRegister: {"RegisterAccount", "IssueEmailCode", "SendCode"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, first := newStage(t), request()
			late := s.open(time.Minute, first)
			proven := s.proceed(2*time.Minute, first.ChallengeID)
			require.NoError(t, s.run(kind, first))
			require.Equal(t, made, s.steps()[:len(made)], "the start's input alone does the work")
			require.NoError(t, late.err)
			require.Equal(t, kind == account.SignupByRegister, late.opened.SessionID == session)
			require.NoError(t, proven.err)
		})
	}
}

func TestSignup_StoreDownForLongerThanARequestWaits(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	issue := s.issue
	s.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if s.now() < time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	opened := s.open(0, first)
	repeated := s.open(90*time.Second, first)
	proven := s.proceed(3*time.Minute, first.ChallengeID)

	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, account.Unavailable, account.AsError(opened.err).Kind, "%v", opened.err)
	require.Less(t, opened.at, 10*time.Second, "nobody waits for the store")
	require.NoError(t, repeated.err)
	require.NoError(t, proven.err)
	require.Len(t, s.times("SendCode"), 1, "the flow went on by itself, and the repetition found its answer")
	require.Less(t, s.times("SendCode")[0], 2*time.Minute)
}

func TestSignup_AccountMadeButItsCodeNot(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	link := s.link
	s.link = func(in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
		if s.now() < time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return link(in)
	}
	opened := s.open(0, first)
	require.NoError(t, s.run(account.SignupByRegister, first))
	require.NoError(t, opened.err, "the account exists")
	require.Equal(t, session, opened.opened.SessionID)
	require.Len(t, s.times("SendCode"), 1, "the flow made the code later")
	require.Equal(t, []time.Duration{s.times("IssueEmailCode")[len(s.times("IssueEmailCode"))-1] + unverifiedTTL},
		s.times("PurgeUnverified"), "and the account has its full term")
}

func TestSignup_StoreDownWhileAFurtherCodeIsAskedFor(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	further, newest := another(first), another(first)
	issue := s.issue
	s.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if in.ChallengeID == further.ChallengeID && s.now() < 3*time.Minute {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	s.open(0, first)
	failed := s.open(2*time.Minute, further)
	good := s.open(4*time.Minute, newest)
	proven := s.proceed(5*time.Minute, newest.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, account.Unavailable, account.AsError(failed.err).Kind, "%v", failed.err)
	require.NoError(t, good.err)
	require.NoError(t, proven.err)
	require.Len(t, s.times("SendCode"), 3, "the failed one was made up for before the newest was asked for")
}

// Two requests wait for a store that comes back: the flow makes up for the older one, but the newer one's code stays.
func TestSignup_TheNewestRequestWins(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	older, newest := another(first), another(first)
	issue := s.issue
	s.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if in.ChallengeID == older.ChallengeID && s.now() < 2*time.Minute+20*time.Second {
			return activities.IssuedCode{}, errDown
		}
		return issue(in)
	}
	var sent []uuid.UUID
	deliver := s.send
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		sent = append(sent, in.ChallengeID)
		return deliver(in)
	}
	s.open(0, first)
	s.open(2*time.Minute, older)
	answered := s.open(2*time.Minute+time.Second, newest)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.NoError(t, answered.err)
	require.Equal(t, newest.ChallengeID, sent[len(sent)-1])
}

func TestSignup_Taken(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	first.AccountID = owner
	var mailed []activities.SendMailInput
	s.mail = func(in activities.SendMailInput) (activities.Delivered, error) {
		mailed = append(mailed, in)
		if s.now() < time.Hour {
			return activities.Delivered{}, errDown
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	opened := s.open(0, first)
	joined := s.open(30*time.Minute, another(first))
	require.NoError(t, s.run(account.SignupTaken, first))
	require.NoError(t, opened.err)
	require.Zero(t, opened.opened, "the answer tells nothing")
	require.Zero(t, opened.at)
	require.NoError(t, joined.err)
	require.Equal(t, slices.Repeat([]activities.SendMailInput{
		{AccountID: owner, Step: "taken/" + first.ChallengeID.String(), Template: "signup_exists"},
	}, len(mailed)), mailed, "one mail, tried until it is out")
	require.Equal(t, slices.Repeat([]string{"SendMail"}, len(mailed)), s.steps())
	s.requireEnding("refused", owner)
}

func TestSignup_CanceledByOps(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.open(0, first)
	s.at(2*time.Minute, s.env.CancelWorkflow)
	err := s.run(account.SignupByCode, first)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Empty(t, s.times("AbandonSignup"), "its rows are for the sweep")
	tries := s.times("SendCode")
	require.Less(t, tries[len(tries)-1], 2*time.Minute, "nothing more is sent")
	require.Contains(t, s.details(), "| Stage | canceled |")
	s.requireEnding("canceled", uuid.Nil)
}

func TestSignup_CanceledWhileHandlersWait(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	down := make(chan struct{})
	s.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if in.ChallengeID != first.ChallengeID {
			<-down
			return activities.IssuedCode{}, errDown
		}
		return activities.IssuedCode{ChallengeID: in.ChallengeID, FlowExpiresAt: midnight.Add(signupTTL)}, nil
	}
	s.open(0, first)
	running := s.open(time.Minute, another(first))
	queued := s.open(time.Minute, another(first))
	s.at(time.Minute, func() { s.env.CancelWorkflow(); close(down) })
	err := s.run(account.SignupByCode, first)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	for _, a := range []*answer{running, queued} {
		require.True(t, a.answered, "no handler outlives the flow")
		require.Error(t, a.err)
	}
}

func TestSignup_CanceledWhileWelcoming(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.open(0, first)
	s.proceed(time.Minute, first.ChallengeID)
	s.at(time.Hour, s.env.CancelWorkflow)
	require.NoError(t, s.run(account.SignupByCode, first), "the sign-up itself is complete")
	s.requireEnding("completed", owner)
}

func TestSignup_ErrorsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.complete = func(activities.ChallengeInput) (activities.SignedUp, error) {
		return activities.SignedUp{}, account.ErrEmailExists
	}
	s.open(0, first)
	proven := s.proceed(time.Minute, first.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.ErrorIs(t, proven.err, account.ErrEmailExists)
	require.NotErrorIs(t, proven.err, durable.ErrNoFlow)
	require.Equal(t, []time.Duration{signupTTL}, s.times("AbandonSignup"))
}
