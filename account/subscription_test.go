package account_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
)

var (
	monthly = account.Interval{Unit: account.IntervalMonth, Count: 1}
	yearly  = account.Interval{Unit: account.IntervalYear, Count: 1}
	starter = account.Plan{ID: "starter", Family: "main", Price: account.Money{Amount: 900, Currency: "usd"}, Interval: monthly, CreditsPerMonth: 2000}
	premium = account.Plan{ID: "premium", Family: "main", Price: account.Money{Amount: 2900, Currency: "usd"}, Interval: monthly, CreditsPerMonth: 10000}
	annual  = account.Plan{ID: "annual", Family: "main", Price: account.Money{Amount: 30000, Currency: "usd"}, Interval: yearly, CreditsPerMonth: 10000}
	trial   = account.Plan{ID: "trial", Family: "main", Price: account.Money{Amount: 1900, Currency: "usd"}, Interval: monthly, TrialDays: 14}
	terms   = account.BillingRules{
		IncompleteTTL: 23 * time.Hour, DunningEnd: account.SubscriptionCanceled, PauseMax: 365 * 24 * time.Hour,
		Dunning: []time.Duration{24 * time.Hour, 72 * time.Hour, 120 * time.Hour, 168 * time.Hour},
	}
	start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
)

func opened(plan account.Plan, trial bool) account.Subscription {
	return account.NewSubscription{ID: "s", AccountID: uuid.New(), Plan: plan, MethodID: "pm", Trial: trial}.Open(start).After
}

func paid(t *testing.T, s account.Subscription, at time.Time) account.SubscriptionChange {
	t.Helper()
	require.NotNil(t, s.Invoice)
	c, err := s.Paid(s.Invoice.ID, at)
	require.NoError(t, err)
	return c
}

func TestPeriodsKeepTheDayOfTheirAnchor(t *testing.T) {
	t.Parallel()
	end := start
	for _, want := range []string{"2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"} {
		end = monthly.After(start, end)
		require.Equal(t, want, end.Format(time.DateOnly))
	}
	leap := time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)
	require.Equal(t, "2029-02-28", yearly.After(leap, leap).Format(time.DateOnly))
	require.Equal(t, "2032-02-29", yearly.After(leap, leap.AddDate(3, 6, 0)).Format(time.DateOnly))
}

func TestFirstPaymentActivates(t *testing.T) {
	t.Parallel()
	s := opened(starter, false)
	require.Equal(t, account.SubscriptionIncomplete, s.Status)
	action, _ := s.Next(terms)
	require.Equal(t, account.ActionCharge, action)
	c := paid(t, s, start)
	require.Equal(t, account.SubscriptionActive, c.After.Status)
	require.Equal(t, int64(2000), c.Credits)
	require.Equal(t, account.InvoicePaid, c.Settled.Status)
	action, due := c.After.Next(terms)
	require.Equal(t, account.ActionRenew, action)
	require.Equal(t, c.After.PeriodEnd, due)
}

func TestUnpaidBeginningsExpire(t *testing.T) {
	t.Parallel()
	c, err := opened(starter, false).Declined("in_s_1", 1, account.Decline{Code: "card_declined"}, terms, start)
	require.NoError(t, err)
	action, due := c.After.Next(terms)
	require.Equal(t, account.ActionExpire, action)
	require.Equal(t, start.Add(23*time.Hour), due)
	again, err := c.After.ChangeMethod("pm_2", start.Add(time.Hour))
	require.NoError(t, err)
	retry, at := again.After.Next(terms)
	require.Equal(t, account.ActionCharge, retry)
	require.Equal(t, start.Add(time.Hour), at)
	_, err = again.After.Expire(due)
	require.ErrorIs(t, err, account.ErrSubscriptionState, "not before the other method is tried")
	c, err = c.After.Expire(due)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionIncompleteExpired, c.After.Status)
	require.Equal(t, account.InvoiceVoid, c.Settled.Status)
}

func TestDunning(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	c, err := s.Renew(s.PeriodEnd)
	require.NoError(t, err)
	began := s.PeriodEnd
	now := began
	for _, wait := range terms.Dunning {
		c, err = c.After.Declined(c.After.Invoice.ID, c.After.Invoice.Attempt, account.Decline{Code: "insufficient_funds"}, terms, now)
		require.NoError(t, err)
		require.Equal(t, account.SubscriptionPastDue, c.After.Status)
		var action account.SubscriptionAction
		action, now = c.After.Next(terms)
		require.Equal(t, account.ActionCharge, action)
		require.Equal(t, began.Add(wait), now)
	}
	c, err = c.After.Declined(c.After.Invoice.ID, c.After.Invoice.Attempt, account.Decline{}, terms, now)
	require.NoError(t, err)
	action, due := c.After.Next(terms)
	require.Equal(t, account.ActionGiveUp, action)
	ended, err := c.After.GiveUp(terms, due)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionCanceled, ended.After.Status)
	require.Equal(t, account.InvoiceUncollectible, ended.Settled.Status)

	owing := terms
	owing.DunningEnd = account.SubscriptionUnpaid
	left, err := c.After.GiveUp(owing, due)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionUnpaid, left.After.Status)
	again, err := left.After.ChangeMethod("pm_2", due.AddDate(0, 3, 0))
	require.NoError(t, err)
	back := paid(t, again.After, due.AddDate(0, 3, 0)).After
	require.Equal(t, account.SubscriptionActive, back.Status)
	require.Equal(t, due.AddDate(0, 3, 0), back.PeriodStart, "months without service are not billed")
}

func TestHardDeclinesWaitForAnotherMethod(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	c, err := s.Renew(s.PeriodEnd)
	require.NoError(t, err)
	c, err = c.After.Declined(c.After.Invoice.ID, 1, account.Decline{Code: "stolen_card", Hard: true}, terms, s.PeriodEnd)
	require.NoError(t, err)
	action, due := c.After.Next(terms)
	require.Equal(t, account.ActionGiveUp, action)
	require.Equal(t, s.PeriodEnd.Add(168*time.Hour), due)
	again, err := c.After.ChangeMethod("pm_2", s.PeriodEnd.Add(time.Hour))
	require.NoError(t, err)
	action, due = again.After.Next(terms)
	require.Equal(t, account.ActionCharge, action)
	require.Equal(t, s.PeriodEnd.Add(time.Hour), due)
	require.Equal(t, 2, again.After.Invoice.Attempt)
}

func TestPausesKeepPaidTime(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	left := 24 * time.Hour
	pausedAt := s.PeriodEnd.Add(-left)
	c, err := s.Pause(account.PausedByOwner, nil, terms, pausedAt)
	require.NoError(t, err)
	_, err = c.After.Renew(s.PeriodEnd)
	require.ErrorIs(t, err, account.ErrSubscriptionState)
	back := pausedAt.AddDate(0, 2, 0)
	c, err = c.After.Resume(back)
	require.NoError(t, err)
	require.Equal(t, back.Add(left), c.After.PeriodEnd, "PAY-05: neither lost nor won")
}

func TestTrialsPauseWithTheirAccountAlone(t *testing.T) {
	t.Parallel()
	s := opened(trial, true)
	at := start.Add(24 * time.Hour)
	_, err := s.Pause(account.PausedByOwner, nil, terms, at)
	require.ErrorIs(t, err, account.ErrSubscriptionState)
	c, err := s.Pause(account.PausedDeactivation, nil, terms, at)
	require.NoError(t, err)
	c, err = c.After.Resume(at.Add(100 * 24 * time.Hour))
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionTrialing, c.After.Status)
	require.Equal(t, start.Add(114*24*time.Hour), *c.After.TrialEnd)
	require.Equal(t, *c.After.TrialEnd, c.After.PeriodEnd)
}

func TestADatedPauseDoesNotEndWhileTheAccountIsDeactivated(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	at, back := start.Add(24*time.Hour), start.Add(48*time.Hour)
	c, err := s.Pause(account.PausedByOwner, &back, terms, at)
	require.NoError(t, err)
	c, err = c.After.Pause(account.PausedDeactivation, nil, terms, at.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "paused", c.Event)
	require.Nil(t, c.After.ResumesAt)
	require.Equal(t, account.PausedByOwner, c.After.PauseReason, "the account's return does not end it")
	action, _ := c.After.Next(terms)
	require.Equal(t, account.ActionEnd, action)
	again, err := c.After.Pause(account.PausedDeactivation, nil, terms, at.Add(2*time.Hour))
	require.NoError(t, err)
	require.Empty(t, again.Event)
	c, err = c.After.Resume(at.Add(100 * 24 * time.Hour))
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionActive, c.After.Status)
}

func TestPlanChanges(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	half := s.PeriodStart.Add(s.PeriodEnd.Sub(s.PeriodStart) / 2)
	p, err := s.Prorate(premium, terms, half)
	require.NoError(t, err)
	require.True(t, p.Now)
	require.Equal(t, int64(1000), p.Due.Amount, "half of the difference")
	c, err := s.ChangePlan(premium, half, terms, half)
	require.NoError(t, err)
	require.Equal(t, starter, c.After.Plan, "not before it is paid")
	up := paid(t, c.After, half)
	require.Equal(t, premium, up.After.Plan)
	require.Equal(t, s.PeriodEnd, up.After.PeriodEnd)
	require.Equal(t, int64(4000), up.Credits)

	down, err := up.After.ChangePlan(starter, half, terms, half)
	require.NoError(t, err)
	require.Equal(t, premium, down.After.Plan)
	renewed, err := down.After.Renew(s.PeriodEnd)
	require.NoError(t, err)
	require.Equal(t, starter, renewed.After.Plan)
	require.Equal(t, int64(900), renewed.Opened.Amount.Amount)

	longer, err := s.ChangePlan(annual, half, terms, half)
	require.NoError(t, err)
	require.Equal(t, int64(30000-450), longer.Opened.Amount.Amount)
	onward := paid(t, longer.After, half).After
	require.Equal(t, half, onward.PeriodStart)
	require.Equal(t, yearly.After(half, half), onward.PeriodEnd)

	refused, err := c.After.Declined(c.After.Invoice.ID, 1, account.Decline{Code: "x"}, terms, half)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionActive, refused.After.Status)
	require.Nil(t, refused.After.Upgrade)
	euro := premium
	euro.Price.Currency = "eur"
	_, err = s.ChangePlan(euro, half, terms, half)
	require.ErrorIs(t, err, account.ErrInvalid)
}

// B20 with both: the method that comes with a dearer plan pays it, and takes over with it or not at all.
func TestPlanAndMethodChangeTogether(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	half := s.PeriodStart.Add(s.PeriodEnd.Sub(s.PeriodStart) / 2)
	change := func(s account.Subscription, plan account.Plan, method string) account.SubscriptionChange {
		t.Helper()
		c, err := s.ChangePlanAndMethod(plan, method, half, terms, half)
		require.NoError(t, err)
		return c
	}
	up := change(s, premium, "pm_2")
	require.Equal(t, "plan_change_started", up.Event)
	require.Equal(t, "pm", up.After.MethodID, "not before it has paid")
	require.Equal(t, "pm_2", up.After.UpgradeMethodID)
	refused, err := up.After.Declined(up.After.Invoice.ID, 1, account.Decline{Code: "card_declined"}, terms, half)
	require.NoError(t, err)
	nothing := refused.After
	nothing.Version = s.Version
	require.Equal(t, s, nothing, "nothing has changed")
	done := paid(t, up.After, half)
	require.Equal(t, "plan_changed", done.Event)
	require.Equal(t, premium, done.After.Plan)
	require.Equal(t, "pm_2", done.After.MethodID)
	require.Empty(t, done.After.UpgradeMethodID)
	ended, err := up.After.CancelNow(half)
	require.NoError(t, err)
	require.Empty(t, ended.After.UpgradeMethodID)
	alone, err := s.ChangePlan(premium, half, terms, half)
	require.NoError(t, err)
	require.Equal(t, "pm", paid(t, alone.After, half).After.MethodID)

	down := change(done.After, starter, "pm_3")
	require.Equal(t, "plan_change_scheduled", down.Event)
	require.Equal(t, done.After.Version+1, down.After.Version, "one change")
	require.Equal(t, "pm_3", down.After.MethodID, "nothing is paid for it now")
	require.Equal(t, starter, *down.After.NextPlan)
	back := change(down.After, premium, "pm_3")
	require.Equal(t, "plan_change_undone", back.Event)
	require.Nil(t, back.After.NextPlan)
	same := change(back.After, premium, "pm_2")
	require.Equal(t, "method_changed", same.Event)
	require.Empty(t, change(same.After, premium, "pm_2").Event)
	_, err = up.After.ChangePlanAndMethod(premium, "pm_3", half, terms, half)
	require.ErrorIs(t, err, account.ErrSubscriptionState, "another method while the first is charged")
	euro := premium
	euro.Price.Currency = "eur"
	_, err = s.ChangePlanAndMethod(euro, "pm_2", half, terms, half)
	require.ErrorIs(t, err, account.ErrInvalid)

	trying := change(opened(trial, true), premium, "pm_2")
	require.Equal(t, "plan_changed", trying.Event)
	require.Equal(t, premium, trying.After.Plan)
	require.Equal(t, "pm_2", trying.After.MethodID)
	owing, err := s.Renew(s.PeriodEnd)
	require.NoError(t, err)
	owing, err = owing.After.Declined(owing.After.Invoice.ID, 1, account.Decline{Hard: true}, terms, s.PeriodEnd)
	require.NoError(t, err)
	again := change(owing.After, starter, "pm_2")
	require.Equal(t, "method_changed", again.Event)
	require.NotNil(t, again.After.RetryAt, "what is owed is tried with it")
}

// B21 while a charge of what is not paid has no outcome: that decides.
func TestCancellationDuringACharge(t *testing.T) {
	t.Parallel()
	owing := terms
	owing.DunningEnd = account.SubscriptionUnpaid
	renewed := func() account.Subscription {
		s := paid(t, opened(starter, false), start).After
		c, err := s.Renew(s.PeriodEnd)
		require.NoError(t, err)
		c, err = c.After.Declined(c.After.Invoice.ID, 1, account.Decline{Hard: true}, owing, s.PeriodEnd)
		require.NoError(t, err)
		return c.After
	}
	unpaid := func() account.Subscription {
		s := renewed()
		_, due := s.Next(owing)
		c, err := s.GiveUp(owing, due)
		require.NoError(t, err)
		c, err = c.After.ChangeMethod("pm_2", due)
		require.NoError(t, err)
		return c.After
	}
	for name, s := range map[string]account.Subscription{"incomplete": opened(starter, false), "past due": renewed(), "unpaid": unpaid()} {
		require.NotEqual(t, account.SubscriptionActive, s.Status, name)
		now := s.PeriodEnd.Add(time.Hour)
		ended, err := s.Cancel(now)
		require.NoError(t, err, name)
		require.Equal(t, account.SubscriptionCanceled, ended.After.Status, "%s: nothing is charged, so it ends at once", name)
		s.Charging = true
		c, err := s.Cancel(now)
		require.NoError(t, err, name)
		require.Equal(t, "cancellation_scheduled", c.Event, name)
		require.Equal(t, s.Status, c.After.Status, name)
		require.Nil(t, c.Settled, name)
		again, err := c.After.Cancel(now)
		require.NoError(t, err, name)
		require.Empty(t, again.Event, name)

		declined, err := c.After.Declined(s.Invoice.ID, s.Invoice.Attempt, account.Decline{Code: "x"}, owing, now)
		require.NoError(t, err, name)
		require.Equal(t, account.SubscriptionCanceled, declined.After.Status, name)
		require.Equal(t, account.InvoiceVoid, declined.Settled.Status, name)
		served := paid(t, c.After, now).After
		require.Equal(t, account.SubscriptionActive, served.Status, name)
		require.True(t, served.CancelAtPeriodEnd, name)
		over, err := served.Renew(served.PeriodEnd)
		require.NoError(t, err, name)
		require.Equal(t, account.SubscriptionCanceled, over.After.Status, name)
		require.Nil(t, over.Opened, name)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	s := paid(t, opened(starter, false), start).After
	c, err := s.Cancel(start.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, c.After.CancelAtPeriodEnd)
	undone, err := c.After.UndoCancel()
	require.NoError(t, err)
	require.False(t, undone.After.CancelAtPeriodEnd)
	ended, err := c.After.Renew(s.PeriodEnd)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionCanceled, ended.After.Status)
	require.Nil(t, ended.Opened)
	_, err = ended.After.Cancel(s.PeriodEnd)
	require.ErrorIs(t, err, account.ErrSubscriptionState)
}

// ledger is what a payer would hold against us.
type ledger struct {
	paidTime, served time.Duration
	periods          map[time.Time]bool
}

// TestAnyLifeIsFair plays random requests at random moments, period edges among them: whatever happens, service stays
// within what was paid for (or granted as a trial, or as grace while dunning), no period is paid twice, and nothing moves
// once it is over.
func TestAnyLifeIsFair(t *testing.T) {
	t.Parallel()
	plans := []account.Plan{starter, premium, annual, trial}
	rapid.Check(t, func(t *rapid.T) {
		s := opened(rapid.SampledFrom(plans).Draw(t, "plan"), rapid.Bool().Draw(t, "trial"))
		now, book := start, ledger{periods: map[time.Time]bool{}}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			wait := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, 24 * time.Hour, 9 * 24 * time.Hour}).Draw(t, "wait")
			action, due := s.Next(terms)
			if action != account.ActionNone && !due.After(now.Add(wait)) || rapid.IntRange(0, 3).Draw(t, "idle") == 0 && action != account.ActionNone {
				book.serve(s, maxTime(now, due).Sub(now))
				now = maxTime(now, due)
				s = book.follow(t, s, action, now)
				continue
			}
			book.serve(s, wait)
			now = now.Add(wait)
			s = book.take(t, s, request(t, s, plans, now), now)
		}
		require.LessOrEqual(t, book.served, book.paidTime+time.Second, "service beyond what was paid")
	})
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (l *ledger) serve(s account.Subscription, d time.Duration) {
	if s.Status == account.SubscriptionActive {
		l.served += d
	}
}

// follow does what the subscription waits for.
func (l *ledger) follow(t *rapid.T, s account.Subscription, action account.SubscriptionAction, now time.Time) account.Subscription {
	var c account.SubscriptionChange
	var err error
	switch action {
	case account.ActionCharge:
		if rapid.IntRange(0, 2).Draw(t, "charged") > 0 {
			invoice := *s.Invoice
			c, err = s.Paid(invoice.ID, now)
			if invoice.Reason != account.InvoiceUpdate {
				require.False(t, l.periods[invoice.PeriodStart], "I-09: a period is paid once")
				l.periods[invoice.PeriodStart] = true
			}
			l.receive(s, c.After, invoice)
		} else {
			c, err = s.Declined(s.Invoice.ID, s.Invoice.Attempt, account.Decline{Hard: rapid.Bool().Draw(t, "hard")}, terms, now)
		}
	case account.ActionRenew:
		c, err = s.Renew(now)
	case account.ActionExpire:
		c, err = s.Expire(now)
	case account.ActionGiveUp:
		c, err = s.GiveUp(terms, now)
	case account.ActionResume:
		c, err = s.Resume(now)
	default:
		c, err = s.CancelNow(now)
	}
	require.NoError(t, err, action)
	require.NotEmpty(t, c.Event, action)
	return l.take(t, s, c, now)
}

// receive notes what time a paid invoice bought.
func (l *ledger) receive(before, after account.Subscription, i account.Invoice) {
	bought := i.PeriodEnd.Sub(i.PeriodStart)
	if i.Reason == account.InvoiceUpdate {
		bought = 0
		if after.PeriodEnd != before.PeriodEnd {
			bought = i.PeriodEnd.Sub(i.PeriodStart) - before.PeriodEnd.Sub(i.PeriodStart)
		}
	}
	l.paidTime += bought
}

// take checks a change, and returns what the subscription is then.
func (l *ledger) take(t *rapid.T, before account.Subscription, c account.SubscriptionChange, now time.Time) account.Subscription {
	if c.Event == "" {
		return before
	}
	after := c.After
	require.Equal(t, before.Version+1, after.Version)
	require.False(t, before.Status.Ended(), "what is over is over")
	require.GreaterOrEqual(t, c.Credits, int64(0))
	require.False(t, c.Credits > 0 && (c.Settled == nil || c.Settled.Status != account.InvoicePaid), "credits without payment")
	if c.Opened != nil {
		require.Nil(t, before.Invoice, "two open invoices")
		require.GreaterOrEqual(t, c.Opened.Amount.Amount, int64(0))
		require.True(t, c.Opened.PeriodEnd.After(c.Opened.PeriodStart))
	}
	if after.Status == account.SubscriptionPaused {
		require.Nil(t, after.Invoice)
	}
	require.True(t, after.PeriodEnd.After(after.PeriodStart))
	require.Equal(t, after.Status.Ended(), after.EndedAt != nil)
	require.False(t, after.UpgradeMethodID != "" && after.Upgrade == nil, "the method of a change goes with it")
	if c.Event == "plan_change_declined" {
		require.Equal(t, before.MethodID, after.MethodID)
	}
	return after
}

func request(t *rapid.T, s account.Subscription, plans []account.Plan, now time.Time) account.SubscriptionChange {
	var c account.SubscriptionChange
	var err error
	switch rapid.IntRange(0, 7).Draw(t, "request") {
	case 0:
		// A charge that is due may have been asked for.
		action, due := s.Next(terms)
		s.Charging = action == account.ActionCharge && !due.After(now) && rapid.Bool().Draw(t, "charging")
		c, err = s.Cancel(now)
		c.After.Charging = false
	case 1:
		c, err = s.UndoCancel()
	case 2:
		var at *time.Time
		if rapid.Bool().Draw(t, "dated") {
			later := now.Add(40 * 24 * time.Hour)
			at = &later
		}
		c, err = s.Pause(account.PausedByOwner, at, terms, now)
	case 3:
		c, err = s.Resume(now)
	case 4:
		c, err = s.ChangePlan(rapid.SampledFrom(plans).Draw(t, "to"), now, terms, now)
	case 5:
		c, err = s.ChangeMethod(rapid.SampledFrom([]string{"pm", "pm_2"}).Draw(t, "method"), now)
	case 6:
		plan, method := rapid.SampledFrom(plans).Draw(t, "to"), rapid.SampledFrom([]string{"pm", "pm_2"}).Draw(t, "method")
		c, err = s.ChangePlanAndMethod(plan, method, now, terms, now)
	default:
		if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
			c, err = s.CancelNow(now)
		}
	}
	var named *account.Error
	require.True(t, err == nil || errors.As(err, &named), "a refusal has a name")
	return c
}
