package account

import (
	"time"

	"github.com/google/uuid"
)

// Realignment is what brings a subscription in line with its account.
type Realignment string

// The realignments. Nobody pays for a closed account; a deactivated one pauses what is paid for, and drops what is not.
const (
	RealignEnd    Realignment = "end"
	RealignPause  Realignment = "pause"
	RealignResume Realignment = "resume"
)

// Stray is a subscription that is not in line with its account.
type Stray struct {
	SubscriptionID string
	AccountID      uuid.UUID
	PlanCode       string
	// Version is the one that was looked at: realigning it twice changes it once.
	Version int64
	Needs   Realignment
}

// Reconciliation is one comparison of our books with the flows and with the payment provider's.
type Reconciliation struct {
	ID string
	// The provider's charges from Since to Until are compared. What is younger may still be under way.
	Since time.Time
	Until time.Time
}

// Finding is something that a reconciliation found amiss.
type Finding struct {
	Kind FindingKind
	// Subject is the id of what is amiss: a subscription, a charge's key, an invoice.
	Subject string
	// Detail says more, without personal data.
	Detail string
	// Repaired is set when it is in order again; anything else is for a person to look at.
	Repaired bool
	// At is when it was found, for findings that are listed.
	At time.Time
}

// FindingKind is what is amiss.
type FindingKind string

// The kinds of findings.
const (
	// FindingFlowLost is a live subscription without a flow.
	FindingFlowLost FindingKind = "flow_lost"
	// FindingFlowLeft is a flow that goes on although its subscription is over, or never was.
	FindingFlowLeft FindingKind = "flow_left"
	// FindingForeignCharge is money that the provider took under a key that is none of ours.
	FindingForeignCharge FindingKind = "foreign_charge"
	// FindingAmountDiffers is a charge of another amount or currency than its invoice.
	FindingAmountDiffers FindingKind = "amount_differs"
	// FindingChargedTwice is a second charge with the key of a paid attempt.
	FindingChargedTwice FindingKind = "charged_twice"
	// FindingOutcomeDiffers is a charge that the provider's books and ours tell differently.
	FindingOutcomeDiffers FindingKind = "outcome_differs"
	// FindingChargeMissing is a paid attempt that the provider knows nothing of.
	FindingChargeMissing FindingKind = "charge_missing"
	// FindingOutcomeUnknown is a charge whose outcome nobody could learn in time.
	FindingOutcomeUnknown FindingKind = "outcome_unknown"
	// FindingOpenAfterEnd is an invoice that is open although its subscription is over.
	FindingOpenAfterEnd FindingKind = "open_after_end"
	// FindingOverdue is a subscription whose period is over and that nobody renews.
	FindingOverdue FindingKind = "overdue"
	// FindingPaidForNothing is a paid invoice without a paid attempt.
	FindingPaidForNothing FindingKind = "paid_without_charge"
	// FindingIncomplete is a reconciliation that could not be finished.
	FindingIncomplete FindingKind = "incomplete"
)

// ReconciliationCounts are how much a reconciliation has looked at.
type ReconciliationCounts struct {
	Subscriptions int64
	Flows         int64
	Charges       int64
	Attempts      int64
}
