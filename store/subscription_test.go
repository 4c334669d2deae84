package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const starterPlan = "price_1RG2s1CxLzg0ytJK5K3V7hz6"

var (
	noon  = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	rules = account.BillingRules{
		IncompleteTTL: 23 * time.Hour, DunningEnd: account.SubscriptionCanceled, PauseMax: 365 * 24 * time.Hour,
		Dunning: []time.Duration{24 * time.Hour, 72 * time.Hour},
	}
)

// subscribed opens a subscription whose first invoice is open.
func (w world) subscribed(t *testing.T, email string) account.Subscription {
	t.Helper()
	n := w.newSubscription(t, w.member(t, email).AccountID, starterPlan)
	s, err := w.OpenSubscription(t.Context(), n, noon)
	require.NoError(t, err)
	return s
}

func (w world) newSubscription(t *testing.T, accountID uuid.UUID, plan string) account.NewSubscription {
	t.Helper()
	p, err := w.Plan(t.Context(), plan)
	require.NoError(t, err)
	return account.NewSubscription{
		ID: "sub_" + uuid.NewString(), AccountID: accountID, Generation: 1, Plan: p, MethodID: "pm_1", Trial: true,
	}
}

// settled charges the open invoice: decline nil means that it was paid.
func (w world) settled(ctx context.Context, s account.Subscription, decline *account.Decline, at time.Time) (account.SubscriptionChange, error) {
	i := *s.Invoice
	if _, err := w.BeginAttempt(ctx, "sandbox", i.ID, i.Attempt, nil); err != nil {
		return account.SubscriptionChange{}, err
	}
	o := store.Settlement{InvoiceID: i.ID, Attempt: i.Attempt, ProviderID: "ch_1", Decline: decline}
	return w.SettleAttempt(ctx, o, at, func(s account.Subscription) (account.SubscriptionChange, error) {
		if decline != nil {
			return s.Declined(i.ID, i.Attempt, *decline, rules, at)
		}
		return s.Paid(i.ID, at)
	})
}

func (w world) requireBillingInvariants(t *testing.T) {
	t.Helper()
	w.requireInvariants(t)
	for name, offenders := range map[string]string{
		"I-08 a paid invoice has one paid attempt": `invoices i WHERE (i.status = 'paid') <>
			((SELECT count(*) FROM payment_attempts t WHERE t.invoice_id = i.id AND t.state = 'succeeded') = 1)`,
		"I-10 events are the versions": `subscriptions s WHERE s.version <> (SELECT count(*) FROM subscription_events e WHERE e.subscription_id = s.id)`,
		"I-10 the last event tells the status": `subscriptions s WHERE s.status <>
			(SELECT status FROM subscription_events e WHERE e.subscription_id = s.id AND e.version = s.version)`,
		"what is over owes nothing": `invoices i JOIN subscriptions s ON s.id = i.subscription_id WHERE i.status = 'open' AND s.ended_at IS NOT NULL`,
	} {
		require.Zero(t, w.count(t, offenders), name)
	}
}

func TestSubscriptionFromOpeningToPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	require.Equal(t, account.SubscriptionIncomplete, s.Status)
	change, err := w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	require.Equal(t, "paid", change.Event)
	require.Equal(t, account.SubscriptionActive, change.After.Status)
	read, err := w.Subscription(t.Context(), s.ID)
	require.NoError(t, err)
	require.Equal(t, change.After, read, "what was written is what is read")
	p, err := w.PrincipalByAccount(t, s.AccountID)
	require.NoError(t, err)
	require.Equal(t, "starter", p.Subscription.Plan.Code)
	require.Equal(t, int64(100+2000), p.Credits.Balance)
	require.False(t, p.Credits.DiscountEligible)
	again, err := w.SettleAttempt(t.Context(), store.Settlement{InvoiceID: s.Invoice.ID, Attempt: 1}, noon, nil)
	require.NoError(t, err)
	require.Empty(t, again.Event, "a repetition changes nothing")
	require.Equal(t, account.SubscriptionActive, again.After.Status)
	w.requireBillingInvariants(t)
}

// PrincipalByAccount reads what /me shows, through a session made for it.
func (w world) PrincipalByAccount(t *testing.T, id uuid.UUID) (account.Principal, error) {
	t.Helper()
	session, err := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: id, Method: "test", TTL: time.Hour})
	require.NoError(t, err)
	return w.PrincipalBySession(t.Context(), session.ID)
}

func TestEveryFieldOfASubscriptionIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	premium, err := w.Plan(t.Context(), "premium_monthly")
	require.NoError(t, err)
	at := noon.Add(time.Hour)
	change, err := w.ChangeSubscription(t.Context(), s.ID, "all", at, func(s account.Subscription) (account.SubscriptionChange, error) {
		s.Version++
		s.Status, s.MethodID, s.CancelAtPeriodEnd, s.PauseReason = account.SubscriptionPaused, "pm_2", true, account.PausedByOwner
		s.TrialEnd, s.CanceledAt, s.PausedAt, s.ResumesAt, s.FirstDeclineAt, s.RetryAt = &at, &at, &at, &at, &at, &at
		s.NextPlan, s.Upgrade, s.UpgradeMethodID, s.Declines, s.Anchor = &premium, &premium, "pm_3", 3, at
		return account.SubscriptionChange{Event: "all", After: s}, nil
	})
	require.NoError(t, err)
	read, err := w.Subscription(t.Context(), s.ID)
	require.NoError(t, err)
	require.Equal(t, change.After, read)
}

func TestDeclinesAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	change, err := w.settled(t.Context(), s, &account.Decline{Code: "insufficient_funds"}, noon)
	require.NoError(t, err)
	require.Equal(t, 2, change.After.Invoice.Attempt)
	require.Equal(t, 2, one[int](t, w, `SELECT attempt FROM invoices`))
	require.Equal(t, "insufficient_funds", one[string](t, w, `SELECT decline_code FROM payment_attempts`))
	_, err = w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.ErrorIs(t, err, account.ErrNotFound, "the first charge is over")
	change, err = w.settled(t.Context(), change.After, nil, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionActive, change.After.Status)
	w.requireBillingInvariants(t)
}

// What is cancelled while its renewal is charged ends with the charge that is declined, in one transaction.
func TestADeclineEndsWhatWasCancelledMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	change, err := w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	renewal := change.After.PeriodEnd
	change, err = w.ChangeSubscription(t.Context(), s.ID, "renew", renewal, func(s account.Subscription) (account.SubscriptionChange, error) {
		return s.Renew(renewal)
	})
	require.NoError(t, err)
	renewed := change.After
	_, err = w.BeginAttempt(t.Context(), "sandbox", renewed.Invoice.ID, 1, nil)
	require.NoError(t, err)
	_, err = w.ChangeSubscription(t.Context(), s.ID, "cancel", renewal, func(s account.Subscription) (account.SubscriptionChange, error) {
		return s.Cancel(renewal)
	})
	require.NoError(t, err, "it touches nothing that is charged")
	change, err = w.settled(t.Context(), renewed, &account.Decline{Code: "insufficient_funds"}, renewal.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "canceled", change.Event)
	require.Equal(t, []string{"void", "declined", "canceled"}, []string{
		one[string](t, w, `SELECT status FROM invoices WHERE id = $1`, renewed.Invoice.ID),
		one[string](t, w, `SELECT state FROM payment_attempts WHERE invoice_id = $1`, renewed.Invoice.ID),
		one[string](t, w, `SELECT event FROM subscription_events ORDER BY version DESC LIMIT 1`),
	})
	w.requireBillingInvariants(t)
}

// B20 with both: the invoice of the dearer plan is charged to the method that came with it, and no other invoice ever is before.
func TestADearerPlanIsChargedToItsMethod(t *testing.T) {
	t.Parallel()
	for name, decline := range map[string]*account.Decline{"declined": {Code: "card_declined"}, "paid": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.subscribed(t, "ann@example.com")
			_, err := w.settled(t.Context(), s, nil, noon)
			require.NoError(t, err)
			premium, err := w.Plan(t.Context(), "premium_monthly")
			require.NoError(t, err)
			at := noon.Add(time.Hour)
			change, err := w.ChangeSubscription(t.Context(), s.ID, "both", at, func(s account.Subscription) (account.SubscriptionChange, error) {
				return s.ChangePlanAndMethod(premium, "pm_2", at, rules, at)
			})
			require.NoError(t, err)
			upgrade := change.After.Invoice
			change, err = w.settled(t.Context(), change.After, decline, at)
			require.NoError(t, err)
			want := "pm_2"
			require.Equal(t, want, one[string](t, w, `SELECT method_id FROM payment_attempts WHERE invoice_id = $1`, upgrade.ID))
			if decline != nil {
				want = "pm_1"
			}
			require.Equal(t, want, change.After.MethodID)
			require.Zero(t, w.count(t, `subscriptions WHERE upgrade_method_id IS NOT NULL`))
			// As a process from before the column leaves it.
			w.exec(t, `UPDATE subscriptions SET upgrade_method_id = 'pm_left'`)
			renewal := change.After.PeriodEnd
			change, err = w.ChangeSubscription(t.Context(), s.ID, "renew", renewal, func(s account.Subscription) (account.SubscriptionChange, error) {
				require.Empty(t, s.UpgradeMethodID)
				return s.Renew(renewal)
			})
			require.NoError(t, err)
			w.exec(t, `UPDATE subscriptions SET upgrade_method_id = 'pm_left'`)
			begun, err := w.BeginAttempt(t.Context(), "sandbox", change.After.Invoice.ID, 1, nil)
			require.NoError(t, err)
			require.Equal(t, want, begun.MethodID)
			w.requireBillingInvariants(t)
		})
	}
}

// B21 of what is not paid while a charge of it has no outcome: the books keep the wish, and the outcome decides.
func TestACancellationIsKeptWhileAFirstChargeHasNoOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cancel := func(s account.Subscription, key string) (account.SubscriptionChange, error) {
		return w.ChangeSubscription(t.Context(), s.ID, key, noon, func(s account.Subscription) (account.SubscriptionChange, error) {
			return s.Cancel(noon)
		})
	}
	for email, decline := range map[string]*account.Decline{"ann@example.com": {Code: "card_declined"}, "bob@example.com": nil} {
		s := w.subscribed(t, email)
		_, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
		require.NoError(t, err)
		change, err := cancel(s, "cancel")
		require.NoError(t, err)
		require.Equal(t, "cancellation_scheduled", change.Event)
		read, err := w.Subscription(t.Context(), s.ID)
		require.NoError(t, err)
		require.Equal(t, change.After, read)
		_, err = w.ChangeSubscription(t.Context(), s.ID, "now", noon, func(s account.Subscription) (account.SubscriptionChange, error) {
			return s.CancelNow(noon)
		})
		require.ErrorIs(t, err, account.ErrSubscriptionState, "nothing but its outcome ends a charge")
		change, err = w.settled(t.Context(), read, decline, noon)
		require.NoError(t, err)
		if decline != nil {
			require.Equal(t, account.SubscriptionCanceled, change.After.Status)
			continue
		}
		require.Equal(t, account.SubscriptionActive, change.After.Status)
		require.True(t, change.After.CancelAtPeriodEnd)
	}
	change, err := cancel(w.subscribed(t, "cy@example.com"), "cancel")
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionCanceled, change.After.Status, "nobody has asked for the money yet")
	w.requireBillingInvariants(t)
}

func TestAttemptsKeepWhatTheyBeganWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	first, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.False(t, first.Begun)
	w.exec(t, `UPDATE subscriptions SET method_id = 'pm_other'`)
	w.exec(t, `UPDATE payment_attempts SET created_at = now() - interval '1 day'`)
	again, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.True(t, again.Begun)
	require.Equal(t, first.Key, again.Key)
	require.Equal(t, "pm_1", again.MethodID)
	require.InDelta(t, 24*time.Hour, again.Age, float64(time.Minute))
	_, err = w.ChangeSubscription(t.Context(), s.ID, "expire", noon, func(s account.Subscription) (account.SubscriptionChange, error) {
		return s.Expire(noon)
	})
	require.ErrorIs(t, err, account.ErrSubscriptionState, "nothing but its outcome ends a charge")
	w.requireBillingInvariants(t)
}

func TestRefusedOpenings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.OpenSubscription(t.Context(), w.newSubscription(t, w.newcomer(t, "new@example.com").AccountID, starterPlan), noon)
	require.ErrorIs(t, err, account.ErrNotFound, "PRE-07: an unproven account binds no payment")
	s := w.subscribed(t, "ann@example.com")
	second := w.newSubscription(t, s.AccountID, "premium_monthly")
	second.Generation = 2
	_, err = w.OpenSubscription(t.Context(), second, noon)
	require.ErrorIs(t, err, account.ErrAlreadySubscribed)
	ended, current, err := w.Generation(t.Context(), s.AccountID, "main")
	require.NoError(t, err)
	require.Zero(t, ended)
	require.Equal(t, s.ID, *current)
	_, err = w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	_, err = w.ChangeSubscription(t.Context(), s.ID, "x", noon, func(s account.Subscription) (account.SubscriptionChange, error) { return s.CancelNow(noon) })
	require.ErrorIs(t, err, account.ErrSubscriptionState, "its charge has no outcome")
}

func TestRace_PAY01_OpenSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		id := w.member(t, uuid.NewString()+"@example.com").AccountID
		same := w.newSubscription(t, id, starterPlan)
		errs := race(crowd, func(i int) error {
			n := same
			if i%2 == 1 {
				n.ID = "sub_" + uuid.NewString()
			}
			_, err := w.OpenSubscription(t.Context(), n, noon)
			return err
		})
		require.Positive(t, winners(t, errs, account.ErrAlreadySubscribed), round)
		require.Equal(t, 1, w.count(t, `subscriptions WHERE account_id = $1`, id))
		require.Equal(t, 1, w.count(t, `invoices WHERE account_id = $1`, id))
	}
}

func TestRace_SettleAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		s := w.subscribed(t, uuid.NewString()+"@example.com")
		_, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
		require.NoError(t, err)
		events := make([]string, crowd)
		errs := race(crowd, func(i int) error {
			change, err := w.SettleAttempt(t.Context(), store.Settlement{InvoiceID: s.Invoice.ID, Attempt: 1, ProviderID: "ch"}, noon,
				func(s account.Subscription) (account.SubscriptionChange, error) { return s.Paid(s.Invoice.ID, noon) })
			events[i] = change.Event
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		paid := 0
		for _, event := range events {
			if event == "paid" {
				paid++
			}
		}
		require.Equal(t, 1, paid)
		w.requireBillingInvariants(t)
	}
}

// A cancellation and the beginning of a retry meet: either the charge is never asked for, or the cancellation is refused.
func TestRace_CancelAgainstBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		s := w.subscribed(t, uuid.NewString()+"@example.com")
		change, err := w.settled(t.Context(), s, &account.Decline{Code: "x"}, noon)
		require.NoError(t, err)
		begun := make([]bool, crowd)
		errs := race(crowd, func(i int) error {
			if i%2 == 0 {
				_, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, change.After.Invoice.Attempt, nil)
				begun[i] = err == nil
				return err
			}
			_, err := w.ChangeSubscription(t.Context(), s.ID, "cancel", noon, func(s account.Subscription) (account.SubscriptionChange, error) {
				return s.CancelNow(noon)
			})
			return err
		})
		winners(t, errs, account.ErrNotFound, account.ErrSubscriptionState)
		canceled := one[string](t, w, `SELECT status FROM subscriptions WHERE id = $1`, s.ID) == "canceled"
		pending := w.count(t, `payment_attempts WHERE invoice_id = $1 AND state = 'pending'`, s.Invoice.ID) > 0
		require.NotEqual(t, canceled, pending)
		w.requireBillingInvariants(t)
	}
}

func TestRace_PAY09_MethodsBelongToOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accounts := [2]uuid.UUID{w.member(t, "ann@example.com").AccountID, w.member(t, "bob@example.com").AccountID}
	for round := range *rounds {
		method := "pm_" + uuid.NewString()
		won := [2]int{}
		errs := race(crowd, func(i int) error {
			return w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "p", ID: method, AccountID: accounts[i%2], Customer: "cus"})
		})
		for i, err := range errs {
			if err == nil {
				won[i%2]++
				continue
			}
			require.ErrorIs(t, err, account.ErrNotFound, round)
		}
		require.True(t, won == [2]int{crowd / 2, 0} || won == [2]int{0, crowd / 2}, "%v", won)
		owner := accounts[0]
		if won[0] == 0 {
			owner = accounts[1]
		}
		for _, id := range accounts {
			customer, err := w.PayerOf(t.Context(), "p", method, id)
			if id != owner {
				require.ErrorIs(t, err, account.ErrNotFound)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, "cus", customer)
		}
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	plans, err := w.Plans(t.Context())
	require.NoError(t, err)
	require.Len(t, plans, 3)
	require.True(t, plans[0].Free)
	year := account.Plan{
		ID: "premium_yearly", Code: "premium", Name: "Premium", Family: "main", Price: account.Money{Amount: 29000, Currency: "usd"},
		Interval: account.Interval{Unit: account.IntervalYear, Count: 1}, CreditsPerMonth: 10000, TrialDays: 7, Features: []string{"a", "b, c"},
	}
	require.NoError(t, w.ApplyPlans(t.Context(), []account.Plan{plans[0], s.Plan, year}))
	read, err := w.Plan(t.Context(), year.ID)
	require.NoError(t, err)
	require.Equal(t, year, read)
	retired, err := w.Plan(t.Context(), "premium_monthly")
	require.NoError(t, err)
	require.True(t, retired.Retired)
	dearer := s.Plan
	dearer.Price.Amount++
	err = w.ApplyPlans(t.Context(), []account.Plan{year, dearer})
	require.ErrorContains(t, err, "add a plan instead")
	require.NotErrorIs(t, err, account.ErrUnavailable)
	year.Price.Amount++
	require.NoError(t, w.ApplyPlans(t.Context(), []account.Plan{year}), "nobody has it yet")
}

func TestInvoicesOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	found, err := w.InvoicesOf(t.Context(), s.AccountID, s.ID, 10)
	require.NoError(t, err)
	require.Equal(t, []account.Invoice{*s.Invoice}, found)
	first, err := w.InvoiceAt(t.Context(), s.ID, 1)
	require.NoError(t, err)
	require.Equal(t, *s.Invoice, first)
	change, err := w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	renewed, err := w.ChangeSubscription(t.Context(), s.ID, "renew", change.After.PeriodEnd,
		func(s account.Subscription) (account.SubscriptionChange, error) { return s.Renew(s.PeriodEnd) })
	require.NoError(t, err)
	paid, err := w.InvoiceAt(t.Context(), s.ID, change.After.Version)
	require.NoError(t, err)
	require.Equal(t, first.ID, paid.ID, "late news of a payment names what was paid")
	next, err := w.InvoiceAt(t.Context(), s.ID, renewed.After.Version)
	require.NoError(t, err)
	require.Equal(t, renewed.Opened.ID, next.ID)
	_, err = w.InvoicesOf(t.Context(), uuid.New(), s.ID, 10)
	require.ErrorIs(t, err, account.ErrNotFound)
	all, err := w.SubscriptionsOf(t.Context(), s.AccountID)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, s.Plan, all[0].Plan)
}

func TestAwaitedCharge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	attempt, err := w.BeginAttempt(t.Context(), "stripe", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	_, err = w.AwaitedCharge(t.Context(), attempt.Key, time.Minute)
	require.ErrorIs(t, err, account.ErrNotFound, "too young")
	w.exec(t, `UPDATE payment_attempts SET created_at = now() - interval '61 seconds'`)
	subscription, err := w.AwaitedCharge(t.Context(), attempt.Key, time.Minute)
	require.NoError(t, err)
	require.Equal(t, s.ID, subscription)
	_, err = w.AwaitedCharge(t.Context(), s.Invoice.ID+"/2", time.Minute)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	_, err = w.AwaitedCharge(t.Context(), attempt.Key, time.Minute)
	require.ErrorIs(t, err, account.ErrNotFound, "its outcome is known")
}
