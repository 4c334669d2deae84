// Package billingtest plays the store and the payment provider of one subscription in memory, with the transitions that the
// real ones apply: for tests of the flow, and for its recordings.
package billingtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/account"
	"gatehouse/activities"
)

// ErrLost is a charge that is made and whose answer nobody gets.
var ErrLost = errors.New("the answer is lost")

// Books are what is known of one subscription. Its methods are activities, each with the promises of the real one; its fields
// may be read and set between them. They live on when the flow continues as new.
type Books struct {
	// Plans is the catalogue, Rules the terms, Now the time at which charges are settled.
	Plans map[string]account.Plan
	Rules account.BillingRules
	Now   func() time.Time
	// Refuse says how a charge goes; nil means well. An error leaves its outcome unknown: after ErrLost the money has moved.
	Refuse func(account.Invoice) (*account.Decline, error)
	// Attach says whether a payment method can be had, Open whether the answer of our database to an opening comes, Begin whether a
	// charge is begun, Load whether our database can be read, Post whether a mail goes out; nil means yes.
	Attach, Open, Begin, Load, Post func() error
	// Change is called before a change is made; it may take its time. Changed says whether the answer of our database to one that is
	// made comes; nil means yes.
	Change  func(activities.SubscriptionCommandKind)
	Changed func(activities.SubscriptionCommandKind) error
	// Watch sees every change, with what the subscription was before. nil means nobody does.
	Watch func(before account.Subscription, c account.SubscriptionChange)

	Sub     account.Subscription
	Events  []string
	Paid    []account.Invoice
	Mails   []string
	Credits int64
	// Ledger is what the provider has charged, by key.
	Ledger map[string]account.Money

	mu   sync.Mutex
	keys map[string]bool
	// pending are the invoices that have a charge whose outcome is unknown.
	pending map[string]bool
}

func (b *Books) state() activities.SubscriptionState {
	s := activities.SubscriptionState{Subscription: b.Sub}
	if len(b.Events) > 0 {
		s.Event = b.Events[len(b.Events)-1]
	}
	s.Action, s.DueAt = b.Sub.Next(b.Rules)
	return s
}

func (b *Books) take(c account.SubscriptionChange, key string, err error) (activities.SubscriptionState, error) {
	if err != nil {
		return activities.SubscriptionState{}, err
	}
	if c.Settled != nil && b.pending[c.Settled.ID] {
		return activities.SubscriptionState{}, account.ErrSubscriptionState.Saying("Subscription is being charged")
	}
	if c.Event == "" {
		return b.state(), nil
	}
	if b.keys == nil {
		b.keys = map[string]bool{}
	}
	if b.Watch != nil {
		b.Watch(b.Sub, c)
	}
	b.keys[key] = true
	b.Sub = c.After
	b.Events = append(b.Events, c.Event)
	b.Credits += c.Credits
	if c.Settled != nil && c.Settled.Status == account.InvoicePaid {
		b.Paid = append(b.Paid, *c.Settled)
	}
	return b.state(), nil
}

// LoadSubscription returns where the subscription stands.
func (b *Books) LoadSubscription(context.Context, activities.SubscriptionInput) (activities.SubscriptionState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Load != nil {
		if err := b.Load(); err != nil {
			return activities.SubscriptionState{}, err
		}
	}
	if b.Sub.ID == "" {
		return activities.SubscriptionState{}, account.ErrNotFound
	}
	return b.state(), nil
}

// AttachMethod takes every payment method, unless Attach says otherwise.
func (b *Books) AttachMethod(_ context.Context, in activities.AttachMethodInput) (activities.AttachedMethod, error) {
	if b.Attach != nil {
		if err := b.Attach(); err != nil {
			return activities.AttachedMethod{}, err
		}
	}
	return activities.AttachedMethod{MethodID: in.MethodID}, nil
}

// OpenSubscription opens the subscription, or returns it as it is.
func (b *Books) OpenSubscription(_ context.Context, in activities.OpenSubscriptionInput) (activities.SubscriptionState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	opened, err := b.open(in)
	if err == nil && b.Open != nil {
		err = b.Open()
	}
	return opened, err
}

func (b *Books) open(in activities.OpenSubscriptionInput) (activities.SubscriptionState, error) {
	if b.Sub.ID != "" {
		return b.state(), nil
	}
	plan, known := b.Plans[in.PlanID]
	if !known {
		return activities.SubscriptionState{}, account.ErrUnknownPlan
	}
	n := account.NewSubscription{
		ID: in.SubscriptionID, AccountID: in.AccountID, Generation: in.Generation, Plan: plan, MethodID: in.MethodID, Trial: true,
	}
	return b.take(n.Open(in.At), "open", nil)
}

// ChangeSubscription applies a command, once per key.
func (b *Books) ChangeSubscription(_ context.Context, in activities.SubscriptionCommand) (activities.SubscriptionState, error) {
	if b.Change != nil {
		b.Change(in.Kind)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	changed, err := b.change(in)
	if err == nil && b.Changed != nil {
		err = b.Changed(in.Kind)
	}
	return changed, err
}

func (b *Books) change(in activities.SubscriptionCommand) (activities.SubscriptionState, error) {
	if b.keys[in.Key] {
		return b.state(), nil
	}
	plan, known := b.Plans[in.PlanID]
	if in.Kind.NamesPlan() && !known {
		return activities.SubscriptionState{}, account.ErrUnknownPlan
	}
	sub := b.Sub
	sub.Charging = sub.Invoice != nil && b.pending[sub.Invoice.ID]
	c, err := in.Apply(sub, plan, b.Rules)
	c.After.Charging = false
	return b.take(c, in.Key, err)
}

// ChargeInvoice asks the provider for the money of an attempt that is owed, and settles it.
func (b *Books) ChargeInvoice(_ context.Context, in activities.ChargeInput) (activities.SubscriptionState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Begin != nil {
		if err := b.Begin(); err != nil {
			return activities.SubscriptionState{}, err
		}
	}
	i := b.Sub.Invoice
	if i == nil || i.ID != in.InvoiceID || i.Attempt != in.Attempt {
		return b.state(), nil
	}
	if b.pending == nil {
		b.pending, b.Ledger = map[string]bool{}, map[string]account.Money{}
	}
	b.pending[i.ID] = true
	decline, err := b.ask(*i)
	if err != nil {
		return activities.SubscriptionState{}, account.ErrUnavailable.Because(err)
	}
	delete(b.pending, i.ID)
	if decline != nil {
		c, err := b.Sub.Declined(in.InvoiceID, in.Attempt, *decline, b.Rules, b.Now())
		return b.take(c, key(*i), err)
	}
	c, err := b.Sub.Paid(in.InvoiceID, b.Now())
	return b.take(c, key(*i), err)
}

// ask is the provider: it charges a key once, and remembers it.
func (b *Books) ask(i account.Invoice) (*account.Decline, error) {
	if _, charged := b.Ledger[key(i)]; charged || b.Refuse == nil {
		b.Ledger[key(i)] = i.Amount
		return nil, nil
	}
	decline, err := b.Refuse(i)
	if decline == nil && (err == nil || errors.Is(err, ErrLost)) {
		b.Ledger[key(i)] = i.Amount
	}
	return decline, err
}

func key(i account.Invoice) string { return Key(i, i.Attempt) }

// Key is what the provider knows an attempt to charge an invoice by.
func Key(i account.Invoice, attempt int) string { return fmt.Sprintf("%s/%d", i.ID, attempt) }

// SendSubscriptionMail notes the mail, unless Post says otherwise.
func (b *Books) SendSubscriptionMail(_ context.Context, in activities.SubscriptionMailInput) (activities.Delivered, error) {
	if b.Post != nil {
		if err := b.Post(); err != nil {
			return activities.Delivered{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Mails = append(b.Mails, in.Template)
	return activities.Delivered{State: activities.DeliverySent}, nil
}
