package activities

import (
	"context"
	"errors"
	"strconv"
	"time"

	"gatehouse/account"
	"gatehouse/providers"
	"gatehouse/providers/payment"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// ChargeInput names an invoice and the attempt to charge it that is due.
type ChargeInput struct {
	SubscriptionID string
	InvoiceID      string
	Attempt        int
}

// again is how long a charge that the provider is still working on is left alone.
const again = 10 * time.Second

// ChargeInvoice asks for the money of an invoice's attempt, and settles the subscription by the outcome in one transaction. The
// attempt is written before the provider hears of it, and keeps its key: however often this runs, the provider charges once.
// From account.BillingRules.LookUpAge on, the charge is looked up first. It returns account.ErrUnavailable while the outcome
// is unknown; an attempt that is settled already, or owed no more, changes nothing.
func (a *Activities) ChargeInvoice(ctx context.Context, in ChargeInput) (SubscriptionState, error) {
	now := a.Clock.Now()
	attempt, err := a.Store.BeginAttempt(ctx, a.Payments.Name(), in.InvoiceID, in.Attempt, func(c account.DueCharge) bool {
		return a.Billing.TooLate(c, now)
	})
	if errors.Is(err, account.ErrNotFound) {
		return a.LoadSubscription(ctx, SubscriptionInput{SubscriptionID: in.SubscriptionID})
	}
	if err != nil {
		return SubscriptionState{}, err
	}
	outcome, err := a.charge(ctx, in, attempt)
	a.charged(outcome, err)
	switch {
	case err != nil:
		a.Log.WarnContext(ctx, "a charge has no outcome yet", "invoice", in.InvoiceID, "attempt", in.Attempt, "error", err)
		return SubscriptionState{}, account.ErrUnavailable.Because(err).After(max(time.Second, providers.RetryAfter(err)))
	case outcome.State == payment.Processing:
		return SubscriptionState{}, account.ErrUnavailable.After(again)
	}
	return a.settle(ctx, in, outcome)
}

func (a *Activities) charged(o payment.Outcome, err error) {
	switch {
	case a.Meter == nil:
	case err != nil || o.State == payment.Processing:
		a.Meter.Charged(account.ChargeUnknown)
	case o.State == payment.Declined:
		a.Meter.Charged(account.ChargeDeclined)
	default:
		a.Meter.Charged(account.ChargeSucceeded)
	}
}

func (a *Activities) charge(ctx context.Context, in ChargeInput, t store.PaymentAttempt) (payment.Outcome, error) {
	if t.Refused != "" {
		// Nobody pays for an account that was closed or deactivated before the provider heard of the charge, whose subscription a
		// worker ends or pauses (worker.RealignSubscriptions), or for what was asked for long ago.
		return payment.Outcome{State: payment.Declined, Decline: account.Decline{Code: t.Refused, Hard: true}}, nil
	}
	if t.Amount.Amount == 0 {
		return payment.Outcome{State: payment.Succeeded}, nil
	}
	if t.Begun && t.Age >= a.Billing.LookUpAge {
		found, err := a.Payments.Find(ctx, t.Customer, t.Key)
		if err == nil || !errors.Is(err, payment.ErrNotFound) {
			return found, err
		}
		// It never got there. A first payment is too late by now, and so is a dearer plan; any other is still owed.
		s, err := a.Store.Subscription(ctx, in.SubscriptionID)
		if err != nil {
			return payment.Outcome{}, err
		}
		if s.Status == account.SubscriptionIncomplete || s.Upgrade != nil {
			return payment.Outcome{State: payment.Declined, Decline: account.Decline{Code: account.DeclineExpired}}, nil
		}
		if t.Unwanted {
			return payment.Outcome{State: payment.Declined, Decline: account.Decline{Code: account.DeclineInactive, Hard: true}}, nil
		}
	}
	outcome, err := a.Payments.Charge(ctx, payment.Charge{
		Key: t.Key, InvoiceID: in.InvoiceID, Customer: t.Customer, MethodID: t.MethodID, Amount: t.Amount,
	})
	if errors.Is(err, payment.ErrNoSuchMethod) {
		return payment.Outcome{State: payment.Declined, Decline: account.Decline{Code: "no_such_payment_method", Hard: true}}, nil
	}
	return outcome, err
}

func (a *Activities) settle(ctx context.Context, in ChargeInput, o payment.Outcome) (SubscriptionState, error) {
	now := stored(a.Clock.Now())
	settlement := store.Settlement{InvoiceID: in.InvoiceID, Attempt: in.Attempt, ProviderID: o.ID}
	if o.State == payment.Declined {
		settlement.Decline = &o.Decline
	}
	change, err := a.Store.SettleAttempt(ctx, settlement, now, func(s account.Subscription) (account.SubscriptionChange, error) {
		if settlement.Decline != nil {
			return s.Declined(in.InvoiceID, in.Attempt, o.Decline, a.Billing, now)
		}
		return s.Paid(in.InvoiceID, now)
	})
	return a.state(ctx, change, err)
}

// SubscriptionMailInput names a subscription, the version that there is news of, and the template that tells it.
type SubscriptionMailInput struct {
	SubscriptionID string
	Version        int64
	Template       string
}

// SendSubscriptionMail tells a payer what has happened to a subscription, once per version. An account that is gone gets none.
func (a *Activities) SendSubscriptionMail(ctx context.Context, in SubscriptionMailInput) (Delivered, error) {
	s, err := a.Store.Subscription(ctx, in.SubscriptionID)
	if err != nil {
		return Delivered{}, err
	}
	to, err := a.Store.RecipientOf(ctx, s.AccountID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	invoice, err := a.Store.InvoiceAt(ctx, s.ID, in.Version)
	switch {
	case errors.Is(err, account.ErrNotFound):
		invoice.Amount = s.Plan.Price // a trial owes nothing yet
	case err != nil:
		return Delivered{}, err
	}
	plan := s.Plan.Name
	if in.Template == templates.SubscriptionPlanScheduled && s.NextPlan != nil {
		plan = s.NextPlan.Name
	}
	state, err := a.send(ctx, outgoing{
		channel: account.ChannelEmail, flow: flowOf(ctx), account: s.AccountID, recipe: recipe{sendsSubscriptionMail, in},
		step: "news/" + strconv.FormatInt(in.Version, 10), template: in.Template, to: to.Email,
		data: templates.Data{
			Name: to.Name, Username: to.Username, Plan: plan, Amount: account.FormatMoney(invoice.Amount), Date: s.PeriodEnd.Format("2 January 2006"),
		},
	})
	return Delivered{State: state}, err
}
