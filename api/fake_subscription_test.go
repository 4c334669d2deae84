package api_test

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func somePlan() account.Plan {
	return account.Plan{
		ID: "premium_monthly", Code: "premium", Name: "Premium", Family: "main", Price: account.Money{Amount: 2900, Currency: "usd"},
		Interval: account.Interval{Unit: account.IntervalMonth, Count: 1}, TrialDays: 14, CreditsPerMonth: 10000, Features: []string{"fast"},
	}
}

func someSubscription() account.Subscription {
	return account.Subscription{
		ID: "sub_1", AccountID: accountID, Plan: somePlan(), Status: account.SubscriptionActive, PeriodStart: moment,
		PeriodEnd: moment.AddDate(0, 1, 0), CancelAtPeriodEnd: true,
	}
}

func (f *fakeCore) Plans(ctx context.Context, by account.Caller, in core.None) ([]account.Plan, error) {
	return []account.Plan{somePlan()}, f.record(ctx, "Plans", by, in, nil)
}

func (f *fakeCore) Subscriptions(ctx context.Context, by account.Caller, in core.None) ([]account.Subscription, error) {
	return []account.Subscription{someSubscription()}, f.record(ctx, "Subscriptions", by, in, nil)
}

func (f *fakeCore) Subscribe(ctx context.Context, by account.Caller, in core.SubscribeInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "Subscribe", by, in, map[string]string{"plan_id": in.PlanID, "payment_method_id": in.MethodID})
}

func (f *fakeCore) ChangeSubscription(ctx context.Context, by account.Caller, in core.ChangeSubscriptionInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "ChangeSubscription", by, in, nil)
}

func (f *fakeCore) PreviewChange(ctx context.Context, by account.Caller, in core.PreviewInput) (account.Proration, error) {
	return account.Proration{
		Now: true, Due: account.Money{Amount: 1000, Currency: "usd"}, At: moment.Add(time.Hour), PeriodStart: moment, PeriodEnd: moment.AddDate(0, 1, 0),
	}, f.record(ctx, "PreviewChange", by, in, map[string]string{"plan_id": in.PlanID})
}

func (f *fakeCore) CancelSubscription(ctx context.Context, by account.Caller, in core.CancelSubscriptionInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "CancelSubscription", by, in, nil)
}

func (f *fakeCore) KeepSubscription(ctx context.Context, by account.Caller, in core.SubscriptionInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "KeepSubscription", by, in, nil)
}

func (f *fakeCore) PauseSubscription(ctx context.Context, by account.Caller, in core.PauseSubscriptionInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "PauseSubscription", by, in, nil)
}

func (f *fakeCore) ResumeSubscription(ctx context.Context, by account.Caller, in core.SubscriptionInput) (account.Subscription, error) {
	return someSubscription(), f.record(ctx, "ResumeSubscription", by, in, nil)
}

func (f *fakeCore) Invoices(ctx context.Context, by account.Caller, in core.SubscriptionInput) ([]account.Invoice, error) {
	paid := moment.Add(time.Second)
	return []account.Invoice{{
		ID: "in_1", Reason: account.InvoiceCycle, Plan: somePlan(), Amount: account.Money{Amount: 2900, Currency: "usd"}, Status: account.InvoicePaid,
		PeriodStart: moment, PeriodEnd: moment.AddDate(0, 1, 0), CreatedAt: moment, PaidAt: &paid,
	}}, f.record(ctx, "Invoices", by, in, nil)
}
