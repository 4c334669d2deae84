package workflows_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"pgregory.net/rapid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
	"gatehouse/workflows/billingtest"
)

var billing = account.BillingRules{
	IncompleteTTL: 23 * time.Hour, DunningEnd: account.SubscriptionCanceled, PauseMax: 365 * 24 * time.Hour,
	Dunning: []time.Duration{24 * time.Hour, 72 * time.Hour, 120 * time.Hour, 168 * time.Hour},
}

var plansByID = map[string]account.Plan{
	"starter": {ID: "starter", Code: "starter", Family: "main", Price: account.Money{Amount: 900, Currency: "usd"}, Interval: account.Interval{Unit: account.IntervalMonth, Count: 1}, CreditsPerMonth: 2000},
	"premium": {ID: "premium", Code: "premium", Family: "main", Price: account.Money{Amount: 2900, Currency: "usd"}, Interval: account.Interval{Unit: account.IntervalMonth, Count: 1}, CreditsPerMonth: 10000},
	"tried":   {ID: "tried", Code: "tried", Family: "main", Price: account.Money{Amount: 1900, Currency: "usd"}, Interval: account.Interval{Unit: account.IntervalMonth, Count: 1}, TrialDays: 14},
	"annual":  {ID: "annual", Code: "annual", Family: "main", Price: account.Money{Amount: 30000, Currency: "usd"}, Interval: account.Interval{Unit: account.IntervalYear, Count: 1}, CreditsPerMonth: 10000},
}

// life plays a subscription across its runs in virtual time.
type life struct {
	*billingtest.Books
	t rapid.TB
	// keys are what payloads are encrypted with.
	keys *durable.Keyring
	// size is how long the flow is told that the history of each run is, in bytes.
	size int
	// plan is what happens when, counted from midnight.
	plan []happening
	runs int
	end  time.Time
	// prefer has changes of the flow be held; nil means that none is.
	prefer worker.PreferredVersionProvider
	// waited is how long a run was asked for before it is taken up.
	waited time.Duration
	// watch sees what ops could not.
	watch blind
	// dim is set where a request may be tried again after the end, when the details say nothing of what comes next.
	dim bool
	// ends are the moments at which a run ended: who asks at one of them meets nobody, and has to ask again.
	ends []time.Time
}

type happening struct {
	at  time.Duration
	do  func(*testsuite.TestWorkflowEnvironment)
	ran bool
}

func newLife(t *testing.T) *life {
	t.Helper()
	return &life{t: t, keys: testKeys(t), Books: &billingtest.Books{Plans: plansByID, Rules: billing}}
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// at does something at a virtual time, in whichever run that falls.
func (l *life) at(after time.Duration, do func(*testsuite.TestWorkflowEnvironment)) {
	l.plan = append(l.plan, happening{at: after, do: do})
}

// reply is what a request brought.
type reply struct {
	state    activities.SubscriptionState
	err      error
	answered bool
	// asked is when, zero for never.
	asked time.Time
	took  time.Duration
}

func (l *life) ask(after time.Duration, name string, arg any) *reply {
	got := &reply{}
	l.at(after, func(env *testsuite.TestWorkflowEnvironment) {
		got.asked = env.Now()
		finish := func(err error) {
			got.err, got.answered, got.took = durable.FromTemporal(err), true, env.Now().Sub(got.asked)
		}
		env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: finish,
			OnComplete: func(result any, err error) {
				if state, ok := result.(activities.SubscriptionState); ok {
					got.state = state
				}
				finish(err)
			},
		}, arguments(arg)...)
	})
	return got
}

func (l *life) change(after time.Duration, kind activities.SubscriptionCommandKind, r workflows.SubscriptionRequest) *reply {
	r.Key = uuid.NewString()
	return l.ask(after, string(kind), r)
}

// until plays the flow up to a virtual time, then cancels it; it returns how the flow ended by itself, if it did.
func (l *life) until(horizon time.Duration, planID string) (ended bool, err error) {
	l.t.Helper()
	input := workflows.SubscriptionFlow{
		SubscriptionID: "sub_1", Opening: &workflows.SubscriptionOpening{AccountID: owner, Generation: 1, PlanID: planID, MethodID: "pm_1"},
	}
	from := midnight
	for {
		l.runs++
		env := l.environment(from)
		for i := range l.plan {
			if h := &l.plan[i]; !h.ran {
				env.RegisterDelayedCallback(func() { h.ran = true; h.do(env) }, max(0, midnight.Add(h.at).Sub(from)))
			}
		}
		stopped := false
		env.RegisterDelayedCallback(func() { stopped = true; env.CancelWorkflow() }, max(0, midnight.Add(horizon).Sub(from)))
		env.ExecuteWorkflow(workflows.SubscriptionWorkflow, input)
		require.True(l.t, env.IsWorkflowCompleted())
		require.True(l.t, l.dim || len(l.watch.all()) == 0, "ops cannot see it: %v", l.watch.all())
		from, l.end = env.Now(), env.Now()
		l.ends = append(l.ends, l.end)
		err := env.GetWorkflowError()
		var again *workflow.ContinueAsNewError
		switch {
		case errors.As(err, &again):
			input = workflows.SubscriptionFlow{SubscriptionID: "sub_1"}
		case stopped && temporal.IsCanceledError(err):
			return false, nil
		default:
			return true, err
		}
	}
}

func (l *life) environment(from time.Time) *testsuite.TestWorkflowEnvironment {
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetDataConverter(l.keys.DataConverter())
	env.SetFailureConverter(l.keys.FailureConverter())
	env.SetWorkerOptions(worker.Options{Interceptors: interceptors(&l.watch, &waited{by: l.waited}), PreferredVersionProvider: l.prefer})
	env.SetStartTime(from)
	env.SetCurrentHistorySize(l.size)
	env.SetTestTimeout(20 * time.Second)
	env.RegisterActivity(l.Books)
	workflows.Register(env)
	l.Now = env.Now
	return env
}

func TestSubscription_TwoYears(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ size, runs int }{
		"short histories": {0, 9}, "nearly long": {12<<10 - 1, 9}, "long": {12 << 10, 23},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			l.size = c.size
			l.twoYears(t)
			require.Equal(t, c.runs, l.runs, "a run for each period once they are long, one for every three months before")
		})
	}
}

// A run of a yearly subscription is old with its first period.
func TestSubscription_YearsShareNoRun(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	ended, err := l.until(days(800), "annual")
	require.NoError(t, err)
	require.False(t, ended)
	require.Len(t, l.Paid, 3)
	require.Equal(t, 3, l.runs)
}

func (l *life) twoYears(t *testing.T) {
	t.Helper()
	opened := l.ask(time.Millisecond, workflows.SubscriptionOpen, nil)
	up := l.change(days(10), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "premium"})
	paused := l.change(days(100), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner})
	resumed := l.change(days(130), activities.CommandResume, workflows.SubscriptionRequest{})
	down := l.change(days(200), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "starter"})
	canceled := l.change(days(300), activities.CommandCancel, workflows.SubscriptionRequest{})
	kept := l.change(days(301), activities.CommandUndoCancel, workflows.SubscriptionRequest{})
	last := l.change(days(720), activities.CommandCancel, workflows.SubscriptionRequest{})
	ended, err := l.until(days(800), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	for name, r := range map[string]*reply{"open": opened, "up": up, "pause": paused, "resume": resumed, "down": down, "cancel": canceled, "keep": kept, "last": last} {
		require.True(t, r.answered, name)
		require.NoError(t, r.err, name)
	}
	require.Equal(t, account.SubscriptionActive, opened.state.Subscription.Status, "paid before the answer")
	require.Equal(t, "premium", up.state.Subscription.Plan.ID, "paid before the answer")
	require.Equal(t, "premium", down.state.Subscription.Plan.ID)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Len(t, l.Paid, 1+1+22, "one for the beginning, one for the upgrade, one a month but for the paused one")
	seen := map[time.Time]bool{}
	for _, i := range l.Paid {
		if i.Reason != account.InvoiceUpdate {
			require.False(t, seen[i.PeriodStart], "I-09")
			seen[i.PeriodStart] = true
		}
	}
	require.Contains(t, l.Mails, "subscription_cancellation")
	require.Equal(t, "subscription_ended", l.Mails[len(l.Mails)-1])
}

func TestSubscription_DunningEnds(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Reason == account.InvoiceCycle {
			return &account.Decline{Code: "insufficient_funds"}, nil
		}
		return nil, nil
	}
	ended, err := l.until(days(60), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Equal(t, midnight.AddDate(0, 1, 0).Add(168*time.Hour), l.Sub.EndedAt.Truncate(time.Minute))
	require.Len(t, l.Paid, 1)
	require.Equal(t, []string{
		"created", "paid", "renewed", "payment_declined", "payment_declined", "payment_declined", "payment_declined",
		"payment_declined", "canceled",
	}, l.Events)
}

func TestSubscription_AnotherMethodEndsDunning(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	method := "pm_1"
	l.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Reason == account.InvoiceCycle && l.Sub.MethodID == method {
			return &account.Decline{Code: "stolen_card", Hard: true}, nil
		}
		return nil, nil
	}
	changed := l.change(days(33), activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: "pm_2"})
	ended, err := l.until(days(40), "starter")
	require.NoError(t, err)
	require.False(t, ended)
	require.NoError(t, changed.err)
	require.Equal(t, account.SubscriptionActive, changed.state.Subscription.Status, "charged before the answer")
	require.Len(t, l.Paid, 2)
}

func TestSubscription_IncompleteExpires(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.Refuse = func(account.Invoice) (*account.Decline, error) { return &account.Decline{Code: "card_declined"}, nil }
	opened := l.ask(time.Millisecond, workflows.SubscriptionOpen, nil)
	ended, err := l.until(days(2), "starter")
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, account.SubscriptionIncomplete, opened.state.Subscription.Status)
	require.Equal(t, account.SubscriptionIncompleteExpired, l.Sub.Status)
	require.Equal(t, midnight.Add(23*time.Hour), l.Sub.EndedAt.Truncate(time.Minute))
}

func TestSubscription_UnknownOutcomeHoldsEverything(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	away := true
	l.Refuse = func(account.Invoice) (*account.Decline, error) {
		if away {
			return nil, errors.New("no answer")
		}
		return nil, nil
	}
	opened := l.ask(time.Millisecond, workflows.SubscriptionOpen, nil)
	cancel := l.change(time.Hour, activities.CommandCancelNow, workflows.SubscriptionRequest{})
	l.at(26*time.Hour, func(*testsuite.TestWorkflowEnvironment) { away = false })
	ended, err := l.until(days(3), "starter")
	require.NoError(t, err)
	require.False(t, ended)
	require.Equal(t, account.SubscriptionIncomplete, opened.state.Subscription.Status)
	require.Less(t, opened.took, 3*time.Second, "the request does not wait for ever")
	require.ErrorIs(t, cancel.err, account.ErrSubscriptionState)
	require.Equal(t, account.SubscriptionActive, l.Sub.Status)
	require.Len(t, l.Paid, 1)
}

func TestSubscription_DeclinedUpgradeChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Reason == account.InvoiceUpdate {
			return &account.Decline{Code: "card_declined"}, nil
		}
		return nil, nil
	}
	up := l.change(days(3), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "premium"})
	_, err := l.until(days(4), "starter")
	require.NoError(t, err)
	require.ErrorIs(t, up.err, account.ErrPaymentDeclined)
	require.Equal(t, "starter", l.Sub.Plan.ID)
	require.Contains(t, l.Mails, "subscription_change_declined")
	require.Equal(t, account.SubscriptionActive, l.Sub.Status)
}

// B20 with both, in one request: what is declined with the new card leaves the old one in use.
func TestSubscription_PlanAndMethodTogether(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.Refuse = func(account.Invoice) (*account.Decline, error) {
		if l.Sub.UpgradeMethodID == "pm_bad" || l.Sub.Upgrade == nil && l.Sub.MethodID != "pm_1" && l.Sub.MethodID != "pm_good" {
			return &account.Decline{Code: "card_declined"}, nil
		}
		return nil, nil
	}
	both := func(after time.Duration, plan, method string) *reply {
		return l.change(after, activities.CommandChangeBoth, workflows.SubscriptionRequest{PlanID: plan, MethodID: method})
	}
	declined := both(days(3), "premium", "pm_bad")
	var kept string
	l.at(days(4), func(*testsuite.TestWorkflowEnvironment) { kept = l.Sub.MethodID })
	up := both(days(40), "premium", "pm_good")
	_, err := l.until(days(70), "starter")
	require.NoError(t, err)
	require.ErrorIs(t, declined.err, account.ErrPaymentDeclined)
	require.Equal(t, "pm_1", kept)
	require.NoError(t, up.err)
	require.Equal(t, "premium", up.state.Subscription.Plan.ID)
	require.Equal(t, "pm_good", l.Sub.MethodID)
	require.Equal(t, []string{
		"created", "paid", "plan_change_started", "plan_change_declined", "renewed", "paid", "plan_change_started", "plan_changed", "renewed", "paid",
	}, l.Events)
	l = newLife(t)
	l.Attach = func() error {
		if l.Sub.ID != "" {
			return account.ErrNotFound
		}
		return nil
	}
	stolen := both(days(3), "premium", "pm_theirs")
	_, err = l.until(days(4), "starter")
	require.NoError(t, err)
	require.ErrorIs(t, stolen.err, account.ErrNotFound)
	require.Equal(t, []string{"created", "paid"}, l.Events, "neither is changed")
}

func TestSubscription_Refusals(t *testing.T) {
	t.Parallel()
	t.Run("plan", func(t *testing.T) {
		t.Parallel()
		l := newLife(t)
		opened := l.ask(0, workflows.SubscriptionOpen, nil)
		ended, err := l.until(days(1), "nonsense")
		require.NoError(t, err)
		require.True(t, ended)
		require.ErrorIs(t, opened.err, account.ErrUnknownPlan)
	})
	t.Run("method", func(t *testing.T) {
		t.Parallel()
		l := newLife(t)
		l.Attach = func() error { return account.ErrNotFound }
		opened := l.ask(0, workflows.SubscriptionOpen, nil)
		ended, err := l.until(days(1), "starter")
		require.NoError(t, err)
		require.True(t, ended)
		require.ErrorIs(t, opened.err, account.ErrNotFound)
	})
	t.Run("provider away", func(t *testing.T) {
		t.Parallel()
		l := newLife(t)
		l.Attach = func() error { return account.ErrUnavailable }
		opened := l.ask(0, workflows.SubscriptionOpen, nil)
		ended, err := l.until(days(1), "starter")
		require.NoError(t, err)
		require.True(t, ended, "refused: whoever asked will ask again")
		require.ErrorIs(t, opened.err, account.ErrUnavailable)
	})
	t.Run("database away", func(t *testing.T) {
		t.Parallel()
		l := newLife(t)
		const lost = 20 // tries: more than there are while somebody waits
		tries := 0
		l.Open = func() error {
			if tries++; tries <= lost {
				return account.ErrUnavailable
			}
			return nil
		}
		opened := l.ask(0, workflows.SubscriptionOpen, nil)
		ended, err := l.until(days(1), "starter")
		require.NoError(t, err)
		require.False(t, ended, "it may be there: it is not left without its flow")
		require.NoError(t, opened.err)
		require.Equal(t, lost+1, tries)
		require.Equal(t, account.SubscriptionActive, l.Sub.Status)
	})
	t.Run("states", func(t *testing.T) {
		t.Parallel()
		l := newLife(t)
		resume := l.change(days(1), activities.CommandResume, workflows.SubscriptionRequest{})
		later := midnight.Add(days(20))
		pause := l.change(days(2), activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner, ResumesAt: &later})
		plan := l.change(days(3), activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: "premium"})
		_, err := l.until(days(30), "starter")
		require.NoError(t, err)
		require.ErrorIs(t, resume.err, account.ErrSubscriptionState)
		require.NoError(t, pause.err)
		require.ErrorIs(t, plan.err, account.ErrSubscriptionState)
		require.Equal(t, account.SubscriptionActive, l.Sub.Status, "it went on by itself")
		require.Equal(t, []string{"created", "paid", "paused", "resumed"}, l.Events)
	})
}

func TestSubscription_EndsWithItsAccount(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.at(days(5), func(env *testsuite.TestWorkflowEnvironment) { env.SignalWorkflow(workflows.SubscriptionEnd, nil) })
	ended, err := l.until(days(60), "tried")
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, account.SubscriptionCanceled, l.Sub.Status)
	require.Empty(t, l.Paid, "a trial is not charged at its end")
}

func TestSubscription_TrialTurnsIntoPayment(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	_, err := l.until(days(15), "tried")
	require.NoError(t, err)
	require.Equal(t, []string{"trial_started", "renewed", "paid"}, l.Events)
	require.Equal(t, midnight.Add(days(14)), l.Paid[0].PeriodStart)
}
