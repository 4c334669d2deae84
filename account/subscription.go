package account

import (
	"time"

	"github.com/google/uuid"
)

// SubscriptionStatus is where a subscription is in its life (design D15).
type SubscriptionStatus string

// The states. Incomplete subscriptions wait for their first payment; canceled and incomplete_expired ones are over.
const (
	SubscriptionIncomplete        SubscriptionStatus = "incomplete"
	SubscriptionTrialing          SubscriptionStatus = "trialing"
	SubscriptionActive            SubscriptionStatus = "active"
	SubscriptionPastDue           SubscriptionStatus = "past_due"
	SubscriptionPaused            SubscriptionStatus = "paused"
	SubscriptionUnpaid            SubscriptionStatus = "unpaid"
	SubscriptionCanceled          SubscriptionStatus = "canceled"
	SubscriptionIncompleteExpired SubscriptionStatus = "incomplete_expired"
)

// Ended reports whether nothing can happen to the subscription any more.
func (s SubscriptionStatus) Ended() bool {
	return s == SubscriptionCanceled || s == SubscriptionIncompleteExpired
}

// Subscription is one paid plan of an account, from its creation to its end. Its flow is its only writer; times are the
// flow's.
type Subscription struct {
	ID        string
	AccountID uuid.UUID
	// Generation counts the subscriptions of the account in the plan's family, from 1: with account and family it gives the ID.
	Generation int
	Plan       Plan
	Status     SubscriptionStatus
	// Version counts the changes.
	Version int64
	// MethodID is the payment method that is charged next.
	MethodID string

	PeriodStart time.Time
	PeriodEnd   time.Time
	// Anchor is what period ends are counted from.
	Anchor time.Time
	// PeriodLength is how long the present period was paid for, where a pause has moved its end; 0 means as its anchor makes it.
	PeriodLength time.Duration `json:",omitzero"`

	TrialEnd *time.Time `json:",omitzero"`

	// CancelAtPeriodEnd ends it with its period; CanceledAt is when that was asked for, EndedAt when it was over.
	CancelAtPeriodEnd bool       `json:",omitzero"`
	CanceledAt        *time.Time `json:",omitzero"`
	EndedAt           *time.Time `json:",omitzero"`

	// PausedAt is set while it is paused. The paid time that was left then goes on at the resumption, which comes by itself
	// at ResumesAt if that is set.
	PausedAt    *time.Time  `json:",omitzero"`
	ResumesAt   *time.Time  `json:",omitzero"`
	PauseReason PauseReason `json:",omitzero"`

	// NextPlan takes over when the period ends.
	NextPlan *Plan `json:",omitzero"`
	// Upgrade is a dearer plan that takes over once its invoice is paid. UpgradeMethodID, where it was asked for with the plan, is
	// what that invoice is charged to: it takes over with the plan, or not at all.
	Upgrade         *Plan  `json:",omitzero"`
	UpgradeMethodID string `json:",omitzero"`

	// Invoice is the open invoice, nil for none. Charging is set while a charge of it has no outcome; only what changes the
	// subscription is told, no flow and no reader. Declines counts its attempts that were declined; FirstDeclineAt is the first.
	Invoice        *Invoice   `json:",omitzero"`
	Charging       bool       `json:"-"`
	Declines       int        `json:",omitzero"`
	FirstDeclineAt *time.Time `json:",omitzero"`
	// RetryAt is when the open invoice is tried again; nil means not before there is another method.
	RetryAt *time.Time `json:",omitzero"`

	CreatedAt time.Time
}

// PauseReason says who paused a subscription.
type PauseReason string

// The reasons of a pause.
const (
	PausedByOwner      PauseReason = "owner"
	PausedDeactivation PauseReason = "account_deactivated"
)

// Invoice is what an account owes for one period, or for the rest of one. It is written before any charge, and does not
// change once it is open but for its status.
type Invoice struct {
	ID             string
	SubscriptionID string
	AccountID      uuid.UUID
	Reason         InvoiceReason
	Plan           Plan
	Amount         Money
	PeriodStart    time.Time
	PeriodEnd      time.Time
	Status         InvoiceStatus
	// Attempt numbers the charge under way or to come, from 1. A charge whose outcome is unknown keeps its number.
	Attempt   int
	CreatedAt time.Time
	PaidAt    *time.Time `json:",omitzero"`
}

// InvoiceReason says what an invoice is for.
type InvoiceReason string

// The reasons, in Stripe's words.
const (
	InvoiceCreate InvoiceReason = "subscription_create"
	InvoiceCycle  InvoiceReason = "subscription_cycle"
	InvoiceUpdate InvoiceReason = "subscription_update"
)

// InvoiceStatus is where an invoice is in its life.
type InvoiceStatus string

// The states. Only open ones can change.
const (
	InvoiceOpen          InvoiceStatus = "open"
	InvoicePaid          InvoiceStatus = "paid"
	InvoiceVoid          InvoiceStatus = "void"
	InvoiceUncollectible InvoiceStatus = "uncollectible"
)

// Decline is how a charge was refused.
type Decline struct {
	// Code is the provider's reason, such as insufficient_funds.
	Code string
	// Hard declines cannot succeed with the same method. ActionRequired ones wait for the owner's authentication.
	Hard           bool
	ActionRequired bool
}

// The codes of charges that were not asked for.
const (
	// DeclineInactive: the account is closed or deactivated.
	DeclineInactive = "account_inactive"
	// DeclineExpired: whoever asked for it reckons with it no more.
	DeclineExpired = "expired"
)

// DueCharge is what tells whether a charge that the provider has not heard of comes too late.
type DueCharge struct {
	Status SubscriptionStatus
	// Upgrade is set when a dearer plan is to be paid.
	Upgrade bool
	// DueAt is since when the charge was due, PeriodEnd when the present period ends.
	DueAt, PeriodEnd time.Time
}

// TooLate reports whether a charge must not begin now any more: nobody served what its owner asked for, and they have long gone on without
// it. What the calendar asks for is owed however late it comes.
func (r BillingRules) TooLate(c DueCharge, now time.Time) bool {
	switch waited := now.Sub(c.DueAt); {
	case c.Upgrade:
		return !now.Before(c.PeriodEnd) || waited >= r.LookUpAge
	case c.Status == SubscriptionIncomplete:
		return waited >= r.IncompleteTTL
	}
	return false
}

// SubscriptionChange is the outcome of one transition: what the row becomes, and what is written with it in the same
// transaction.
type SubscriptionChange struct {
	// Event names the transition, such as renewed; empty means that nothing changed.
	Event string
	After Subscription
	// Opened is a new invoice, Settled one that is open no more.
	Opened  *Invoice
	Settled *Invoice
	// Credits are granted once, under the key of the settled invoice.
	Credits int64
}

// SubscriptionAction is what a subscription waits for.
type SubscriptionAction string

// The actions.
const (
	// ActionNone waits for a request.
	ActionNone   SubscriptionAction = ""
	ActionCharge SubscriptionAction = "charge"
	ActionRenew  SubscriptionAction = "renew"
	ActionExpire SubscriptionAction = "expire"
	ActionGiveUp SubscriptionAction = "give_up"
	ActionResume SubscriptionAction = "resume"
	// ActionEnd ends a pause that took too long.
	ActionEnd SubscriptionAction = "end"
)

// Next returns what is to be done with the subscription by itself, and when. A charge is due at once unless RetryAt says
// later.
func (s Subscription) Next(rules BillingRules) (SubscriptionAction, time.Time) {
	switch {
	case s.Status.Ended():
		return ActionNone, time.Time{}
	case s.Status == SubscriptionPaused && s.ResumesAt != nil:
		return ActionResume, *s.ResumesAt
	case s.Status == SubscriptionPaused:
		return ActionEnd, s.PausedAt.Add(rules.PauseMax)
	case s.Invoice == nil && s.Status == SubscriptionUnpaid:
		return ActionNone, time.Time{}
	case s.Invoice == nil:
		return ActionRenew, s.PeriodEnd
	case s.Declines == 0:
		return ActionCharge, s.Invoice.CreatedAt
	case s.RetryAt != nil:
		return ActionCharge, *s.RetryAt
	case s.Status == SubscriptionIncomplete:
		return ActionExpire, s.CreatedAt.Add(rules.IncompleteTTL)
	default:
		return ActionGiveUp, s.FirstDeclineAt.Add(rules.last())
	}
}

func (r BillingRules) last() time.Duration {
	if len(r.Dunning) == 0 {
		return 0
	}
	return r.Dunning[len(r.Dunning)-1]
}
