package account

import (
	"math/big"
	"time"
)

// Proration is what a change to another plan costs, and when it comes.
type Proration struct {
	// Now is set for a dearer plan: it takes over once Due is paid. Any other plan takes over at PeriodEnd, and nothing is due.
	Now bool
	Due Money
	// At is the moment the unused time was counted from.
	At          time.Time
	PeriodStart time.Time
	PeriodEnd   time.Time
}

// Prorate returns what a change to plan at a moment costs. Within a trial every change is free and comes at once; so does a dearer
// plan for less than BillingRules.MinCharge. It returns ErrSubscriptionState when the subscription cannot change its plan now, and
// ErrInvalid for a plan of another family or currency.
func (s Subscription) Prorate(plan Plan, rules BillingRules, at time.Time) (Proration, error) {
	// A moment that was rounded down to the second may lie before the period that has just begun.
	at = later(at, s.PeriodStart)
	switch {
	case plan.Free || plan.Family != s.Plan.Family:
		return Proration{}, ErrInvalid.On("plan_id", "is not a plan that this subscription can change to")
	case plan.Price.Currency != s.Plan.Price.Currency:
		return Proration{}, ErrInvalid.On("plan_id", "has another currency")
	case s.Status == SubscriptionTrialing:
		return Proration{Now: true, Due: Money{Currency: plan.Price.Currency}, At: at, PeriodStart: s.PeriodStart, PeriodEnd: s.PeriodEnd}, nil
	case s.Status != SubscriptionActive || s.CancelAtPeriodEnd:
		return Proration{}, s.refuse("is not active")
	case s.Invoice != nil || !at.Before(s.PeriodEnd):
		return Proration{}, s.refuse("is about to renew")
	}
	p := Proration{At: at, PeriodStart: s.PeriodStart, PeriodEnd: s.PeriodEnd, Due: Money{Currency: plan.Price.Currency}}
	if plan.rate() <= s.Plan.rate() {
		return p, nil
	}
	unused := s.share(s.Plan.Price.Amount, at)
	if plan.Interval == s.Plan.Interval {
		p.Now, p.Due.Amount, p.PeriodStart = true, rules.chargeable(s.share(plan.Price.Amount, at)-unused), at
		return p, nil
	}
	if due := plan.Price.Amount - unused; due > 0 {
		p.Now, p.Due.Amount, p.PeriodStart, p.PeriodEnd = true, rules.chargeable(due), at, plan.Interval.After(at, at)
	}
	return p, nil
}

// chargeable is what is charged of an amount that is due: nothing where it is too little.
func (r BillingRules) chargeable(due int64) int64 {
	if due < r.MinCharge {
		return 0
	}
	return due
}

// PriceHeld returns ErrInvalid for the moment of a price that is good no more: it was for the rest of a period that is over by now.
func (s Subscription) PriceHeld(at time.Time) error {
	// What a preview shows is rounded down to the second, so that its moment may lie before the period that it is of.
	if at.Before(s.PeriodStart.Truncate(time.Second)) {
		return ErrInvalid.On("proration_time", "must be a time of the present period, as the preview returned it")
	}
	return nil
}

// ChangePlan changes the plan: a dearer one once the difference is paid, any other when the period ends. Asking for the
// present plan undoes a change that is to come. at is the moment that the price was shown for; PriceHeld may refuse it.
func (s Subscription) ChangePlan(plan Plan, at time.Time, rules BillingRules, now time.Time) (SubscriptionChange, error) {
	switch {
	case s.Status.Ended():
		return SubscriptionChange{}, s.refuse("has ended")
	case s.Upgrade != nil && s.Upgrade.ID == plan.ID, s.NextPlan != nil && s.NextPlan.ID == plan.ID && !s.CancelAtPeriodEnd,
		s.NextPlan == nil && s.Upgrade == nil && s.Plan.ID == plan.ID:
		return SubscriptionChange{After: s}, nil
	case s.Plan.ID == plan.ID && s.Upgrade == nil:
		s.NextPlan = nil
		return s.became("plan_change_undone"), nil
	}
	if err := s.PriceHeld(at); err != nil {
		return SubscriptionChange{}, err
	}
	p, err := s.Prorate(plan, rules, at)
	switch {
	case err != nil:
		return SubscriptionChange{}, err
	case s.Status == SubscriptionTrialing:
		s.Plan = plan
		return s.became("plan_changed"), nil
	case !p.Now:
		s.NextPlan = &plan
		return s.became("plan_change_scheduled"), nil
	}
	s.Upgrade = &plan
	return s.bill(InvoiceUpdate, plan, p.Due, p.PeriodStart, p.PeriodEnd, now).became("plan_change_started"), nil
}

// ChangePlanAndMethod changes both, or neither: a plan that is paid for at once is charged to the method, which takes over with it.
// Where nothing is paid for the plan now, the method changes as by ChangeMethod.
func (s Subscription) ChangePlanAndMethod(plan Plan, method string, at time.Time, rules BillingRules, now time.Time) (SubscriptionChange, error) {
	planned, err := s.ChangePlan(plan, at, rules, now)
	if err != nil {
		return SubscriptionChange{}, err
	}
	if planned.Opened != nil {
		planned.After.UpgradeMethodID = method
		return planned, nil
	}
	c, err := s.ChangeMethod(method, now)
	switch {
	case err != nil || planned.Event == "":
		return c, err
	case c.Event == "":
		return planned, nil
	}
	c.Event = planned.Event
	c.After.Plan, c.After.NextPlan = planned.After.Plan, planned.After.NextPlan
	return c, nil
}

// length is how long the present period was paid for. A period is as long as its anchor makes it: from February to the 31st of
// March it has 31 days. After a pause it ends later, with its anchor, and keeps the length that it had.
func (s Subscription) length() time.Duration {
	if s.PeriodLength > 0 {
		return s.PeriodLength
	}
	anchor := s.Anchor
	if anchor.After(s.PeriodStart) { // a trial, or a pause from before lengths were kept
		anchor = s.PeriodStart
	}
	return s.Plan.Interval.After(anchor, s.PeriodStart).Sub(s.PeriodStart)
}

// share is the part of a period's amount that falls on the time from at to the period's end, rounded down.
func (s Subscription) share(amount int64, at time.Time) int64 {
	whole := s.length()
	left := min(max(0, s.PeriodEnd.Sub(at)), whole)
	product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(int64(left)))
	return product.Div(product, big.NewInt(int64(whole))).Int64()
}

// upgradeCredits are the credits that a paid upgrade adds to those of the period it began in.
func (s Subscription) upgradeCredits(paid Invoice) int64 {
	unused := s.share(s.Plan.CreditsPerMonth*s.Plan.Interval.Months(), paid.PeriodStart)
	granted := s.Upgrade.CreditsPerMonth * s.Upgrade.Interval.Months()
	if s.Upgrade.Interval == s.Plan.Interval {
		granted = s.share(granted, paid.PeriodStart)
	}
	return max(0, granted-unused)
}
