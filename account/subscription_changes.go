package account

import (
	"cmp"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Every transition is a pure function of the subscription and the moment: it returns what becomes of it, or refuses with
// ErrSubscriptionState. A transition that has nothing to do returns a change without an Event.

// NewSubscription is what creates a subscription.
type NewSubscription struct {
	ID         string
	AccountID  uuid.UUID
	Generation int
	Plan       Plan
	MethodID   string
	// Trial grants the plan's trial, which an account gets once per family.
	Trial bool
}

// Open creates a subscription: trialing where there is a trial or nothing to pay, else incomplete with its first invoice.
func (n NewSubscription) Open(now time.Time) SubscriptionChange {
	s := Subscription{
		ID: n.ID, AccountID: n.AccountID, Generation: n.Generation, Plan: n.Plan, MethodID: n.MethodID,
		Status: SubscriptionIncomplete, PeriodStart: now, Anchor: now, CreatedAt: now,
	}
	if n.Trial && n.Plan.TrialDays > 0 {
		end := now.AddDate(0, 0, n.Plan.TrialDays)
		s.Status, s.TrialEnd, s.PeriodEnd, s.Anchor = SubscriptionTrialing, &end, end, end
		return s.became("trial_started")
	}
	s.PeriodEnd = n.Plan.Interval.After(now, now)
	return s.bill(InvoiceCreate, n.Plan, n.Plan.Price, s.PeriodStart, s.PeriodEnd, now).became("created")
}

// Renew begins the next period at the end of one, or ends the subscription there if its owner wanted that.
func (s Subscription) Renew(now time.Time) (SubscriptionChange, error) {
	if s.Invoice != nil || (s.Status != SubscriptionActive && s.Status != SubscriptionTrialing) || now.Before(s.PeriodEnd) {
		return SubscriptionChange{}, s.refuse("is not due")
	}
	if s.CancelAtPeriodEnd {
		return s.end(SubscriptionCanceled, InvoiceVoid, s.PeriodEnd).became("canceled"), nil
	}
	if next := s.NextPlan; next != nil {
		if next.Interval != s.Plan.Interval {
			s.Anchor = s.PeriodEnd
		}
		s.Plan, s.NextPlan = *next, nil
	}
	s.PeriodStart, s.PeriodLength = s.PeriodEnd, 0
	s.PeriodEnd = s.Plan.Interval.After(s.Anchor, s.PeriodStart)
	return s.bill(InvoiceCycle, s.Plan, s.Plan.Price, s.PeriodStart, s.PeriodEnd, now).became("renewed"), nil
}

// Paid settles the open invoice: its period, or its dearer plan, is the subscription's now, and the credits come with it.
func (s Subscription) Paid(invoice string, now time.Time) (SubscriptionChange, error) {
	if s.Invoice == nil || s.Invoice.ID != invoice {
		return SubscriptionChange{}, s.refuse("has no such open invoice")
	}
	paid, credits, event := *s.Invoice, int64(0), "paid"
	switch {
	case s.Upgrade != nil:
		credits, event = s.upgradeCredits(paid), "plan_changed"
		if s.Upgrade.Interval != s.Plan.Interval {
			s.PeriodStart, s.PeriodEnd, s.Anchor, s.PeriodLength = paid.PeriodStart, paid.PeriodEnd, paid.PeriodStart, 0
		}
		s.MethodID = cmp.Or(s.UpgradeMethodID, s.MethodID)
		s.Plan, s.Upgrade, s.UpgradeMethodID, s.NextPlan = *s.Upgrade, nil, "", nil
	case s.Status == SubscriptionUnpaid:
		s.PeriodStart, s.PeriodEnd, s.Anchor, s.PeriodLength = paid.PeriodStart, paid.PeriodEnd, paid.PeriodStart, 0
		fallthrough
	default:
		credits = paid.Plan.CreditsPerMonth * paid.Plan.Interval.Months()
	}
	s.Status = SubscriptionActive
	c := s.settle(InvoicePaid, now)
	c.Credits = credits
	return c.became(event), nil
}

// Declined notes that the charge of the open invoice was refused, and says when it is tried again. What was cancelled while it was
// charged is over: its period is not paid.
func (s Subscription) Declined(invoice string, attempt int, d Decline, rules BillingRules, now time.Time) (SubscriptionChange, error) {
	switch {
	case s.Invoice == nil || s.Invoice.ID != invoice:
		return SubscriptionChange{}, s.refuse("has no such open invoice")
	case s.Invoice.Attempt != attempt:
		return SubscriptionChange{After: s}, nil
	case s.Upgrade != nil:
		s.Upgrade, s.UpgradeMethodID = nil, ""
		return s.settle(InvoiceVoid, now).became("plan_change_declined"), nil
	case s.CancelAtPeriodEnd:
		return s.end(SubscriptionCanceled, InvoiceVoid, now).became("canceled"), nil
	case s.Status == SubscriptionUnpaid:
		return s.settle(InvoiceVoid, now).became("payment_declined"), nil
	}
	invoiced := *s.Invoice
	invoiced.Attempt++
	s.Invoice = &invoiced
	if s.FirstDeclineAt == nil {
		s.FirstDeclineAt = &now
	}
	s.RetryAt = nil
	if s.Status != SubscriptionIncomplete {
		s.Status = SubscriptionPastDue
		if !d.Hard && !d.ActionRequired && s.Declines < len(rules.Dunning) {
			retry := later(s.FirstDeclineAt.Add(rules.Dunning[s.Declines]), now)
			s.RetryAt = &retry
		}
	}
	s.Declines++
	return s.became("payment_declined"), nil
}

// GiveUp ends the dunning of a subscription whose last try was declined.
func (s Subscription) GiveUp(rules BillingRules, now time.Time) (SubscriptionChange, error) {
	if action, due := s.Next(rules); action != ActionGiveUp || now.Before(due) {
		return SubscriptionChange{}, s.refuse("is not given up yet")
	}
	if rules.DunningEnd != SubscriptionUnpaid {
		return s.end(SubscriptionCanceled, InvoiceUncollectible, now).became("canceled"), nil
	}
	s.Status = SubscriptionUnpaid
	return s.settle(InvoiceUncollectible, now).became("unpaid"), nil
}

// Expire ends a subscription whose first payment did not come in time. One whose owner has just given another method is tried
// first.
func (s Subscription) Expire(now time.Time) (SubscriptionChange, error) {
	if s.Status != SubscriptionIncomplete || s.RetryAt != nil {
		return SubscriptionChange{}, s.refuse("does not expire now")
	}
	return s.end(SubscriptionIncompleteExpired, InvoiceVoid, now).became("expired"), nil
}

// ChangeMethod takes another payment method, which is tried at once where something is owed.
func (s Subscription) ChangeMethod(method string, now time.Time) (SubscriptionChange, error) {
	switch {
	case s.Status.Ended():
		return SubscriptionChange{}, s.refuse("has ended")
	case s.Upgrade != nil:
		return SubscriptionChange{}, s.refuse("is being changed")
	case s.MethodID == method && s.Declines == 0 && s.Status != SubscriptionUnpaid:
		return SubscriptionChange{After: s}, nil
	}
	s.MethodID = method
	if s.Status == SubscriptionUnpaid && s.Invoice == nil {
		return s.bill(InvoiceCreate, s.Plan, s.Plan.Price, now, s.Plan.Interval.After(now, now), now).became("method_changed"), nil
	}
	if s.Declines > 0 {
		s.RetryAt = &now
	}
	return s.became("method_changed"), nil
}

// Pause stops service and charges now; a trial pauses with its account alone. The paid time that is left is kept for the
// resumption, which comes at resumesAt, if that is set.
func (s Subscription) Pause(reason PauseReason, resumesAt *time.Time, rules BillingRules, now time.Time) (SubscriptionChange, error) {
	switch {
	case s.Status == SubscriptionPaused && s.PauseReason == reason && equalTimes(s.ResumesAt, resumesAt):
		return SubscriptionChange{After: s}, nil
	case s.Status == SubscriptionPaused && s.PauseReason == PausedByOwner && reason == PausedDeactivation:
		return s.pauseOpenEnded(), nil
	case s.Status != SubscriptionActive && (s.Status != SubscriptionTrialing || reason != PausedDeactivation):
		return SubscriptionChange{}, s.refuse("is not active")
	case s.Invoice != nil || s.CancelAtPeriodEnd || !now.Before(s.PeriodEnd):
		return SubscriptionChange{}, s.refuse("is about to renew or to end")
	}
	if err := rules.JudgeResumption(resumesAt, now); err != nil {
		return SubscriptionChange{}, err
	}
	s.Status, s.PausedAt, s.ResumesAt, s.PauseReason = SubscriptionPaused, &now, resumesAt, reason
	return s.became("paused"), nil
}

// JudgeResumption returns ErrInvalid for a moment at which no pause that begins now can end. Nil is any.
func (r BillingRules) JudgeResumption(at *time.Time, now time.Time) error {
	if at != nil && (!at.After(now) || at.After(now.Add(r.PauseMax))) {
		return ErrInvalid.On("resumes_at", "must be later than now, and within the longest pause")
	}
	return nil
}

// pauseOpenEnded keeps the owner's own pause while the account is deactivated: nothing is charged before its owner is back
// and wants it.
func (s Subscription) pauseOpenEnded() SubscriptionChange {
	if s.ResumesAt == nil {
		return SubscriptionChange{After: s}
	}
	s.ResumesAt = nil
	return s.became("paused")
}

// Resume takes up service with the paid time that the pause has left.
func (s Subscription) Resume(now time.Time) (SubscriptionChange, error) {
	if s.Status != SubscriptionPaused {
		return SubscriptionChange{}, s.refuse("is not paused")
	}
	status := SubscriptionActive
	s.PeriodLength = s.length()
	s.PeriodEnd = now.Add(s.PeriodEnd.Sub(*s.PausedAt))
	s.Anchor = s.PeriodEnd
	if s.TrialEnd != nil && s.PausedAt.Before(*s.TrialEnd) {
		end := s.PeriodEnd
		status, s.TrialEnd = SubscriptionTrialing, &end
	}
	s.Status, s.PausedAt, s.ResumesAt, s.PauseReason = status, nil, nil, ""
	return s.became("resumed"), nil
}

// Cancel ends the subscription with its period. One whose present is not paid, as that of a renewal which was not charged yet, or that
// is paused, ends at once, unless a charge of it has no outcome: it ends with the decline, or with the period that turns out to be
// paid. The plan that was to come stays: it is what an undoing goes on with.
func (s Subscription) Cancel(now time.Time) (SubscriptionChange, error) {
	switch {
	case s.Status.Ended():
		return SubscriptionChange{}, s.refuse("has ended")
	case !s.Charging && !s.presentIsPaid():
		return s.CancelNow(now)
	case s.CancelAtPeriodEnd:
		return SubscriptionChange{After: s}, nil
	}
	s.CancelAtPeriodEnd, s.CanceledAt = true, &now
	return s.became("cancellation_scheduled"), nil
}

// presentIsPaid reports whether the present period is paid, or free as a trial is. A renewal is active before it is paid.
func (s Subscription) presentIsPaid() bool {
	return (s.Status == SubscriptionActive || s.Status == SubscriptionTrialing) && (s.Invoice == nil || s.Invoice.Reason != InvoiceCycle)
}

// CancelNow ends the subscription at once; nothing is paid back, and nothing is owed. While the outcome of a charge is unknown
// the store refuses it.
func (s Subscription) CancelNow(now time.Time) (SubscriptionChange, error) {
	if s.Status.Ended() {
		return SubscriptionChange{After: s}, nil
	}
	return s.end(SubscriptionCanceled, InvoiceVoid, now).became("canceled"), nil
}

// UndoCancel keeps a subscription that was to end with its period.
func (s Subscription) UndoCancel() (SubscriptionChange, error) {
	if s.Status.Ended() {
		return SubscriptionChange{}, s.refuse("has ended")
	}
	if !s.CancelAtPeriodEnd {
		return SubscriptionChange{After: s}, nil
	}
	s.CancelAtPeriodEnd, s.CanceledAt = false, nil
	return s.became("cancellation_undone"), nil
}

func (s Subscription) bill(reason InvoiceReason, plan Plan, amount Money, start, end, now time.Time) SubscriptionChange {
	s.Invoice = &Invoice{
		ID:             fmt.Sprintf("in_%s_%d", s.ID, s.Version+1),
		SubscriptionID: s.ID, AccountID: s.AccountID, Reason: reason, Plan: plan, Amount: amount,
		PeriodStart: start, PeriodEnd: end, Status: InvoiceOpen, Attempt: 1, CreatedAt: now,
	}
	return SubscriptionChange{After: s, Opened: s.Invoice}
}

func (s Subscription) settle(status InvoiceStatus, now time.Time) SubscriptionChange {
	c := SubscriptionChange{}
	if s.Invoice != nil {
		settled := *s.Invoice
		settled.Status = status
		if status == InvoicePaid {
			settled.PaidAt = &now
		}
		c.Settled = &settled
	}
	s.Invoice, s.Charging, s.Declines, s.FirstDeclineAt, s.RetryAt = nil, false, 0, nil, nil
	c.After = s
	return c
}

func (s Subscription) end(status SubscriptionStatus, invoice InvoiceStatus, now time.Time) SubscriptionChange {
	s.Status, s.EndedAt = status, &now
	s.Upgrade, s.UpgradeMethodID, s.NextPlan, s.PausedAt, s.ResumesAt, s.PauseReason = nil, "", nil, nil, nil, ""
	if s.CanceledAt == nil {
		s.CanceledAt = &now
	}
	return s.settle(invoice, now)
}

func (s Subscription) became(event string) SubscriptionChange {
	return SubscriptionChange{After: s}.became(event)
}

func (c SubscriptionChange) became(event string) SubscriptionChange {
	c.Event = event
	c.After.Version++
	return c
}

func (s Subscription) refuse(why string) error {
	return ErrSubscriptionState.Saying("Subscription " + why)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func equalTimes(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
