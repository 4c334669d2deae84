package activities

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"gatehouse/account"
	"gatehouse/providers/payment"
	"gatehouse/store"
)

// Flows are the flows of subscriptions, as a reconciliation sees them.
type Flows interface {
	// Revive starts the flow of a subscription unless it runs, and reports whether it had to.
	Revive(ctx context.Context, id string, owner uuid.UUID, plan string) (bool, error)
	// Look has the flow of a subscription ask for the outcome of its charge at once.
	Look(ctx context.Context, id string) error
	// LookIfIdle has the flow of a subscription look at the books, unless a charge of it is under way or waits for its turn: to look
	// that up would send it to the end of the queue.
	LookIfIdle(ctx context.Context, id string) error
	// Running returns a page of the subscriptions whose flow was started before a moment, and the token of the next page.
	Running(ctx context.Context, before time.Time, page []byte) (ids []string, next []byte, err error)
}

// When something is amiss, and not just slow.
const (
	// chargesOverlap has every charge compared by more than one reconciliation: what was pending in the first is settled in the
	// next. It is longer than a charge may be without an outcome.
	chargesOverlap = 48 * time.Hour
	// chargesSettling leaves young charges to the next reconciliation.
	chargesSettling = time.Minute
	// unknownGrace is how long after BillingRules.LookUpAge an outcome may still be unknown.
	unknownGrace = 2 * time.Hour
	overdueAfter = time.Hour
	// flowsLinger is longer than a flow sends its last mails, flowsOpening than it takes to have a row.
	flowsLinger   = 48 * time.Hour
	flowsOpening  = time.Hour
	reconcilePage = 200
	// chargesBatch are looked up in our books at once.
	chargesBatch = 100
)

// ReconciliationInput names a reconciliation, and where a page of it begins.
type ReconciliationInput struct {
	ID    string
	After string `json:",omitzero"`
	Page  []byte `json:",omitzero"`
	// Since and Until bound what is compared with the provider.
	Since time.Time `json:",omitzero"`
	Until time.Time `json:",omitzero"`
}

// ReconciliationPage is how much was looked at, and where the next page begins: nowhere when both are empty.
type ReconciliationPage struct {
	Seen  int64
	After string `json:",omitzero"`
	Page  []byte `json:",omitzero"`
}

// BeginReconciliation opens the record of a reconciliation.
func (a *Activities) BeginReconciliation(ctx context.Context, in ReconciliationInput) (account.Reconciliation, error) {
	return a.Store.BeginReconciliation(ctx, in.ID, chargesOverlap, chargesSettling)
}

// ReviveFlows starts the flows of live subscriptions that have none: each page in the order of their ids.
func (a *Activities) ReviveFlows(ctx context.Context, in ReconciliationInput) (ReconciliationPage, error) {
	page, err := a.Store.LiveSubscriptions(ctx, in.After, reconcilePage)
	if err != nil {
		return ReconciliationPage{}, err
	}
	out := ReconciliationPage{Seen: int64(len(page))}
	for _, s := range page {
		revived, err := a.Flows.Revive(ctx, s.ID, s.AccountID, s.PlanCode)
		if err != nil {
			return ReconciliationPage{}, err
		}
		if !revived {
			continue
		}
		if err := a.found(ctx, in.ID, account.Finding{Kind: account.FindingFlowLost, Subject: s.ID, Repaired: true}); err != nil {
			return ReconciliationPage{}, err
		}
	}
	if len(page) == reconcilePage {
		out.After = page[len(page)-1].ID
	}
	return out, nil
}

// ReviewFlows looks for flows whose subscription is over, or never was: each page as Temporal lists them.
func (a *Activities) ReviewFlows(ctx context.Context, in ReconciliationInput) (ReconciliationPage, error) {
	ids, next, err := a.Flows.Running(ctx, a.Clock.Now().Add(-flowsOpening), in.Page)
	if err != nil {
		return ReconciliationPage{}, err
	}
	needless, err := a.Store.NeedlessFlows(ctx, ids, flowsLinger)
	for _, id := range needless {
		err = errors.Join(err, a.found(ctx, in.ID, account.Finding{Kind: account.FindingFlowLeft, Subject: id}))
	}
	return ReconciliationPage{Seen: int64(len(ids)), Page: next}, err
}

// HastenCharges has the flows of charges that have had no outcome for too long look them up at once, and those that ought to have
// done something and do nothing look at the books.
func (a *Activities) HastenCharges(ctx context.Context, _ ReconciliationInput) error {
	waiting, err := a.Store.AwaitedCharges(ctx, a.Billing.LookUpAge, reconcilePage)
	overdue, overdueErr := a.Store.OverdueSubscriptions(ctx, overdueAfter, reconcilePage)
	for i, id := range append(waiting, overdue...) {
		look := a.Flows.Look
		if i >= len(waiting) {
			look = a.Flows.LookIfIdle
		}
		if err := look(ctx, id); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			// It looks by itself as well: no reason to stop.
			a.Log.WarnContext(ctx, "a flow was not told to look its charge up", "subscription", id, "error", err)
		}
		activity.RecordHeartbeat(ctx)
	}
	return errors.Join(err, overdueErr)
}

// CompareCharges compares every charge that the provider lists since a moment with our attempts, and confirms those that are
// equal. A retry goes on where the last one got to.
func (a *Activities) CompareCharges(ctx context.Context, in ReconciliationInput) (ReconciliationPage, error) {
	progress := comparison{Since: in.Since}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &progress); err != nil {
			return ReconciliationPage{}, err
		}
	}
	var batch []payment.Outcome
	var failed error
	flush := func() bool {
		if failed = a.compare(ctx, in.ID, batch); failed != nil || len(batch) == 0 {
			return failed == nil
		}
		progress = comparison{Since: batch[len(batch)-1].At, Seen: progress.Seen + int64(len(batch))}
		batch = batch[:0]
		activity.RecordHeartbeat(ctx, progress)
		return true
	}
	err := a.Payments.Charges(ctx, progress.Since, func(o payment.Outcome) bool {
		if o.At.After(in.Until) {
			return false
		}
		batch = append(batch, o)
		return len(batch) < chargesBatch || flush()
	})
	if err == nil && failed == nil {
		flush()
	}
	if err = errors.Join(failed, err); err != nil {
		return ReconciliationPage{}, account.ErrUnavailable.Because(err)
	}
	return ReconciliationPage{Seen: progress.Seen}, nil
}

// comparison is how far CompareCharges has got.
type comparison struct {
	Since time.Time
	Seen  int64
}

func (a *Activities) compare(ctx context.Context, id string, charges []payment.Outcome) error {
	keys := make([]string, len(charges))
	for i, o := range charges {
		keys[i] = o.Key
	}
	known, err := a.Store.AttemptsByKey(ctx, keys)
	if err != nil {
		return err
	}
	var confirmed []string
	for _, o := range charges {
		ours, there := known[o.Key]
		verdict, detail := judge(o, ours, there)
		switch {
		case verdict == agrees:
			confirmed = append(confirmed, o.Key)
		case verdict == waits:
			// It has an outcome that the flow does not know yet.
			if err := a.Flows.Look(ctx, ours.SubscriptionID); err != nil {
				a.Log.WarnContext(ctx, "a flow was not told to look its charge up", "subscription", ours.SubscriptionID, "error", err)
			}
		case verdict != "":
			err = errors.Join(err, a.found(ctx, id, account.Finding{Kind: verdict, Subject: o.Key, Detail: detail}))
		}
	}
	if err != nil || len(confirmed) == 0 {
		return err
	}
	return a.Store.ConfirmAttempts(ctx, confirmed)
}

// What judge says beside the kinds of findings.
const (
	agrees account.FindingKind = "agrees"
	waits  account.FindingKind = "waits"
)

// judge compares a charge of the provider with our attempt of its key, if there is one.
func judge(o payment.Outcome, ours store.AttemptRecord, there bool) (verdict account.FindingKind, detail string) {
	detail = "the provider's " + o.ID + " of " + account.FormatMoney(o.Amount) + ": " + string(o.State)
	same := ours.ProviderID == o.ID
	switch {
	case o.State == payment.Declined && (!there || ours.State != "succeeded" || !same):
		return "", "" // no money was taken
	case !there:
		return account.FindingForeignCharge, detail
	case o.Amount != ours.Amount:
		return account.FindingAmountDiffers, detail + "; invoice of " + account.FormatMoney(ours.Amount)
	case ours.State == "pending":
		return waits, ""
	case ours.State == "succeeded" && same && o.State == payment.Succeeded && ours.Paid:
		return agrees, ""
	case ours.State == "succeeded" && !same && o.State == payment.Succeeded:
		return account.FindingChargedTwice, detail + "; ours is " + ours.ProviderID
	case o.State == payment.Processing && !same:
		return "", "" // no money yet, and maybe never
	}
	return account.FindingOutcomeDiffers, detail + "; ours: " + ours.State
}

// CompareAttempts asks the provider for paid attempts that it did not list: each page in the order of their keys.
func (a *Activities) CompareAttempts(ctx context.Context, in ReconciliationInput) (ReconciliationPage, error) {
	page, err := a.Store.UnconfirmedAttempts(ctx, a.Payments.Name(), in.After, in.Until, chargesBatch)
	if err != nil {
		return ReconciliationPage{}, err
	}
	for _, ours := range page {
		activity.RecordHeartbeat(ctx)
		o, err := a.Payments.Find(ctx, ours.Customer, ours.Key)
		if err != nil && !errors.Is(err, payment.ErrNotFound) {
			return ReconciliationPage{}, account.ErrUnavailable.Because(err)
		}
		verdict, detail := account.FindingChargeMissing, "invoice of "+account.FormatMoney(ours.Amount)
		if err == nil {
			if verdict, detail = judge(o, ours, true); verdict == "" {
				verdict, detail = account.FindingOutcomeDiffers, "the provider says "+string(o.State)
			}
		}
		if verdict == agrees {
			err = a.Store.ConfirmAttempts(ctx, []string{ours.Key})
		} else {
			err = a.found(ctx, in.ID, account.Finding{Kind: verdict, Subject: ours.Key, Detail: detail})
		}
		if err != nil {
			return ReconciliationPage{}, err
		}
	}
	out := ReconciliationPage{Seen: int64(len(page))}
	if len(page) == chargesBatch {
		out.After = page[len(page)-1].Key
	}
	return out, nil
}

// ReviewBooks looks for what our own books show amiss.
func (a *Activities) ReviewBooks(ctx context.Context, in ReconciliationInput) error {
	all, err := a.Store.ReviewBilling(ctx, in.ID, store.BillingLimits{
		UnknownAfter: a.Billing.LookUpAge + unknownGrace, OverdueAfter: overdueAfter, Since: in.Since,
	}, reconcilePage)
	for _, f := range all {
		err = errors.Join(err, a.found(ctx, in.ID, f))
	}
	return err
}

// ReconciliationEnd is what a reconciliation has looked at.
type ReconciliationEnd struct {
	ID     string
	Counts account.ReconciliationCounts
	// Missed are the steps that could not be finished.
	Missed []string `json:",omitzero"`
}

// Reconciled is what a reconciliation has found.
type Reconciled struct {
	Repaired int64
	Alarms   int64
}

// EndReconciliation closes the record of a reconciliation. One that missed something is an alarm by itself, and the next one
// compares what it should have.
func (a *Activities) EndReconciliation(ctx context.Context, in ReconciliationEnd) (Reconciled, error) {
	for _, step := range slices.Compact(in.Missed) {
		if err := a.found(ctx, in.ID, account.Finding{Kind: account.FindingIncomplete, Subject: step}); err != nil {
			return Reconciled{}, err
		}
	}
	repaired, alarms, err := a.Store.EndReconciliation(ctx, in.ID, in.Counts, len(in.Missed) == 0)
	if err == nil {
		a.Log.InfoContext(ctx, "billing was reconciled", "reconciliation", in.ID, "subscriptions", in.Counts.Subscriptions,
			"flows", in.Counts.Flows, "charges", in.Counts.Charges, "attempts", in.Counts.Attempts, "repaired", repaired, "alarms", alarms)
	}
	return Reconciled{Repaired: repaired, Alarms: alarms}, err
}

// found keeps a finding, and raises the alarm for one that is new to this reconciliation and not repaired.
func (a *Activities) found(ctx context.Context, reconciliation string, f account.Finding) error {
	added, err := a.Store.KeepFinding(ctx, reconciliation, f)
	if err != nil || !added {
		return err
	}
	told := []slog.Attr{
		slog.String("kind", string(f.Kind)), slog.String("subject", f.Subject), slog.String("detail", f.Detail),
		slog.String("reconciliation", reconciliation),
	}
	if f.Repaired {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "billing was repaired", told...)
	} else {
		a.Log.LogAttrs(ctx, slog.LevelError, "billing_alarm", told...)
	}
	if a.Meter != nil {
		a.Meter.Found(f)
	}
	return nil
}
