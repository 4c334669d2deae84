package account_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
)

// after is a subscription that has renewed so many times.
func after(t require.TestingT, renewals int, plan account.Plan, from time.Time) account.Subscription {
	s := account.NewSubscription{ID: "s", Plan: plan, MethodID: "pm"}.Open(from).After
	for {
		c, err := s.Paid(s.Invoice.ID, s.PeriodStart)
		require.NoError(t, err)
		if renewals--; renewals < 0 {
			return c.After
		}
		c, err = c.After.Renew(c.After.PeriodEnd)
		require.NoError(t, err)
		s = c.After
	}
}

func TestProration_OfPeriodsAtTheEndsOfMonths(t *testing.T) {
	t.Parallel()
	leap := time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)
	twoYears := premium
	twoYears.ID, twoYears.Interval, twoYears.Price.Amount = "dear annual", yearly, 2*annual.Price.Amount
	for name, c := range map[string]struct {
		s    account.Subscription
		to   account.Plan
		days int
	}{
		"the first one":             {after(t, 0, starter, start), premium, 28},
		"from February to its 31st": {after(t, 1, starter, start), premium, 31},
		"from the 31st to a 30th":   {after(t, 2, starter, start), premium, 30},
		"to a leap day":             {after(t, 3, annual, leap), twoYears, 366},
		"from a leap day":           {after(t, 4, annual, leap), twoYears, 365},
	} {
		whole := time.Duration(c.days) * 24 * time.Hour
		require.Equal(t, whole, c.s.PeriodEnd.Sub(c.s.PeriodStart), name)
		difference := c.to.Price.Amount - c.s.Plan.Price.Amount
		for part, want := range map[time.Duration]int64{0: difference, whole / 2: difference / 2, 3 * whole / 4: difference / 4} {
			p, err := c.s.Prorate(c.to, terms, c.s.PeriodStart.Add(part))
			require.NoError(t, err, name)
			require.True(t, p.Now, name)
			require.InDelta(t, want, p.Due.Amount, 1, "%s, after %v", name, part)
		}
	}
}

// TestProration_NeverGivesBackMoreThanWasPaid asks at any moment of any period, before and after a pause: what is left of the
// present plan is worth its price at most, and less the longer one waits.
func TestProration_NeverGivesBackMoreThanWasPaid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		interval := rapid.SampledFrom([]account.Interval{monthly, yearly, {Unit: account.IntervalMonth, Count: 3}}).Draw(t, "interval")
		other := yearly
		if interval == yearly {
			other = account.Interval{Unit: account.IntervalYear, Count: 2}
		}
		present, dearer := starter, premium
		present.Interval, dearer.Interval = interval, other
		dearer.Price.Amount = 1_000_000
		s := after(t, rapid.IntRange(0, 14).Draw(t, "renewals"), present, start.AddDate(0, 0, rapid.IntRange(-2, 40).Draw(t, "from")))
		part := func(name string) time.Time {
			return s.PeriodStart.Add(time.Duration(rapid.Int64Range(0, int64(s.PeriodEnd.Sub(s.PeriodStart))-1).Draw(t, name)))
		}
		unused := func(at time.Time) int64 {
			p, err := s.Prorate(dearer, terms, at)
			require.NoError(t, err)
			return dearer.Price.Amount - p.Due.Amount
		}
		first, second := part("one moment"), part("another")
		if second.Before(first) {
			first, second = second, first
		}
		require.LessOrEqual(t, unused(first), present.Price.Amount)
		require.GreaterOrEqual(t, unused(second), int64(0))
		require.LessOrEqual(t, unused(second), unused(first))

		c, err := s.Pause(account.PausedByOwner, nil, terms, first)
		require.NoError(t, err)
		away := time.Duration(rapid.IntRange(0, 300).Draw(t, "away")) * 24 * time.Hour
		before := unused(first)
		c, err = c.After.Resume(first.Add(away))
		require.NoError(t, err)
		s = c.After
		require.LessOrEqual(t, unused(first.Add(away)), present.Price.Amount)
		require.Equal(t, before, unused(first.Add(away)), "a pause neither costs nor pays")
	})
}

// On the last day of a period a dearer plan costs cents, which no provider charges.
func TestProration_OfLessThanCanBeChargedIsWaived(t *testing.T) {
	t.Parallel()
	rules := terms
	rules.MinCharge = 50
	s := after(t, 0, starter, start)
	cents := func(n int64) time.Time {
		return s.PeriodEnd.Add(-s.PeriodEnd.Sub(s.PeriodStart) * time.Duration(n) / 2000)
	}
	for due, want := range map[int64]int64{1: 0, 30: 0, 48: 0, 52: 52, 1000: 1000, 2000: 2000} {
		p, err := s.Prorate(premium, rules, cents(due))
		require.NoError(t, err)
		require.True(t, p.Now, "waived or paid, it comes at once")
		require.InDelta(t, want, p.Due.Amount, 1)
		c, err := s.ChangePlan(premium, cents(due), rules, cents(due))
		require.NoError(t, err)
		require.Equal(t, p.Due, c.Opened.Amount, "as it was shown")
		up := paid(t, c.After, cents(due)).After
		require.Equal(t, premium, up.Plan)
		require.Equal(t, s.PeriodEnd, up.PeriodEnd)
		renewed, err := up.Renew(up.PeriodEnd)
		require.NoError(t, err)
		require.Equal(t, premium.Price, renewed.Opened.Amount, "the next period is paid in full")
	}
	longer := annual
	longer.Price.Amount = 930
	longer.Interval = account.Interval{Unit: account.IntervalDay, Count: 20}
	p, err := s.Prorate(longer, rules, s.PeriodStart)
	require.NoError(t, err)
	require.True(t, p.Now)
	require.Zero(t, p.Due.Amount)
	p, err = s.Prorate(longer, terms, s.PeriodStart)
	require.NoError(t, err)
	require.Equal(t, int64(30), p.Due.Amount, "where no minimum is set")
}

func TestAPlanToComeOutlivesACancellationThatIsUndone(t *testing.T) {
	t.Parallel()
	s := after(t, 0, premium, start)
	c, err := s.ChangePlan(starter, start, terms, start)
	require.NoError(t, err)
	c, err = c.After.Cancel(start.Add(time.Hour))
	require.NoError(t, err)
	ended, err := c.After.Renew(s.PeriodEnd)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionCanceled, ended.After.Status)
	require.Nil(t, ended.After.NextPlan)
	require.Nil(t, ended.Opened)
	for _, to := range []account.Plan{starter, annual, trial} {
		_, err = c.After.ChangePlan(to, start, terms, start.Add(time.Hour))
		require.ErrorIs(t, err, account.ErrSubscriptionState)
	}

	kept, err := c.After.UndoCancel()
	require.NoError(t, err)
	renewed, err := kept.After.Renew(s.PeriodEnd)
	require.NoError(t, err)
	require.Equal(t, starter, renewed.After.Plan)
	require.Equal(t, starter.Price, renewed.Opened.Amount)

	stays, err := c.After.ChangePlan(premium, start, terms, start.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "plan_change_undone", stays.Event)
	require.True(t, stays.After.CancelAtPeriodEnd, "the present plan, until it ends")
}

// charging is a subscription whose renewal is being charged, cancelled meanwhile.
func charging(t *testing.T, plan account.Plan, free bool) account.Subscription {
	t.Helper()
	s := opened(plan, free)
	if !free {
		s = paid(t, s, start).After
	}
	c, err := s.Renew(s.PeriodEnd)
	require.NoError(t, err)
	c.After.Charging = true
	c, err = c.After.Cancel(c.After.PeriodStart.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, "cancellation_scheduled", c.Event)
	c.After.Charging = false
	return c.After
}

// A renewal that was not charged yet is not paid: nobody is charged for what is cancelled before.
func TestWhatIsCancelledBeforeItsRenewalIsChargedEndsAtOnce(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]account.Subscription{
		"a trial before": opened(trial, true), "paid before": paid(t, opened(starter, false), start).After,
	} {
		c, err := s.Renew(s.PeriodEnd)
		require.NoError(t, err, name)
		now := s.PeriodEnd.Add(time.Minute)
		c, err = c.After.Cancel(now)
		require.NoError(t, err, name)
		require.Equal(t, "canceled", c.Event, name)
		require.Equal(t, account.SubscriptionCanceled, c.After.Status, name)
		require.Equal(t, now, *c.After.EndedAt, name)
		require.Equal(t, account.InvoiceVoid, c.Settled.Status, name)
		require.Zero(t, c.Credits, name)
		require.Equal(t, s.TrialEnd, c.After.TrialEnd, "%s: that there was a trial is kept", name)
		action, _ := c.After.Next(terms)
		require.Equal(t, account.ActionNone, action, name)
	}
}

func TestWhatIsCancelledDuringItsChargeIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]account.Subscription{"paid before": charging(t, starter, false), "a trial before": charging(t, trial, true)} {
		now := s.PeriodStart.Add(time.Hour)
		c, err := s.Declined(s.Invoice.ID, 1, account.Decline{Code: "insufficient_funds"}, terms, now)
		require.NoError(t, err, name)
		require.Equal(t, "canceled", c.Event, name)
		require.Equal(t, account.SubscriptionCanceled, c.After.Status, name)
		require.Equal(t, account.InvoiceVoid, c.Settled.Status, name)
		require.Equal(t, now, *c.After.EndedAt, name)
		require.Equal(t, *s.CanceledAt, *c.After.CanceledAt, name)
		require.Nil(t, c.After.RetryAt, name)
		action, _ := c.After.Next(terms)
		require.Equal(t, account.ActionNone, action, name)

		kept := paid(t, s, now).After
		require.Equal(t, account.SubscriptionActive, kept.Status, name)
		require.True(t, kept.CancelAtPeriodEnd, "%s: what was paid is used up", name)
		undone, err := s.UndoCancel()
		require.NoError(t, err, name)
		c, err = undone.After.Declined(s.Invoice.ID, 1, account.Decline{Code: "insufficient_funds"}, terms, now)
		require.NoError(t, err, name)
		require.Equal(t, account.SubscriptionPastDue, c.After.Status, name)
	}
}

func TestAnUpgradeThatIsDeclinedLeavesWhatIsPaid(t *testing.T) {
	t.Parallel()
	s := after(t, 0, starter, start)
	half := start.Add(10 * 24 * time.Hour)
	c, err := s.ChangePlan(premium, half, terms, half)
	require.NoError(t, err)
	c, err = c.After.Cancel(half)
	require.NoError(t, err)
	c, err = c.After.Declined(c.After.Invoice.ID, 1, account.Decline{Code: "x"}, terms, half)
	require.NoError(t, err)
	require.Equal(t, "plan_change_declined", c.Event)
	require.Equal(t, account.SubscriptionActive, c.After.Status)
	require.True(t, c.After.CancelAtPeriodEnd)
}

func TestWhatIsNotPaidEndsAtOnceHoweverOftenItIsCancelled(t *testing.T) {
	t.Parallel()
	for _, status := range []account.SubscriptionStatus{account.SubscriptionPastDue, account.SubscriptionUnpaid} {
		s := after(t, 0, starter, start)
		s.Status, s.CancelAtPeriodEnd, s.CanceledAt = status, true, &start
		c, err := s.Cancel(start.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, account.SubscriptionCanceled, c.After.Status, status)
	}
	s := after(t, 0, starter, start)
	c, err := s.Cancel(start)
	require.NoError(t, err)
	c, err = c.After.Cancel(start)
	require.NoError(t, err)
	require.Empty(t, c.Event, "cancelled once, while it is paid")
}

// A price is good for the period that it was shown in: when the next has begun, the change costs something else.
func TestAPriceHoldsWithinItsPeriod(t *testing.T) {
	t.Parallel()
	for _, from := range []time.Time{start, start.Add(700 * time.Millisecond)} {
		s := after(t, 0, starter, from)
		shown := s.PeriodEnd.Add(-2 * time.Second).Truncate(time.Second)
		p, err := s.Prorate(premium, terms, shown)
		require.NoError(t, err)
		require.LessOrEqual(t, p.Due.Amount, int64(1))

		s = after(t, 1, starter, from)
		for _, at := range []time.Time{shown, s.PeriodStart.Add(-time.Second - time.Nanosecond)} {
			_, err = s.ChangePlan(premium, at, terms, s.PeriodStart.Add(30*time.Second))
			require.ErrorIs(t, err, account.ErrInvalid)
			require.Equal(t, "proration_time", account.AsError(err).Fields[0].Name)
		}
		first := s.PeriodStart.Truncate(time.Second)
		p, err = s.Prorate(premium, terms, first)
		require.NoError(t, err)
		require.Equal(t, int64(2000), p.Due.Amount)
		c, err := s.ChangePlan(premium, first, terms, s.PeriodStart.Add(30*time.Second))
		require.NoError(t, err, "shown in the period's first second")
		require.Equal(t, p.Due, c.Opened.Amount)
	}
}

// What people ask for is not charged long after; what the calendar asks for is.
func TestChargesThatComeTooLate(t *testing.T) {
	t.Parallel()
	rules := terms
	rules.LookUpAge = 20 * time.Hour
	for name, c := range map[string]struct {
		due    account.DueCharge
		waited time.Duration
		late   bool
	}{
		"a first one":                  {account.DueCharge{Status: account.SubscriptionIncomplete, PeriodEnd: start.Add(time.Hour)}, 23*time.Hour - 1, false},
		"a first one, late":            {account.DueCharge{Status: account.SubscriptionIncomplete, PeriodEnd: start.Add(1000 * time.Hour)}, 23 * time.Hour, true},
		"an upgrade":                   {account.DueCharge{Status: account.SubscriptionActive, Upgrade: true, PeriodEnd: start.Add(99 * time.Hour)}, 20*time.Hour - 1, false},
		"an upgrade, late":             {account.DueCharge{Status: account.SubscriptionActive, Upgrade: true, PeriodEnd: start.Add(99 * time.Hour)}, 20 * time.Hour, true},
		"an upgrade of the last hour":  {account.DueCharge{Status: account.SubscriptionActive, Upgrade: true, PeriodEnd: start.Add(time.Hour)}, time.Hour - 1, false},
		"an upgrade of a period ended": {account.DueCharge{Status: account.SubscriptionActive, Upgrade: true, PeriodEnd: start.Add(time.Hour)}, time.Hour, true},
		"a renewal":                    {account.DueCharge{Status: account.SubscriptionActive, PeriodEnd: start.Add(time.Hour)}, 9999 * time.Hour, false},
		"a retry":                      {account.DueCharge{Status: account.SubscriptionPastDue, PeriodEnd: start.Add(time.Hour)}, 9999 * time.Hour, false},
	} {
		c.due.DueAt = start
		require.Equal(t, c.late, rules.TooLate(c.due, start.Add(c.waited)), name)
	}
}
