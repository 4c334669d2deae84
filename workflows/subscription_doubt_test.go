package workflows_test

import (
	"slices"
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

// hold has changes of the flow be held, as the first deploy over another build does.
func (l *life) hold(changes ...string) {
	l.prefer = func(in worker.PreferredVersionProviderInput) *worker.VersionPreference {
		if !slices.Contains(changes, in.ChangeID) {
			return nil
		}
		return &worker.VersionPreference{Version: workflow.DefaultVersion}
	}
}

// losesAnswersTo has our database make every change of a kind, and nobody hear of it for a while.
func (l *life) losesAnswersTo(kind activities.SubscriptionCommandKind, from, silence time.Duration) {
	l.Changed = func(asked activities.SubscriptionCommandKind) error {
		if since := l.Now().Sub(midnight.Add(from)); asked == kind && since >= 0 && since < silence {
			return account.ErrUnavailable
		}
		return nil
	}
}

// A request that was served, and whose answer was lost: the flow goes on with what it has made.
func TestSubscription_ARequestWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
	for name, c := range map[string]struct {
		before func(*life)
		at     time.Duration
		kind   activities.SubscriptionCommandKind
		r      workflows.SubscriptionRequest
		// looked is when the books are looked at, events what there was by then; stale are those of a flow that does not know.
		looked        time.Duration
		events, stale []string
	}{
		"resumed": {
			before: func(l *life) {
				l.change(days(10), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner})
			},
			at: days(20), kind: activities.CommandResume, looked: days(45),
			events: []string{"created", "paid", "paused", "resumed", "renewed", "paid"},
			stale:  []string{"created", "paid", "paused", "resumed"},
		},
		"upgraded": {
			at: days(10), kind: activities.CommandChangePlan, r: workflows.SubscriptionRequest{PlanID: "premium"}, looked: days(11),
			events: []string{"created", "paid", "plan_change_started", "plan_changed"},
			stale:  []string{"created", "paid", "plan_change_started"},
		},
		"another card": {
			before: func(l *life) {
				l.Rules.DunningEnd = account.SubscriptionUnpaid
				l.Refuse = func(i account.Invoice) (*account.Decline, error) {
					if i.Reason == account.InvoiceCycle && l.Sub.MethodID == "pm_1" {
						return &account.Decline{Code: "stolen_card", Hard: true}, nil
					}
					return nil, nil
				}
			},
			at: renewal + days(10), kind: activities.CommandChangeMethod, r: workflows.SubscriptionRequest{MethodID: "pm_2"}, looked: renewal + days(11),
			events: []string{"created", "paid", "renewed", "payment_declined", "unpaid", "method_changed", "paid"},
			stale:  []string{"created", "paid", "renewed", "payment_declined", "unpaid", "method_changed"},
		},
		"canceled at once": {
			at: days(10), kind: activities.CommandCancelNow, looked: days(11),
			events: []string{"created", "paid", "canceled"}, stale: []string{"created", "paid", "canceled"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, held := range []bool{false, true} {
				l := newLife(t)
				want := c.events
				if held {
					l.hold(workflows.ChangeDoubtReloads)
					want = c.stale
				}
				if c.before != nil {
					c.before(l)
				}
				l.losesAnswersTo(c.kind, c.at, time.Minute)
				lost := l.change(c.at, c.kind, c.r)
				ended, err := l.until(c.looked, "starter")
				require.NoError(t, err)
				require.True(t, lost.answered)
				require.ErrorIs(t, lost.err, account.ErrOutcomeUnknown)
				require.Equal(t, want, l.Events, "held: %v", held)
				require.Equal(t, !held && l.Sub.Status.Ended(), ended)
			}
		})
	}
}

// The books are read for as long as our database takes; whoever asks meanwhile is not kept waiting for that.
func TestSubscription_InDoubtWithoutADatabase(t *testing.T) {
	const silence = 2 * time.Minute
	t.Parallel()
	l := newLife(t)
	l.change(days(10), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner})
	l.losesAnswersTo(activities.CommandResume, days(20), silence)
	reads := 0 // tries: more than there are while somebody waits
	l.Load = func() error {
		if reads++; l.Now().Before(midnight.Add(days(20) + silence)) {
			return account.ErrUnavailable
		}
		return nil
	}
	l.change(days(20), activities.CommandResume, workflows.SubscriptionRequest{})
	canceled := l.change(days(20)+silence/2, activities.CommandCancel, workflows.SubscriptionRequest{})
	ended, err := l.until(days(60), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.Greater(t, reads, 15)
	require.NoError(t, canceled.err)
	require.Less(t, canceled.took, time.Second)
	require.Equal(t, []string{"created", "paid", "paused", "resumed", "cancellation_scheduled", "canceled"}, l.Events)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.WithinDuration(t, midnight.AddDate(0, 1, 0).Add(days(10)), *l.Sub.EndedAt, time.Minute)
}

// Whoever is refused because the books say something else than the flow knows has it learn of that, and so has a look.
func TestSubscription_TheBooksSaySomethingElse(t *testing.T) {
	t.Parallel()
	repair := func(l *life) func(*testsuite.TestWorkflowEnvironment) {
		return func(*testsuite.TestWorkflowEnvironment) {
			_, err := l.ChangeSubscription(t.Context(), activities.SubscriptionCommand{
				Kind: activities.CommandPause, Key: "repair", Reason: account.PausedByOwner, At: l.Now(), ResumesAt: new(midnight.Add(days(20))),
			})
			require.NoError(l.t, err)
		}
	}
	for name, c := range map[string]struct {
		// held are changes that are held, ask brings the flow in doubt.
		held []string
		ask  func(*life) *reply
		want error
		// resumed is when it is, days for never.
		resumed time.Duration
	}{
		"refused": {
			ask: func(l *life) *reply {
				return l.change(days(12), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "premium"})
			},
			want: account.ErrSubscriptionState, resumed: days(20),
		},
		"refused, held": {
			held: []string{workflows.ChangeDoubtReloads},
			ask: func(l *life) *reply {
				return l.change(days(12), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "premium"})
			},
			want: account.ErrSubscriptionState,
		},
		"looked at": {
			held:    []string{workflows.ChangeDoubtReloads},
			ask:     func(l *life) *reply { return l.ask(days(12), workflows.SubscriptionLook, nil) },
			resumed: days(20),
		},
		"looked at, held": {
			held: []string{workflows.ChangeLookReloads},
			ask:  func(l *life) *reply { return l.ask(days(12), workflows.SubscriptionLook, nil) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			l.hold(c.held...)
			l.at(days(11), repair(l))
			asked := c.ask(l)
			_, err := l.until(days(25), "starter")
			require.NoError(t, err)
			require.True(t, asked.answered)
			require.ErrorIs(t, asked.err, c.want)
			if c.resumed == 0 {
				require.Equal(t, []string{"created", "paid", "paused"}, l.Events)
				return
			}
			require.Equal(t, []string{"created", "paid", "paused", "resumed"}, l.Events)
		})
	}
}

// A run that is about to end with its period does not end in doubt.
func TestSubscription_InDoubtAtTheEndOfARun(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.size = 1 << 20
	renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
	// The mail about the renewal keeps the run from ending at once.
	l.Post = func() error {
		if since := l.Now().Sub(midnight.Add(renewal)); since > -time.Minute && since < 20*time.Second {
			return account.ErrUnavailable
		}
		return nil
	}
	l.losesAnswersTo(activities.CommandCancelNow, renewal, time.Minute)
	lost := l.change(renewal+18*time.Second, activities.CommandCancelNow, workflows.SubscriptionRequest{})
	ended, err := l.until(days(40), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.True(t, lost.answered)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Equal(t, 1, l.runs)
	require.Contains(t, l.Mails, "subscription_ended")
}
