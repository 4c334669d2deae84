package usersv1

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type subscriptionCore interface {
	Plans(context.Context, account.Caller, core.None) ([]account.Plan, error)
	Subscriptions(context.Context, account.Caller, core.None) ([]account.Subscription, error)
	Subscribe(context.Context, account.Caller, core.SubscribeInput) (account.Subscription, error)
	ChangeSubscription(context.Context, account.Caller, core.ChangeSubscriptionInput) (account.Subscription, error)
	PreviewChange(context.Context, account.Caller, core.PreviewInput) (account.Proration, error)
	CancelSubscription(context.Context, account.Caller, core.CancelSubscriptionInput) (account.Subscription, error)
	KeepSubscription(context.Context, account.Caller, core.SubscriptionInput) (account.Subscription, error)
	PauseSubscription(context.Context, account.Caller, core.PauseSubscriptionInput) (account.Subscription, error)
	ResumeSubscription(context.Context, account.Caller, core.SubscriptionInput) (account.Subscription, error)
	Invoices(context.Context, account.Caller, core.SubscriptionInput) ([]account.Invoice, error)
}

// unknownSubscription is what the document says of a subscription that is not the caller's, too.
var unknownSubscription = endpoint.Reworded(account.ErrNotFound, "Subscription not found")

func subscriptionRoutes(c subscriptionCore) []endpoint.Route {
	read := func(id, path string) endpoint.Meta {
		return endpoint.Meta{
			ID: id, Method: "GET", Path: path, Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}
	}
	write := func(id, method, path string) endpoint.Meta {
		return endpoint.Meta{
			ID: id, Method: method, Path: path,
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}
	}
	const one = "/v1/users/subscriptions/:id"
	return []endpoint.Route{
		// design D16
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listPlans", Method: "GET", Path: "/v1/plans", Policy: endpoint.Public, Limit: account.LimitRead,
		}, emptyRequest.none, c.Plans, newPlansBody),
		// B18
		endpoint.Handle(Dialect, read("listSubscriptions", "/v1/users/subscriptions"), emptyRequest.none, c.Subscriptions, newSubscriptionsBody),
		// B19
		endpoint.Handle(Dialect, write("subscribe", "POST", "/v1/users/subscriptions"), subscribeRequest.input, c.Subscribe, newSubscriptionBody,
			endpoint.Reworded(account.ErrNotFound, "Payment method not found")),
		// B20
		endpoint.Handle(Dialect, write("changeSubscription", "PUT", one), changeSubscriptionRequest.input, c.ChangeSubscription,
			newSubscriptionBody, unknownSubscription),
		// B21
		endpoint.Handle(Dialect, write("cancelSubscription", "PUT", one+"/cancel"), cancelSubscriptionRequest.input, c.CancelSubscription,
			newSubscriptionBody, unknownSubscription),
		// design D15
		endpoint.Handle(Dialect, write("keepSubscription", "PUT", one+"/undo-cancel"), subscriptionRequest.input, c.KeepSubscription,
			newSubscriptionBody, unknownSubscription),
		// B22
		endpoint.Handle(Dialect, write("pauseSubscription", "PUT", one+"/pause"), pauseSubscriptionRequest.input, c.PauseSubscription,
			newSubscriptionBody, unknownSubscription),
		// B23
		endpoint.Handle(Dialect, write("unpauseSubscription", "PUT", one+"/unpause"), subscriptionRequest.input, c.ResumeSubscription,
			newSubscriptionBody, unknownSubscription),
		// design D16
		endpoint.Handle(Dialect, read("listInvoices", one+"/invoices"), subscriptionRequest.input, c.Invoices, newInvoicesBody, unknownSubscription),
		// design D16
		endpoint.Handle(Dialect, read("previewPlanChange", one+"/preview"), previewRequest.input, c.PreviewChange, newPreviewBody, unknownSubscription),
	}
}

type subscribeRequest struct {
	PlanID   string `json:"planId"`
	MethodID string `json:"paymentMethodId"`
}

func (r subscribeRequest) input() core.SubscribeInput {
	return core.SubscribeInput{PlanID: r.PlanID, MethodID: r.MethodID}
}

type changeSubscriptionRequest struct {
	ID            string  `path:"id"`
	PlanID        *string `json:"planId"`
	MethodID      *string `json:"paymentMethodId"`
	ProrationTime *string `json:"prorationTime"`
}

func (r changeSubscriptionRequest) input() core.ChangeSubscriptionInput {
	return core.ChangeSubscriptionInput{ID: r.ID, PlanID: r.PlanID, MethodID: r.MethodID, ProrationTime: r.ProrationTime}
}

type cancelSubscriptionRequest struct {
	ID          string `path:"id"`
	Immediately bool   `json:"immediately"`
}

func (r cancelSubscriptionRequest) input() core.CancelSubscriptionInput {
	return core.CancelSubscriptionInput{ID: r.ID, Immediately: r.Immediately}
}

type pauseSubscriptionRequest struct {
	ID        string  `path:"id"`
	ResumesAt *string `json:"resumesAt"`
}

func (r pauseSubscriptionRequest) input() core.PauseSubscriptionInput {
	return core.PauseSubscriptionInput{ID: r.ID, ResumesAt: r.ResumesAt}
}

type subscriptionRequest struct {
	ID string `path:"id"`
}

func (r subscriptionRequest) input() core.SubscriptionInput { return core.SubscriptionInput{ID: r.ID} }

type previewRequest struct {
	ID     string  `path:"id"`
	PlanID *string `query:"planId"`
}

func (r previewRequest) input() core.PreviewInput {
	in := core.PreviewInput{ID: r.ID}
	if r.PlanID != nil {
		in.PlanID = *r.PlanID
	}
	return in
}

type subscriptionBody struct {
	ID                 string `json:"id"`
	Plan               string `json:"plan"`
	Status             string `json:"status"`
	CurrentPeriodStart string `json:"currentPeriodStart"`
	CurrentPeriodEnd   string `json:"currentPeriodEnd"`
	CancelAtPeriodEnd  bool   `json:"cancelAtPeriodEnd"`
}

func newSubscriptionBody(s account.Subscription) any { return dated(s) }

// dated shows days, as document B does of subscriptions and of nothing else (contract X11).
func dated(s account.Subscription) subscriptionBody {
	return subscriptionBody{
		ID: s.ID, Plan: s.Plan.Code, Status: string(s.Status), CurrentPeriodStart: s.PeriodStart.UTC().Format(time.DateOnly),
		CurrentPeriodEnd: s.PeriodEnd.UTC().Format(time.DateOnly), CancelAtPeriodEnd: s.CancelAtPeriodEnd,
	}
}

type subscriptionsBody struct {
	Subscriptions []subscriptionBody `json:"subscriptions"`
}

func newSubscriptionsBody(all []account.Subscription) any {
	body := subscriptionsBody{Subscriptions: make([]subscriptionBody, 0, len(all))}
	for _, s := range all {
		body.Subscriptions = append(body.Subscriptions, dated(s))
	}
	return body
}

type offeredPlanBody struct {
	ID              string   `json:"id"`
	Plan            string   `json:"plan"`
	Name            string   `json:"name"`
	Amount          int64    `json:"amount"`
	Currency        string   `json:"currency"`
	Interval        string   `json:"interval"`
	IntervalCount   int      `json:"intervalCount"`
	TrialDays       int      `json:"trialDays"`
	CreditsPerMonth int64    `json:"creditsPerMonth"`
	Features        []string `json:"features"`
}

type plansBody struct {
	Plans []offeredPlanBody `json:"plans"`
}

func newPlansBody(plans []account.Plan) any {
	body := plansBody{Plans: make([]offeredPlanBody, 0, len(plans))}
	for _, p := range plans {
		body.Plans = append(body.Plans, offeredPlanBody{
			ID: p.ID, Plan: p.Code, Name: p.Name, Amount: p.Price.Amount, Currency: p.Price.Currency,
			Interval: string(p.Interval.Unit), IntervalCount: p.Interval.Count, TrialDays: p.TrialDays,
			CreditsPerMonth: p.CreditsPerMonth, Features: append([]string{}, p.Features...),
		})
	}
	return body
}

type invoiceBody struct {
	ID          string  `json:"id"`
	Reason      string  `json:"reason"`
	Plan        string  `json:"plan"`
	Amount      int64   `json:"amount"`
	Currency    string  `json:"currency"`
	Status      string  `json:"status"`
	PeriodStart string  `json:"periodStart"`
	PeriodEnd   string  `json:"periodEnd"`
	CreatedAt   string  `json:"createdAt"`
	PaidAt      *string `json:"paidAt"`
}

type invoicesBody struct {
	Invoices []invoiceBody `json:"invoices"`
}

func newInvoicesBody(all []account.Invoice) any {
	body := invoicesBody{Invoices: make([]invoiceBody, 0, len(all))}
	for _, i := range all {
		body.Invoices = append(body.Invoices, invoiceBody{
			ID: i.ID, Reason: string(i.Reason), Plan: i.Plan.Code, Amount: i.Amount.Amount, Currency: i.Amount.Currency,
			Status: string(i.Status), PeriodStart: endpoint.Stamp(i.PeriodStart), PeriodEnd: endpoint.Stamp(i.PeriodEnd),
			CreatedAt: endpoint.Stamp(i.CreatedAt), PaidAt: endpoint.StampOrNil(i.PaidAt),
		})
	}
	return body
}

type previewBody struct {
	// Immediate is whether the plan changes once the amount is paid; else it changes at periodEnd and nothing is due.
	Immediate     bool   `json:"immediate"`
	Amount        int64  `json:"amount"`
	Currency      string `json:"currency"`
	ProrationTime string `json:"prorationTime"`
	PeriodStart   string `json:"periodStart"`
	PeriodEnd     string `json:"periodEnd"`
}

func newPreviewBody(p account.Proration) any {
	return previewBody{
		Immediate: p.Now, Amount: p.Due.Amount, Currency: p.Due.Currency, ProrationTime: endpoint.Stamp(p.At),
		PeriodStart: endpoint.Stamp(p.PeriodStart), PeriodEnd: endpoint.Stamp(p.PeriodEnd),
	}
}
