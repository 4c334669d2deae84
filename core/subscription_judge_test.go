package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
)

// errReached is what a request meets that was found good: nobody answers where the flows should be.
var errReached = account.ErrUnavailable

const premium = "premium_monthly"

// shop is a world with payers in it.
type shop struct{ world }

func newShop(t *testing.T) shop {
	t.Helper()
	s := shop{newWorld(t)}
	s.Billing = account.BillingRules{
		JoinWindow: time.Minute, IncompleteTTL: 23 * time.Hour, PauseMax: 365 * 24 * time.Hour, Dunning: []time.Duration{time.Hour},
	}
	retired := account.Plan{ID: "old", Code: "old", Name: "Old", Price: account.Money{Amount: 500}, Retired: true}
	extra := account.Plan{ID: "extra", Code: "extra", Name: "Extra", Family: "extra", Price: account.Money{Amount: 500}}
	all, err := s.Store.Plans(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Store.ApplyPlans(t.Context(), append(all, retired.WithDefaults(), extra.WithDefaults())))
	return s
}

func (s shop) payer(t *testing.T, email string) account.Caller {
	t.Helper()
	s.member(t, email)
	_, by := s.login(t, email)
	return by
}

// sold is a subscription of the caller whose first charge was paid, or declined.
func (s shop) sold(t *testing.T, by account.Caller, planID string, paid bool) account.Subscription {
	t.Helper()
	plan, err := s.Store.Plan(t.Context(), planID)
	require.NoError(t, err)
	owner, now := by.Principal.Account.ID, s.clock.Now().UTC().Truncate(time.Microsecond)
	method := store.PaymentMethod{Provider: "sandbox", ID: "pm_" + uuid.NewString(), Shown: "pm_card_visa", AccountID: owner}
	require.NoError(t, s.Store.KeepPaymentMethod(t.Context(), method))
	opened, err := s.Store.OpenSubscription(t.Context(), account.NewSubscription{
		ID: s.subscriptionID(owner, plan.Family, 1), AccountID: owner, Generation: 1, Plan: plan, MethodID: method.ID,
	}, now)
	require.NoError(t, err)
	_, err = s.Store.BeginAttempt(t.Context(), "sandbox", opened.Invoice.ID, 1, nil)
	require.NoError(t, err)
	o := store.Settlement{InvoiceID: opened.Invoice.ID, Attempt: 1}
	if !paid {
		o.Decline = &account.Decline{Code: "card_declined"}
	}
	c, err := s.Store.SettleAttempt(t.Context(), o, now, func(sub account.Subscription) (account.SubscriptionChange, error) {
		if !paid {
			return sub.Declined(o.InvoiceID, 1, *o.Decline, s.Billing, now)
		}
		return sub.Paid(o.InvoiceID, now)
	})
	require.NoError(t, err)
	return c.After
}

func TestSubscribe_JudgesBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	by := s.payer(t, "ann@example.com")
	_, err := s.Subscribe(t.Context(), account.Caller{}, SubscribeInput{PlanID: premium, MethodID: "pm_card_visa"})
	require.ErrorIs(t, err, account.ErrUnauthorized)
	unproven := by
	unproven.Principal = new(*by.Principal)
	unproven.Principal.Account.EmailVerified = false
	_, err = s.Subscribe(t.Context(), unproven, SubscribeInput{PlanID: premium, MethodID: "pm_card_visa"})
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	_, err = s.Subscribe(t.Context(), unproven, SubscribeInput{})
	require.ErrorIs(t, err, account.ErrInvalid, "the body comes before the account's state")
	_, err = s.ChangeSubscription(t.Context(), unproven, ChangeSubscriptionInput{ID: "sub_1"})
	require.ErrorIs(t, err, account.ErrInvalid)
	_, err = s.PauseSubscription(t.Context(), unproven, PauseSubscriptionInput{ID: "sub_1", ResumesAt: new("soon")})
	require.ErrorIs(t, err, account.ErrInvalid)
	_, err = s.PreviewChange(t.Context(), unproven, PreviewInput{ID: "sub_1", PlanID: premium})
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	_, err = s.Subscribe(t.Context(), by, SubscribeInput{PlanID: "", MethodID: "a b"})
	require.ErrorIs(t, err, account.ErrInvalid)
	require.Len(t, account.AsError(err).Fields, 2, "all faults together")
	for _, plan := range []string{"nonsense", "free", "old"} {
		_, err = s.Subscribe(t.Context(), by, SubscribeInput{PlanID: plan, MethodID: "pm_card_visa"})
		require.ErrorIs(t, err, account.ErrUnknownPlan, plan)
	}
	_, err = s.Subscribe(t.Context(), by, SubscribeInput{PlanID: premium, MethodID: "pm_card_visa"})
	require.ErrorIs(t, err, errReached)
}

// conventions 6: a pause that can end at no time is told so before anything is looked up.
func TestPauseSubscription_JudgesTheEndFirst(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann := s.payer(t, "ann@example.com")
	own := s.sold(t, ann, premium, true)
	now := s.clock.Now()
	again := ann
	again.IdempotencyKey = "key"
	back := now.Add(time.Hour)
	pause := func(by account.Caller, id string, at time.Time) error {
		_, err := s.PauseSubscription(t.Context(), by, PauseSubscriptionInput{ID: id, ResumesAt: new(at.Format(time.RFC3339Nano))})
		return err
	}
	for _, at := range []time.Time{now.Add(-time.Second), now.Add(s.Billing.PauseMax + time.Hour)} {
		for _, id := range []string{"sub_unknown", own.ID, "\x00"} {
			require.ErrorIs(t, pause(ann, id, at), account.ErrInvalid, id)
			require.ErrorIs(t, pause(again, id, at), account.ErrInvalid, id)
		}
	}
	require.ErrorIs(t, pause(ann, "sub_unknown", back), account.ErrNotFound)
	_, err := s.Store.ChangeSubscription(t.Context(), own.ID, commandKey(again, activities.CommandPause), now,
		func(sub account.Subscription) (account.SubscriptionChange, error) {
			return sub.Pause(account.PausedByOwner, &back, s.Billing, now)
		})
	require.NoError(t, err)
	s.clock.ahead = 2 * time.Hour
	require.ErrorIs(t, pause(again, own.ID, back), errReached, "its flow knows the rest")
	require.ErrorIs(t, pause(ann, own.ID, back), account.ErrInvalid, "another request is judged")
}

func TestSubscribe_JoinsWhatThereIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		paid   bool
		later  time.Duration
		plan   string
		method string
		want   error
	}{
		"again at once":                 {paid: true, plan: premium, method: "pm_card_visa"},
		"again too late":                {paid: true, later: 2 * time.Minute, plan: premium, method: "pm_card_visa", want: account.ErrAlreadySubscribed},
		"another plan":                  {paid: true, plan: starterPlan, method: "pm_card_visa", want: account.ErrAlreadySubscribed},
		"another method":                {paid: true, plan: premium, method: "pm_card_mastercard", want: account.ErrAlreadySubscribed},
		"another family":                {paid: true, plan: "extra", method: "pm_card_visa", want: errReached},
		"declined, again at once":       {plan: premium, method: "pm_card_visa"},
		"declined, again after a while": {later: 2 * time.Minute, plan: premium, method: "pm_card_visa", want: errReached},
		"declined, another method":      {plan: premium, method: "pm_card_mastercard", want: errReached},
		"declined, another plan":        {plan: starterPlan, method: "pm_card_visa", want: account.ErrAlreadySubscribed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			by := s.payer(t, "ann@example.com")
			first := s.sold(t, by, premium, c.paid)
			s.clock.ahead = c.later
			got, err := s.Subscribe(t.Context(), by, SubscribeInput{PlanID: c.plan, MethodID: c.method})
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, first.ID, got.ID)
			require.Equal(t, first.Version, got.Version)
		})
	}
}

const starterPlan = "price_1RG2s1CxLzg0ytJK5K3V7hz6"

func TestSubscriptionIDs(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann, bob := uuid.New(), uuid.New()
	seen := map[string]bool{}
	for _, id := range []string{
		s.subscriptionID(ann, "main", 1), s.subscriptionID(ann, "main", 2), s.subscriptionID(ann, "extra", 1), s.subscriptionID(bob, "main", 1),
	} {
		require.Regexp(t, `^sub_[a-z2-7]{24}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
	first := s.subscriptionID(ann, "main", 1)
	require.Equal(t, first, s.subscriptionID(ann, "main", 1), "requests at the same moment meet")
}

func TestChangeSubscription_Order(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann, bob := s.payer(t, "ann@example.com"), s.payer(t, "bob@example.com")
	own := s.sold(t, ann, premium, true)
	s.clock.ahead = 5 * time.Minute
	text := func(v string) *string { return &v }
	moment := func(ago time.Duration) *string { return text(s.clock.Now().Add(-ago).UTC().Format(time.RFC3339)) }
	for name, c := range map[string]struct {
		by   account.Caller
		in   ChangeSubscriptionInput
		want error
	}{
		"nobody":                  {in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan)}, want: account.ErrUnauthorized},
		"nothing to change":       {by: ann, in: ChangeSubscriptionInput{ID: own.ID}, want: account.ErrInvalid},
		"a malformed plan":        {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text("a b")}, want: account.ErrInvalid},
		"a malformed method":      {by: ann, in: ChangeSubscriptionInput{ID: own.ID, MethodID: text("")}, want: account.ErrInvalid},
		"no moment":               {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), ProrationTime: text("now")}, want: account.ErrInvalid},
		"a moment to come":        {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), ProrationTime: moment(-time.Hour)}, want: account.ErrInvalid},
		"a moment long ago":       {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), ProrationTime: moment(time.Hour)}, want: account.ErrInvalid},
		"a moment of no period":   {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), ProrationTime: moment(7 * time.Minute)}, want: account.ErrInvalid},
		"a moment just now":       {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), ProrationTime: moment(time.Minute)}, want: errReached},
		"somebody else's":         {by: bob, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text("nonsense")}, want: account.ErrNotFound},
		"none":                    {by: ann, in: ChangeSubscriptionInput{ID: "sub_none", PlanID: text(starterPlan)}, want: account.ErrNotFound},
		"no id at all":            {by: ann, in: ChangeSubscriptionInput{ID: "\x00", PlanID: text(starterPlan)}, want: account.ErrNotFound},
		"an unknown plan":         {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text("nonsense")}, want: account.ErrUnknownPlan},
		"a plan of another kind":  {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text("extra")}, want: account.ErrInvalid},
		"not by halves":           {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text("old"), MethodID: text("pm_card_visa")}, want: account.ErrUnknownPlan},
		"the present plan":        {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(premium)}, want: errReached},
		"another plan and method": {by: ann, in: ChangeSubscriptionInput{ID: own.ID, PlanID: text(starterPlan), MethodID: text("pm_2")}, want: errReached},
	} {
		_, err := s.ChangeSubscription(t.Context(), c.by, c.in)
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestSubscription_OthersSeeNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann, bob := s.payer(t, "ann@example.com"), s.payer(t, "bob@example.com")
	own := s.sold(t, ann, premium, true)
	id := SubscriptionInput{ID: own.ID}
	for name, ask := range map[string]func(account.Caller) error{
		"cancel": func(by account.Caller) error {
			_, err := s.CancelSubscription(t.Context(), by, CancelSubscriptionInput{ID: own.ID})
			return err
		},
		"keep":   func(by account.Caller) error { _, err := s.KeepSubscription(t.Context(), by, id); return err },
		"resume": func(by account.Caller) error { _, err := s.ResumeSubscription(t.Context(), by, id); return err },
		"pause": func(by account.Caller) error {
			_, err := s.PauseSubscription(t.Context(), by, PauseSubscriptionInput{ID: own.ID})
			return err
		},
	} {
		require.ErrorIs(t, ask(account.Caller{}), account.ErrUnauthorized, name)
		require.ErrorIs(t, ask(bob), account.ErrNotFound, name)
		require.ErrorIs(t, ask(ann), errReached, name)
	}
	_, err := s.Invoices(t.Context(), bob, id)
	require.ErrorIs(t, err, account.ErrNotFound)
	invoices, err := s.Invoices(t.Context(), ann, id)
	require.NoError(t, err)
	require.Len(t, invoices, 1)
	_, err = s.PreviewChange(t.Context(), bob, PreviewInput{ID: own.ID, PlanID: "nonsense"})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = s.PreviewChange(t.Context(), ann, PreviewInput{ID: own.ID, PlanID: "nonsense"})
	require.ErrorIs(t, err, account.ErrUnknownPlan)
	shown, err := s.PreviewChange(t.Context(), ann, PreviewInput{ID: own.ID, PlanID: starterPlan})
	require.NoError(t, err)
	require.False(t, shown.Now, "the cheaper plan comes with the next period")
	bob = s.payer(t, "bobby@example.com")
	cheap := s.sold(t, bob, starterPlan, true)
	s.Billing.MinCharge, s.clock.ahead = 50, cheap.PeriodEnd.Sub(cheap.PeriodStart)-15*time.Minute
	shown, err = s.PreviewChange(t.Context(), bob, PreviewInput{ID: cheap.ID, PlanID: premium})
	require.NoError(t, err)
	require.True(t, shown.Now)
	require.Zero(t, shown.Due.Amount, "what cannot be charged is not shown as due")
	s.clock.ahead = 0
	yesterday := "yesterday"
	_, err = s.PauseSubscription(t.Context(), ann, PauseSubscriptionInput{ID: own.ID, ResumesAt: &yesterday})
	require.ErrorIs(t, err, account.ErrInvalid)
}

func TestSubscription_WhatIsOverStaysOver(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann := s.payer(t, "ann@example.com")
	own := s.sold(t, ann, premium, true)
	now := s.clock.Now()
	_, err := s.Store.ChangeSubscription(t.Context(), own.ID, "end", now, func(sub account.Subscription) (account.SubscriptionChange, error) {
		return sub.CancelNow(now)
	})
	require.NoError(t, err)
	_, err = s.KeepSubscription(t.Context(), ann, SubscriptionInput{ID: own.ID})
	require.ErrorIs(t, err, account.ErrSubscriptionState)
	all, err := s.Subscriptions(t.Context(), ann, None{})
	require.NoError(t, err)
	require.Len(t, all, 1, "and is seen")
	_, err = s.Subscribe(t.Context(), ann, SubscribeInput{PlanID: premium, MethodID: "pm_card_visa"})
	require.ErrorIs(t, err, errReached, "another one may begin")
}
