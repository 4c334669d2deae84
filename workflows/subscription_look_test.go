package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// A hint of the provider ends the wait for the next attempt, which grows to ten minutes. Hints at any other time do nothing.
func TestSubscription_AHintAsksAtOnce(t *testing.T) {
	t.Parallel()
	for name, hinted := range map[string]bool{"hinted": true, "not hinted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			known := midnight.Add(3 * time.Hour)
			asked, paid := 0, time.Time{}
			l.Refuse = func(account.Invoice) (*account.Decline, error) {
				asked++
				if l.Now().Before(known) {
					return nil, errors.New("being processed")
				}
				paid = l.Now()
				return nil, nil
			}
			early := &reply{}
			if hinted {
				early = l.ask(time.Hour, workflows.SubscriptionLook, nil)
				l.ask(known.Sub(midnight)+time.Second, workflows.SubscriptionLook, nil)
			}
			late := l.ask(days(2), workflows.SubscriptionLook, nil)
			var before int
			l.at(time.Hour-time.Millisecond, func(*testsuite.TestWorkflowEnvironment) { before = asked })
			var after int
			l.at(time.Hour+time.Second, func(*testsuite.TestWorkflowEnvironment) { after = asked })

			ended, err := l.until(days(3), "starter")
			require.NoError(t, err)
			require.False(t, ended)
			require.Equal(t, account.SubscriptionActive, l.Sub.Status)
			require.Len(t, l.Paid, 1)
			require.Equal(t, []string{"created", "paid"}, l.Events)
			require.Equal(t, hinted, early.answered)
			require.NoError(t, early.err)
			require.True(t, late.answered)
			require.NoError(t, late.err)
			if hinted {
				require.Greater(t, after, before)
				require.WithinDuration(t, known.Add(time.Second), paid, time.Second)
			} else {
				require.Equal(t, before, after)
				require.True(t, paid.After(known.Add(10*time.Second)), "at its own pace")
			}
		})
	}
}

// A run whose period is over waits for the requests it has taken; one of those may wait for a charge of the run.
func TestSubscription_ARequestAtTheEndOfARunIsServed(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	renewal := midnight.AddDate(0, 1, 0)
	l.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Reason == account.InvoiceCycle && i.Attempt == 1 {
			return &account.Decline{Code: "stolen_card", Hard: true}, nil
		}
		return nil, nil
	}
	// The mail about the decline keeps the run from ending at once; the request that comes meanwhile outlasts the mail.
	away := func(d time.Duration) func() error {
		return func() error {
			if now := l.Now(); now.After(renewal.Add(-time.Minute)) && now.Before(renewal.Add(d)) {
				return account.ErrUnavailable
			}
			return nil
		}
	}
	l.Post, l.Attach = away(12*time.Second), away(16*time.Second)
	changed := l.change(renewal.Sub(midnight)+10*time.Second, activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: "pm_2"})
	_, err := l.until(days(40), "starter")
	require.NoError(t, err)
	require.True(t, changed.answered)
	require.NoError(t, changed.err)
	require.Equal(t, account.SubscriptionActive, changed.state.Subscription.Status, "it was charged before the answer")
	require.Len(t, l.Paid, 2)
}
