package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// askedAsDue asks for a change a moment before something is due, and has our database answer once it is.
func (l *life) askedAsDue(due time.Duration, kind activities.SubscriptionCommandKind, r workflows.SubscriptionRequest) *reply {
	fired := make(chan struct{})
	l.at(due-time.Second, func(env *testsuite.TestWorkflowEnvironment) {
		env.SetOnTimerFiredListener(func(string) {
			close(fired)
			env.SetOnTimerFiredListener(nil)
		})
		l.Change = func(asked activities.SubscriptionCommandKind) {
			if asked == kind {
				<-fired
			}
		}
	})
	return l.change(due-time.Millisecond, kind, r)
}

// Another card is being taken when the time for the first payment is over: it is charged.
func TestSubscription_AnotherMethodAsTheTimeIsUp(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	const asked, took = 23*time.Hour - 5*time.Second, 10 * time.Second
	l.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Attempt == 1 {
			return &account.Decline{Code: "card_declined"}, nil
		}
		return nil, nil
	}
	l.Attach = func() error {
		if since := l.Now().Sub(midnight.Add(asked)); since >= 0 && since < took {
			return account.ErrUnavailable
		}
		return nil
	}
	changed := l.change(asked, activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: "pm_2"})
	ended, err := l.until(days(2), "starter")
	require.NoError(t, err)
	require.False(t, ended)
	require.NoError(t, changed.err)
	require.Equal(t, account.SubscriptionActive, changed.state.Subscription.Status, "charged before the answer")
	require.Len(t, l.Paid, 1)
	require.Equal(t, 2, l.Paid[0].Attempt)
	require.Equal(t, []string{"created", "payment_declined", "method_changed", "paid"}, l.Events)
}

// A pause has taken too long while its owner's resumption is under way: it is resumed, and stays so.
func TestSubscription_ResumedAsThePauseIsTooLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held   bool
		status account.SubscriptionStatus
	}{
		"now":                       {false, account.SubscriptionActive},
		"while the change was held": {true, account.SubscriptionCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			if c.held {
				l.prefer = func(in worker.PreferredVersionProviderInput) *worker.VersionPreference {
					if in.ChangeID != workflows.ChangeRecheckDue {
						return nil
					}
					return &worker.VersionPreference{Version: workflow.DefaultVersion}
				}
			}
			due := days(10) + billing.PauseMax
			l.change(days(10), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner})
			resumed := l.askedAsDue(due, activities.CommandResume, workflows.SubscriptionRequest{})
			_, err := l.until(due+days(5), "starter")
			require.NoError(t, err)
			require.NoError(t, resumed.err)
			require.True(t, resumed.answered)
			require.Equal(t, account.SubscriptionActive, resumed.state.Subscription.Status)
			require.Equal(t, c.status, l.Sub.Status)
		})
	}
}

// A pause is over while its account is being deactivated: it goes on until the owner is back.
func TestSubscription_DeactivatedAsThePauseIsOver(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	due := days(20)
	resumes := midnight.Add(due)
	l.change(days(10), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner, ResumesAt: &resumes})
	paused := l.askedAsDue(due, activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedDeactivation})
	_, err := l.until(days(40), "starter")
	require.NoError(t, err)
	require.NoError(t, paused.err)
	require.True(t, paused.answered)
	require.Equal(t, account.SubscriptionPaused, l.Sub.Status)
	require.Nil(t, l.Sub.ResumesAt)
	require.Equal(t, []string{"created", "paid", "paused", "paused"}, l.Events)
}
