package workflows_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// The issue demands this one by name.
func TestSignup_SMTPDownForTwoMinutes(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	deliver := s.send
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		if s.now() < 2*time.Minute {
			return activities.Delivered{}, errDown
		}
		return deliver(in)
	}
	opened := s.open(0, first)
	before, after := s.detailsAt(90*time.Second), s.detailsAt(3*time.Minute)
	proven := s.proceed(11*time.Minute, first.ChallengeID)

	require.NoError(t, s.run(account.SignupByCode, first))
	require.NoError(t, opened.err)
	require.Zero(t, opened.at, "answered at once")
	require.Equal(t, []time.Duration{
		0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second, 61 * time.Second, 91 * time.Second,
		121 * time.Second,
	}, s.times("SendCode"))
	require.Contains(t, *before, "| Newest code | on its way, expires 2026-03-01T00:10:00Z |")
	require.Contains(t, *after, "| Newest code | sent, expires 2026-03-01T00:12:01Z |", "its life counts from the acceptance")
	require.NoError(t, proven.err, "and the code works a minute after it would have died")
}

func TestSignup_SMTPDownUntilTheCodeIsPointless(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	deliver := s.send
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		if in.ChallengeID == first.ChallengeID {
			return activities.Delivered{}, errDown.After(130 * time.Second) // it gets ten tries here, as many as it likes elsewhere
		}
		return deliver(in)
	}
	s.open(0, first)
	failed := s.detailsAt(11 * time.Minute)
	second := another(first)
	again := s.open(12*time.Minute, second)
	delivered := s.detailsAt(13 * time.Minute)
	proven := s.proceed(14*time.Minute, second.ChallengeID)

	require.NoError(t, s.run(account.SignupByCode, first))
	require.Contains(t, *failed, "| Newest code | not delivered in time,")
	require.Contains(t, *failed, "| Stage | awaiting_proof |", "the flow still waits")
	require.Equal(t, []time.Duration{0, 130 * time.Second, 260 * time.Second, 390 * time.Second, 520 * time.Second, 12 * time.Minute},
		s.times("SendCode"), "no try after the code's time")
	require.NoError(t, again.err)
	require.Contains(t, *delivered, "| Newest code | sent, expires 2026-03-01T00:22:00Z |")
	require.Contains(t, *delivered, "| Codes made | 2 |")
	require.NoError(t, proven.err)
}

func TestSignup_DeliveriesThatEndForGoodAreShown(t *testing.T) {
	t.Parallel()
	for _, state := range []activities.DeliveryState{activities.DeliveryDead, activities.DeliveryExpired} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			s, first := newStage(t), request()
			s.send = func(activities.SendCodeInput) (activities.Delivered, error) {
				return activities.Delivered{State: state}, nil
			}
			s.open(0, first)
			seen := s.detailsAt(time.Minute)
			proven := s.proceed(2*time.Minute, first.ChallengeID)
			require.NoError(t, s.run(account.SignupByCode, first))
			require.Contains(t, *seen, "| Newest code | "+string(state)+", expires 2026-03-01T00:10:00Z |", "its expiry as it was")
			require.Len(t, s.times("SendCode"), 1)
			require.NoError(t, proven.err, "the flow waits all the same")
		})
	}
}

func TestSignup_ResendReplacesTheDelivery(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	second := another(first)
	var tried []uuid.UUID
	deliver := s.send
	s.send = func(in activities.SendCodeInput) (activities.Delivered, error) {
		tried = append(tried, in.ChallengeID)
		if in.ChallengeID == first.ChallengeID {
			return activities.Delivered{}, errDown
		}
		return deliver(in)
	}
	s.open(0, first)
	again := s.open(2*time.Minute, second)
	seen := s.detailsAt(2*time.Minute + time.Second)
	later := s.detailsAt(15 * time.Minute)
	s.proceed(16*time.Minute, second.ChallengeID)

	require.NoError(t, s.run(account.SignupByCode, first))
	require.NoError(t, again.err)
	require.Equal(t, second.ChallengeID, tried[len(tried)-1])
	require.NotContains(t, tried[:len(tried)-1], second.ChallengeID)
	times := s.times("SendCode")
	require.Equal(t, 2*time.Minute, times[len(times)-1], "the first code is sent no more")
	require.Contains(t, *seen, "| Newest code | sent, expires 2026-03-01T00:12:00Z |")
	require.Equal(t, *seen, *later, "the end of the first delivery is not shown")
}

func TestSignup_ProvenWhileTheCodeIsStillBeingSent(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) { return activities.Delivered{}, errDown }
	s.open(0, first)
	proven := s.proceed(time.Minute, first.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.NoError(t, proven.err)
	tries := s.times("SendCode")
	require.Less(t, tries[len(tries)-1], time.Minute)
	require.Contains(t, s.details(), "| Newest code | on its way,")
	require.Contains(t, s.details(), "| Stage | completed |")
}

func TestSignup_WelcomeMailFailsForADay(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) {
		// The test environment gives up after ten tries, so the provider asks for long pauses.
		return activities.Delivered{}, errDown.After(200 * time.Minute)
	}
	s.open(0, first)
	proven := s.proceed(time.Minute, first.ChallengeID)
	meanwhile := s.attributeAt(12*time.Hour, "FlowOutcome")

	require.NoError(t, s.run(account.SignupByCode, first), "a courtesy does not fail the flow")
	require.NoError(t, proven.err)
	require.Equal(t, time.Minute, proven.at, "nobody waits for it")
	require.Equal(t, time.Minute+7*200*time.Minute, s.times("SendMail")[7])
	require.Len(t, s.times("SendMail"), 8, "no try after a day")
	require.Equal(t, "completed", *meanwhile)
	require.Contains(t, s.details(), "| Mail | welcome: not delivered in time |")
	s.requireEnding("completed", owner)
}

func TestSignup_ExpiresWithNothingLeft(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	var abandoned []activities.AttemptInput
	s.abandon = func(in activities.AttemptInput) (activities.Remaining, error) {
		abandoned = append(abandoned, in)
		return activities.Remaining{}, nil
	}
	s.open(0, first)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, []time.Duration{signupTTL}, s.times("AbandonSignup"), "once, exactly when it expires")
	require.Equal(t, []activities.AttemptInput{{AttemptID: first.AttemptID}}, abandoned)
	require.Empty(t, s.times("SendMail"))
	require.Contains(t, s.details(), "| Stage | expired |")
	s.requireEnding("expired", uuid.Nil)
}

func TestSignup_AFurtherCodeProlongsWithoutAskingTheStore(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.open(0, first)
	s.open(20*time.Minute, another(first))
	next := s.attributeAt(40*time.Minute, "NextActionAt")
	seen := s.detailsAt(40 * time.Minute)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, []time.Duration{50 * time.Minute}, s.times("AbandonSignup"))
	require.Equal(t, midnight.Add(50*time.Minute), *next)
	require.Contains(t, *seen, "| Gives up | 2026-03-01T00:50:00Z |")
}

func TestSignup_ProlongedInTheStore(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.abandon = func(activities.AttemptInput) (activities.Remaining, error) {
		if s.now() < time.Hour {
			return activities.Remaining{Until: midnight.Add(time.Hour)}, nil
		}
		return activities.Remaining{}, nil
	}
	s.open(0, first)
	proven := s.proceed(2*time.Hour, first.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, []time.Duration{signupTTL, time.Hour}, s.times("AbandonSignup"), "armed again for the later end")
	require.False(t, proven.answered && proven.err == nil, "too late")
}

// A flow whose clock is ahead of the database's must not ask in a tight loop.
func TestSignup_ClockAheadOfTheDatabase(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	const ahead = 3 * time.Second
	s.abandon = func(activities.AttemptInput) (activities.Remaining, error) {
		if s.now() < signupTTL+ahead {
			return activities.Remaining{Until: midnight.Add(signupTTL)}, nil
		}
		return activities.Remaining{}, nil
	}
	s.open(0, first)
	require.NoError(t, s.run(account.SignupByCode, first))
	require.Equal(t, []time.Duration{signupTTL, signupTTL + 5*time.Second}, s.times("AbandonSignup"))
}

func TestSignup_PurgedAfterSevenDays(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	var purged []activities.AccountInput
	s.purge = func(in activities.AccountInput) (activities.Left, error) {
		purged = append(purged, in)
		return activities.Left{}, nil
	}
	s.open(0, first)
	// Asking for further codes does not keep an unproven account alive.
	for day := range 6 {
		s.open(time.Duration(day+1)*24*time.Hour, workflows.SignupRequest{ChallengeID: uuid.New(), AccountID: owner})
	}
	require.NoError(t, s.run(account.SignupByRegister, first))
	require.Equal(t, []time.Duration{unverifiedTTL}, s.times("PurgeUnverified"))
	require.Equal(t, []activities.AccountInput{{AccountID: owner}}, purged)
	require.Len(t, s.times("SendCode"), 7)
	require.Len(t, s.times("RegisterAccount"), 1)
	s.requireEnding("expired", owner)
}

func TestSignup_PurgeThatComesTooEarlyWaits(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.purge = func(activities.AccountInput) (activities.Left, error) {
		return activities.Left{Wait: max(unverifiedTTL+time.Hour-s.now(), 0)}, nil
	}
	s.open(0, first)
	require.NoError(t, s.run(account.SignupByRegister, first))
	require.Equal(t, []time.Duration{unverifiedTTL, unverifiedTTL + time.Hour}, s.times("PurgeUnverified"))
}

// What comes while the store removes the sign-up waits for it, and is then too late.
func TestSignup_RequestsDuringTheRemoval(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.abandon = func(activities.AttemptInput) (activities.Remaining, error) {
		if s.now() < signupTTL+time.Minute {
			return activities.Remaining{}, errDown
		}
		return activities.Remaining{}, nil
	}
	s.open(0, first)
	proven := s.proceed(signupTTL+30*time.Second, first.ChallengeID)
	opened := s.open(signupTTL+30*time.Second, another(first))
	require.NoError(t, s.run(account.SignupByCode, first))
	require.ErrorIs(t, proven.err, account.ErrInvalidCode)
	require.ErrorIs(t, opened.err, account.ErrUnavailable, "the caller tries again and starts the next flow")
	require.Empty(t, s.times("CompleteSignup"))
	require.Len(t, s.times("IssueSignupCode"), 1)
}

// The proof that comes while the flow waits for its turn to expire wins.
func TestSignup_ProofAtTheMomentOfExpiry(t *testing.T) {
	t.Parallel()
	s, first := newStage(t), request()
	s.open(0, first)
	proven := s.proceed(signupTTL, first.ChallengeID)
	require.NoError(t, s.run(account.SignupByCode, first))
	if proven.err == nil {
		require.Empty(t, s.times("AbandonSignup"), "one of the two, never both")
		return
	}
	require.ErrorIs(t, proven.err, account.ErrInvalidCode)
	require.Empty(t, s.times("CompleteSignup"), "one of the two, never both")
}
