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
	"gatehouse/workflows/billingtest"
)

func end(env *testsuite.TestWorkflowEnvironment) { env.SignalWorkflow(workflows.SubscriptionEnd, nil) }

// An account may be closed at any moment of its subscription's life: what was not asked for yet is never asked for, and what
// was asked for has its outcome before the end.
func TestSubscription_EndsWithItsAccountAtAnyMoment(t *testing.T) {
	t.Parallel()
	renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
	soft := func(account.Invoice) (*account.Decline, error) { return &account.Decline{Code: "card_declined"}, nil }
	for name, c := range map[string]struct {
		at      time.Duration
		refuse  func(l *life) func(account.Invoice) (*account.Decline, error)
		charges int
	}{
		"while it is opened":        {at: 0, charges: 0},
		"while it renews":           {at: renewal, charges: 1},
		"after a declined first":    {at: time.Hour, refuse: func(*life) func(account.Invoice) (*account.Decline, error) { return soft }},
		"while a charge is lost":    {at: time.Hour, refuse: lostUntil(3 * time.Hour), charges: 1},
		"while a charge is unknown": {at: time.Hour, refuse: awayUntil(3 * time.Hour), charges: 1},
		"while a retry is lost":     {at: renewal + days(1) + time.Hour, refuse: retryLost(renewal), charges: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			if c.refuse != nil {
				l.Refuse = c.refuse(l)
			}
			l.at(c.at, end)
			ended, err := l.until(days(80), "starter")
			require.NoError(t, err)
			require.True(t, ended)
			require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
			require.Len(t, l.Ledger, c.charges)
			require.Len(t, l.Paid, c.charges, "I-08")
			require.Less(t, l.end.Sub(midnight), c.at+days(1), "as soon as it can")
		})
	}
}

// lostUntil has a provider that charges and whose answers are lost for a while.
func lostUntil(known time.Duration) func(l *life) func(account.Invoice) (*account.Decline, error) {
	return unknownUntil(known, billingtest.ErrLost)
}

// awayUntil has a provider that is away for a while.
func awayUntil(known time.Duration) func(l *life) func(account.Invoice) (*account.Decline, error) {
	return unknownUntil(known, errors.New("away"))
}

func unknownUntil(known time.Duration, err error) func(l *life) func(account.Invoice) (*account.Decline, error) {
	return func(l *life) func(account.Invoice) (*account.Decline, error) {
		return func(account.Invoice) (*account.Decline, error) {
			if l.Now().Before(midnight.Add(known)) {
				return nil, err
			}
			return nil, nil
		}
	}
}

// retryLost has the first charge of the renewal declined, and the answer of the second lost for two hours.
func retryLost(renewal time.Duration) func(l *life) func(account.Invoice) (*account.Decline, error) {
	return func(l *life) func(account.Invoice) (*account.Decline, error) {
		return func(i account.Invoice) (*account.Decline, error) {
			switch since := l.Now().Sub(midnight.Add(renewal)); {
			case i.Reason != account.InvoiceCycle:
				return nil, nil
			case since < time.Hour:
				return &account.Decline{Code: "insufficient_funds"}, nil
			case since < days(1)+2*time.Hour:
				return nil, errors.New("away")
			}
			return nil, nil
		}
	}
}

// A hint of the provider that comes while the flow waits to end does not let it end too soon.
func TestSubscription_AHintDoesNotEndACharge(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
	l.Refuse = retryLost(renewal)(l)
	l.at(renewal+days(1)+30*time.Minute, end)
	l.ask(renewal+days(1)+time.Hour, workflows.SubscriptionLook, nil)
	ended, err := l.until(days(40), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Len(t, l.Paid, 2)
	require.Len(t, l.Ledger, 2)
}

// A provider that is away holds up a change of the payment method for a moment only: a cancellation waits behind it.
func TestSubscription_CanceledWhileTheMethodCannotBeChanged(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	away := false
	l.Attach = func() error {
		if away {
			return account.ErrUnavailable
		}
		return nil
	}
	l.at(days(1), func(*testsuite.TestWorkflowEnvironment) { away = true })
	method := l.change(days(2), activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: "pm_2"})
	canceled := l.change(days(2)+time.Second, activities.CommandCancel, workflows.SubscriptionRequest{})
	l.at(days(3), func(*testsuite.TestWorkflowEnvironment) { away = false })
	again := l.change(days(4), activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: "pm_2"})
	_, err := l.until(days(10), "starter")
	require.NoError(t, err)
	require.ErrorIs(t, method.err, account.ErrUnavailable)
	require.NoError(t, canceled.err)
	require.Less(t, canceled.took, 30*time.Second)
	require.NoError(t, again.err)
}

// A payer who wants the end at once, while the first payment is declined.
func TestSubscription_CanceledWhileIncomplete(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.Refuse = func(account.Invoice) (*account.Decline, error) { return &account.Decline{Code: "card_declined"}, nil }
	canceled := l.change(time.Hour, activities.CommandCancel, workflows.SubscriptionRequest{})
	ended, err := l.until(days(2), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.NoError(t, canceled.err)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Empty(t, l.Ledger)
}

// So does one whose first charge has no outcome yet: the provider is away, and its owner has changed their mind.
func TestSubscription_CanceledDuringTheFirstCharge(t *testing.T) {
	t.Parallel()
	for name, decline := range map[string]*account.Decline{"declined": {Code: "card_declined"}, "paid": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			away := true
			l.Refuse = func(account.Invoice) (*account.Decline, error) {
				if away {
					return nil, errors.New("away")
				}
				return decline, nil
			}
			canceled := l.change(time.Hour, activities.CommandCancel, workflows.SubscriptionRequest{})
			again := l.change(90*time.Minute, activities.CommandCancel, workflows.SubscriptionRequest{})
			l.at(2*time.Hour, func(*testsuite.TestWorkflowEnvironment) { away = false })
			ended, err := l.until(days(40), "starter")
			require.NoError(t, err)
			require.True(t, ended)
			require.NoError(t, canceled.err)
			require.True(t, canceled.state.Subscription.CancelAtPeriodEnd)
			require.Equal(t, account.SubscriptionIncomplete, canceled.state.Subscription.Status)
			require.NoError(t, again.err)
			require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
			want := []string{"created", "cancellation_scheduled", "canceled"}
			if decline == nil {
				want = []string{"created", "cancellation_scheduled", "paid", "canceled"}
				require.Equal(t, midnight.AddDate(0, 1, 0), l.Sub.EndedAt.Truncate(time.Minute), "with the period that was paid")
			}
			require.Equal(t, want, l.Events)
		})
	}
}

// A renewal has no outcome yet when its owner cancels, and then it is declined: nothing is tried again.
func TestSubscription_CanceledDuringACharge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		decline *account.Decline
		paid    int
		events  []string
		mail    string
	}{
		"declined": {&account.Decline{Code: "insufficient_funds"}, 1, []string{"created", "paid", "renewed", "cancellation_scheduled", "canceled"}, "subscription_ended"},
		"paid":     {nil, 2, []string{"created", "paid", "renewed", "cancellation_scheduled", "paid"}, "subscription_paid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			away := true
			l.Refuse = func(i account.Invoice) (*account.Decline, error) {
				if i.Reason != account.InvoiceCycle {
					return nil, nil
				}
				if away {
					return nil, errors.New("away")
				}
				return c.decline, nil
			}
			renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
			canceled := l.change(renewal+time.Hour, activities.CommandCancel, workflows.SubscriptionRequest{})
			l.at(renewal+2*time.Hour, func(*testsuite.TestWorkflowEnvironment) { away = false })
			again := l.change(renewal+days(2), activities.CommandCancel, workflows.SubscriptionRequest{})
			ended, err := l.until(renewal+days(10), "starter")
			require.NoError(t, err)
			require.NoError(t, canceled.err)
			require.True(t, canceled.state.Subscription.CancelAtPeriodEnd)
			require.Equal(t, c.decline != nil, ended)
			require.Equal(t, c.decline == nil, again.answered && again.err == nil)
			require.Equal(t, c.events, l.Events)
			require.Equal(t, c.mail, l.Mails[len(l.Mails)-1])
			require.NotContains(t, l.Mails, "subscription_declined", "nobody is asked for another card")
			require.Len(t, l.Paid, c.paid)
			require.Len(t, l.Ledger, c.paid)
		})
	}
}

// A renewal is due, and no charge of it was begun: its owner ends it, by either way, and is not charged.
func TestSubscription_CanceledBeforeARenewalIsCharged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind    activities.SubscriptionCommandKind
		begun   bool
		held    []string
		refused error
	}{
		"with its period":            {kind: activities.CommandCancel},
		"at once":                    {kind: activities.CommandCancelNow},
		"at once, charged":           {kind: activities.CommandCancelNow, begun: true, refused: account.ErrSubscriptionState},
		"at once, while it was held": {kind: activities.CommandCancelNow, held: []string{workflows.ChangeCancelUncharged}, refused: account.ErrSubscriptionState},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			l.hold(c.held...)
			renewal := midnight.AddDate(0, 1, 0).Sub(midnight)
			back := renewal + 2*time.Hour
			away := func() error {
				if since := l.Now().Sub(midnight); since >= renewal && since < back {
					return account.ErrUnavailable
				}
				return nil
			}
			if c.begun {
				l.Refuse = func(account.Invoice) (*account.Decline, error) { return nil, away() }
			} else {
				l.Begin = away
			}
			canceled := l.change(renewal+time.Hour, c.kind, workflows.SubscriptionRequest{})
			ended, err := l.until(renewal+days(10), "starter")
			require.NoError(t, err)
			require.True(t, canceled.answered)
			require.ErrorIs(t, canceled.err, c.refused)
			require.Less(t, canceled.took, 5*time.Second)
			if c.refused != nil {
				require.False(t, ended)
				require.Equal(t, []string{"created", "paid", "renewed", "paid"}, l.Events)
				return
			}
			require.True(t, ended)
			require.Equal(t, account.SubscriptionCanceled, canceled.state.Subscription.Status)
			require.Equal(t, []string{"created", "paid", "renewed", "canceled"}, l.Events)
			require.Len(t, l.Ledger, 1)
		})
	}
}
