package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/payment"
	"gatehouse/store"
)

// SubscriptionInput names a subscription.
type SubscriptionInput struct {
	SubscriptionID string
}

// SubscriptionState is a subscription as a flow goes on with it: what it waits for, and until when.
type SubscriptionState struct {
	Subscription account.Subscription
	// Event is what made it what it is.
	Event  string
	Action account.SubscriptionAction `json:",omitzero"`
	DueAt  time.Time                  `json:",omitzero"`
}

// state returns what a change has left. The features of plans are left out: no flow reads them.
func (a *Activities) state(ctx context.Context, c account.SubscriptionChange, err error) (SubscriptionState, error) {
	if err != nil {
		return SubscriptionState{}, err
	}
	if c.Event == "" {
		// A repetition, whose first answer may be lost: what it did is news to the flow all the same.
		if c.Event, err = a.Store.SubscriptionEvent(ctx, c.After.ID, c.After.Version); err != nil {
			return SubscriptionState{}, err
		}
	}

	s := c.After
	s.Plan.Features = nil
	for _, plan := range []**account.Plan{&s.NextPlan, &s.Upgrade} {
		if *plan != nil {
			bare := **plan
			bare.Features = nil
			*plan = &bare
		}
	}
	if s.Invoice != nil {
		invoice := *s.Invoice
		invoice.Plan.Features = nil
		s.Invoice = &invoice
	}
	out := SubscriptionState{Subscription: s, Event: c.Event}
	out.Action, out.DueAt = s.Next(a.Billing)
	return out, nil
}

// stored is a moment as Postgres keeps it: an answer and its repetition are equal.
func stored(t time.Time) time.Time { return t.Truncate(time.Microsecond) }

// LoadSubscription returns where a subscription stands once no change of it is under way: a flow that loads may have begun one. It
// returns account.ErrNotFound when there is none.
func (a *Activities) LoadSubscription(ctx context.Context, in SubscriptionInput) (SubscriptionState, error) {
	s, err := a.Store.CommittedSubscription(ctx, in.SubscriptionID)
	return a.state(ctx, account.SubscriptionChange{After: s}, err)
}

// AttachMethodInput names a payment method as its owner has shown it.
type AttachMethodInput struct {
	AccountID uuid.UUID
	MethodID  string
}

// AttachedMethod names the method that charges name.
type AttachedMethod struct {
	MethodID string
}

// AttachMethod makes a payment method usable for later charges, and binds it to the account that shows it first. It returns
// account.ErrNotFound when it belongs to another account, before the provider is asked (PAY-09), account.ErrTooManyRequests when
// the account has shown too many, account.ErrInvalid when the provider does not know it, account.ErrPaymentDeclined when the bank
// does not let it be kept, and account.ErrUnavailable when the provider cannot be reached.
func (a *Activities) AttachMethod(ctx context.Context, in AttachMethodInput) (AttachedMethod, error) {
	customer, err := a.Store.PayerOf(ctx, a.Payments.Name(), in.MethodID, in.AccountID)
	if err != nil {
		return AttachedMethod{}, noMethod(err)
	}
	if err := a.countMethod(ctx, in); err != nil {
		return AttachedMethod{}, err
	}
	to, err := a.Store.PersonOf(ctx, in.AccountID) // who may have no email
	if err != nil {
		return AttachedMethod{}, unusable(err)
	}
	method, err := a.Payments.Attach(ctx, payment.Payer{AccountID: in.AccountID, Customer: customer, Email: to.Email}, in.MethodID)
	switch {
	case errors.Is(err, payment.ErrMethodDeclined):
		return AttachedMethod{}, account.ErrPaymentDeclined.Because(err)
	case errors.Is(err, payment.ErrNoSuchMethod):
		return AttachedMethod{}, account.ErrInvalid.On("payment_method_id", "is not a payment method that can be charged").Because(err)
	case err != nil:
		return AttachedMethod{}, account.ErrUnavailable.Because(err)
	}
	err = a.Store.KeepPaymentMethod(ctx, store.PaymentMethod{
		Provider: a.Payments.Name(), ID: method.ID, Shown: in.MethodID, AccountID: in.AccountID, Customer: method.Customer,
		Fingerprint: method.Fingerprint, Brand: method.Brand, Last4: method.Last4, ExpiresAt: method.ExpiresAt,
	})
	return AttachedMethod{MethodID: method.ID}, noMethod(err)
}

// countMethod counts each method once, however often its attachment is tried.
func (a *Activities) countMethod(ctx context.Context, in AttachMethodInput) error {
	if a.Policy.PaymentMethodsPerDay == 0 {
		return nil
	}
	owner := in.AccountID.String()
	return a.Store.TakeQuotaOnce(ctx, a.Keys.Subject("payment-method", owner+"/"+in.MethodID), a.Keys.Subject("payment-methods", owner),
		[]account.Quota{{Max: a.Policy.PaymentMethodsPerDay, Per: 24 * time.Hour}})
}

func unusable(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrUnauthorized.Because(err)
	}
	return err
}

func noMethod(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrNotFound.Saying("Payment method not found").Because(err)
	}
	return err
}

// OpenSubscriptionInput is a subscription to be created.
type OpenSubscriptionInput struct {
	SubscriptionID string
	AccountID      uuid.UUID
	Generation     int
	PlanID         string
	MethodID       string
	At             time.Time
}

// OpenSubscription creates a subscription with its first invoice, in one transaction. Repeating it returns it as it is. It
// returns account.ErrUnknownPlan, account.ErrAlreadySubscribed, and account.ErrUnauthorized when the account is gone.
func (a *Activities) OpenSubscription(ctx context.Context, in OpenSubscriptionInput) (SubscriptionState, error) {
	plan, err := a.Store.Plan(ctx, in.PlanID)
	if errors.Is(err, account.ErrNotFound) || err == nil && (plan.Free || plan.Retired) {
		return SubscriptionState{}, account.ErrUnknownPlan.Because(err)
	}
	if err != nil {
		return SubscriptionState{}, err
	}
	s, err := a.Store.OpenSubscription(ctx, account.NewSubscription{
		ID: in.SubscriptionID, AccountID: in.AccountID, Generation: in.Generation, Plan: plan, MethodID: in.MethodID, Trial: true,
	}, stored(in.At))
	return a.state(ctx, account.SubscriptionChange{After: s}, unusable(err))
}

// SubscriptionCommand is a request to change a subscription. Key makes it happen once.
type SubscriptionCommand struct {
	SubscriptionID string
	Kind           SubscriptionCommandKind
	Key            string
	At             time.Time
	PlanID         string              `json:",omitzero"`
	MethodID       string              `json:",omitzero"`
	ProrateAt      time.Time           `json:",omitzero"`
	ResumesAt      *time.Time          `json:",omitzero"`
	Reason         account.PauseReason `json:",omitzero"`
}

// SubscriptionCommandKind is what a command asks for.
type SubscriptionCommandKind string

// The kinds. Renew, Expire and GiveUp are what time asks for, the others what people do.
const (
	CommandRenew        SubscriptionCommandKind = "renew"
	CommandExpire       SubscriptionCommandKind = "expire"
	CommandGiveUp       SubscriptionCommandKind = "give_up"
	CommandChangePlan   SubscriptionCommandKind = "change_plan"
	CommandChangeMethod SubscriptionCommandKind = "change_method"
	CommandChangeBoth   SubscriptionCommandKind = "change_plan_and_method"
	CommandPause        SubscriptionCommandKind = "pause"
	CommandResume       SubscriptionCommandKind = "resume"
	CommandCancel       SubscriptionCommandKind = "cancel"
	CommandCancelNow    SubscriptionCommandKind = "cancel_now"
	CommandUndoCancel   SubscriptionCommandKind = "undo_cancel"
)

// NamesPlan reports whether commands of the kind name a plan.
func (k SubscriptionCommandKind) NamesPlan() bool {
	return k == CommandChangePlan || k == CommandChangeBoth
}

// NamesMethod reports whether commands of the kind name a payment method, which has to be attached before.
func (k SubscriptionCommandKind) NamesMethod() bool {
	return k == CommandChangeMethod || k == CommandChangeBoth
}

// ChangeSubscription applies a command, in one transaction, once per key. It returns account.ErrSubscriptionState where the
// subscription's state refuses it, account.ErrUnknownPlan, and account.ErrInvalid.
func (a *Activities) ChangeSubscription(ctx context.Context, in SubscriptionCommand) (SubscriptionState, error) {
	var plan account.Plan
	if in.Kind.NamesPlan() {
		var err error
		plan, err = a.Store.Plan(ctx, in.PlanID)
		if errors.Is(err, account.ErrNotFound) {
			return SubscriptionState{}, account.ErrUnknownPlan.Because(err)
		}
		if err != nil {
			return SubscriptionState{}, err
		}
	}
	in.At = stored(in.At)
	change, err := a.Store.ChangeSubscription(ctx, in.SubscriptionID, in.Key, in.At, func(s account.Subscription) (account.SubscriptionChange, error) {
		return in.Apply(s, plan, a.Billing)
	})
	return a.state(ctx, change, err)
}

// Apply is the transition that a command asks for. Plan is the one that it names, if it names one.
func (in SubscriptionCommand) Apply(s account.Subscription, plan account.Plan, rules account.BillingRules) (account.SubscriptionChange, error) {
	switch in.Kind {
	case CommandRenew:
		return s.Renew(in.At)
	case CommandExpire:
		return s.Expire(in.At)
	case CommandGiveUp:
		return s.GiveUp(rules, in.At)
	case CommandChangePlan, CommandChangeBoth:
		return in.changePlan(s, plan, rules)
	case CommandChangeMethod:
		return s.ChangeMethod(in.MethodID, in.At)
	case CommandPause:
		return s.Pause(in.Reason, in.ResumesAt, rules, in.At)
	case CommandResume:
		return s.Resume(in.At)
	case CommandCancel:
		return s.Cancel(in.At)
	case CommandCancelNow:
		return s.CancelNow(in.At)
	case CommandUndoCancel:
		return s.UndoCancel()
	}
	return account.SubscriptionChange{}, fmt.Errorf("no such command: %q", in.Kind)
}

func (in SubscriptionCommand) changePlan(s account.Subscription, plan account.Plan, rules account.BillingRules) (account.SubscriptionChange, error) {
	if plan.Retired && plan.ID != s.Plan.ID {
		return account.SubscriptionChange{}, account.ErrUnknownPlan
	}
	at := in.ProrateAt
	if at.IsZero() {
		at = in.At
	}
	if in.Kind == CommandChangeBoth {
		return s.ChangePlanAndMethod(plan, in.MethodID, at, rules, in.At)
	}
	return s.ChangePlan(plan, at, rules, in.At)
}

// LiveSubscriptionsInput names an account.
type LiveSubscriptionsInput struct {
	AccountID uuid.UUID
}

// LiveSubscriptions are the ids of an account's subscriptions that are not over.
type LiveSubscriptions struct {
	IDs []string
}

// FindLiveSubscriptions returns which subscriptions of an account are not over.
func (a *Activities) FindLiveSubscriptions(ctx context.Context, in LiveSubscriptionsInput) (LiveSubscriptions, error) {
	all, err := a.Store.SubscriptionsOf(ctx, in.AccountID)
	var out LiveSubscriptions
	for _, s := range all {
		if !s.Status.Ended() {
			out.IDs = append(out.IDs, s.ID)
		}
	}
	return out, err
}
