//go:build unix

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
	"gatehouse/workflows/billingtest"
)

// subscriptionSteps are the activities of a subscription, and the one by which a closure finds it.
type subscriptionSteps interface {
	LoadSubscription(context.Context, activities.SubscriptionInput) (activities.SubscriptionState, error)
	AttachMethod(context.Context, activities.AttachMethodInput) (activities.AttachedMethod, error)
	OpenSubscription(context.Context, activities.OpenSubscriptionInput) (activities.SubscriptionState, error)
	ChangeSubscription(context.Context, activities.SubscriptionCommand) (activities.SubscriptionState, error)
	ChargeInvoice(context.Context, activities.ChargeInput) (activities.SubscriptionState, error)
	SendSubscriptionMail(context.Context, activities.SubscriptionMailInput) (activities.Delivered, error)
	FindLiveSubscriptions(context.Context, activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error)
}

var (
	_ subscriptionSteps = (*activities.Activities)(nil)
	_ subscriptionSteps = (*steps)(nil)
)

func (s *steps) LoadSubscription(ctx context.Context, in activities.SubscriptionInput) (activities.SubscriptionState, error) {
	return s.script().books.LoadSubscription(ctx, in)
}

func (s *steps) AttachMethod(ctx context.Context, in activities.AttachMethodInput) (activities.AttachedMethod, error) {
	return s.script().books.AttachMethod(ctx, in)
}

func (s *steps) OpenSubscription(ctx context.Context, in activities.OpenSubscriptionInput) (activities.SubscriptionState, error) {
	return s.script().books.OpenSubscription(ctx, in)
}

func (s *steps) ChangeSubscription(ctx context.Context, in activities.SubscriptionCommand) (activities.SubscriptionState, error) {
	return s.script().books.ChangeSubscription(ctx, in)
}

func (s *steps) ChargeInvoice(ctx context.Context, in activities.ChargeInput) (activities.SubscriptionState, error) {
	return s.script().books.ChargeInvoice(ctx, in)
}

func (s *steps) SendSubscriptionMail(ctx context.Context, in activities.SubscriptionMailInput) (activities.Delivered, error) {
	return s.script().books.SendSubscriptionMail(ctx, in)
}

func (s *steps) FindLiveSubscriptions(context.Context, activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error) {
	return activities.LiveSubscriptions{IDs: s.script().live}, nil
}

// The plans of the recordings. Nobody waits for a month.
const (
	planSlow  = "slow"
	planDear  = "dear"
	planQuick = "quick"
	planTried = "tried"
)

// paying is a world in which every charge goes well.
func paying() script {
	w := world()
	now := account.SystemClock{}.Now
	price := func(amount int64) account.Money { return account.Money{Amount: amount, Currency: "usd"} }
	plan := func(id string, amount int64, seconds int) account.Plan {
		return account.Plan{
			ID: id, Code: id, Family: "main", Price: price(amount), Interval: account.Interval{Unit: account.IntervalSecond, Count: seconds},
		}
	}
	tried := plan(planTried, 900, 900)
	tried.TrialDays = 14
	w.books = &billingtest.Books{
		Now: func() time.Time { return now().UTC().Truncate(time.Microsecond) },
		Rules: account.BillingRules{
			IncompleteTTL: 2 * short, DunningEnd: account.SubscriptionCanceled, PauseMax: long, Dunning: []time.Duration{short, 2 * short},
		},
		Plans: map[string]account.Plan{
			planSlow: plan(planSlow, 900, 900), planDear: plan(planDear, 2900, 900), planQuick: plan(planQuick, 900, 3), planTried: tried,
		},
	}
	return w
}

// declining has a bank that refuses whatever is asked for a reason.
func declining(reason account.InvoiceReason) func() script {
	return func() script {
		w := paying()
		w.books.Refuse = func(i account.Invoice) (*account.Decline, error) {
			if i.Reason == reason {
				return &account.Decline{Code: "insufficient_funds"}, nil
			}
			return nil, nil
		}
		return w
	}
}

// hesitating has a bank that refuses the first card, and a provider that takes another one only once the time for it is over.
func hesitating() script {
	w := paying()
	w.books.Refuse = func(i account.Invoice) (*account.Decline, error) {
		if i.Attempt == 1 {
			return &account.Decline{Code: "insufficient_funds"}, nil
		}
		return nil, nil
	}
	cards := 0
	w.books.Attach = func() error {
		if cards++; cards > 1 {
			time.Sleep(w.books.Rules.IncompleteTTL + short)
		}
		return nil
	}
	return w
}

// losing has a provider whose first answers are lost.
func losing() script {
	w := paying()
	left := 3
	w.books.Refuse = func(account.Invoice) (*account.Decline, error) {
		if left--; left >= 0 {
			return nil, errors.Join(errSecret)
		}
		return nil, nil
	}
	return w
}

// silent has a database that resumes, and whose answers to that are lost for longer than a request takes.
func silent() script {
	const silence = 6 * time.Second
	w := paying()
	var begun time.Time
	w.books.Changed = func(kind activities.SubscriptionCommandKind) error {
		if kind != activities.CommandResume {
			return nil
		}
		if begun.IsZero() {
			begun = w.books.Now()
		}
		if w.books.Now().Sub(begun) < silence {
			return account.ErrUnavailable.Because(errSecret)
		}
		return nil
	}
	return w
}

// closingPayer closes an account with two subscriptions, of which one has lost its flow.
func closingPayer() script {
	w := closing(3 * short)
	w.books = paying().books
	w.live = []string{"sub_live", "sub_lost"}
	return w
}

func subscribing(plan string) func() story {
	nothing := func(_, _ uuid.UUID) any { return nil }
	return func() story {
		return story{
			noun: "subscription", workflow: workflows.SubscriptionWorkflow, open: workflows.SubscriptionOpen,
			input: func(_, _ uuid.UUID) any {
				return workflows.SubscriptionFlow{
					SubscriptionID: "sub_1",
					Opening:        &workflows.SubscriptionOpening{AccountID: owner, Generation: 1, PlanID: plan, MethodID: "pm_1"},
				}
			},
			request: nothing, proof: nothing, summary: "Subscription sub_1",
			attributes: []temporal.SearchAttributeUpdate{
				durable.FlowStage.ValueSet("opening"), durable.AccountID.ValueSet(owner.String()), durable.Plan.ValueSet(plan),
			},
		}
	}
}

// change asks for a change of the subscription.
func change(f *flow, kind activities.SubscriptionCommandKind, r workflows.SubscriptionRequest) func(context.Context) error {
	return func(ctx context.Context) error {
		r.Key = uuid.NewString()
		return f.client.Tell(ctx, durable.Tell{WorkflowID: f.id, Update: string(kind), Arg: r}, nil)
	}
}

// hint is the provider's: it may know the outcome now.
func hint(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		return f.client.Tell(ctx, durable.Tell{WorkflowID: f.id, Update: workflows.SubscriptionLook}, nil)
	}
}

// accountClosed is what a closure signals.
func accountClosed(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		return f.client.Temporal().SignalWorkflow(ctx, f.id, "", workflows.SubscriptionEnd, nil)
	}
}

// firstRun keeps to the run that there is now, which is continued as new later.
func firstRun(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, "")
		f.run = d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		return err
	}
}

// nextRun goes over to the run that the first one continues in, and stops it when the recording is over.
func nextRun(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := do(ctx, firstRun(f), f.closed); err != nil {
			return err
		}
		f.run = ""
		return firstRun(f)(ctx)
	}
}

// renewed waits until the first period of the run is over, and paid for what follows.
func renewed(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		err := until(ctx, func() (bool, error) {
			kept, err := f.history(ctx)
			return slices.ContainsFunc(kept.GetEvents(), func(e *history.HistoryEvent) bool {
				return e.GetEventType() == enums.EVENT_TYPE_TIMER_FIRED
			}), err
		})
		return errors.Join(err, f.settled(ctx))
	}
}

// refusedWith has a step fail in a known way.
func refusedWith(step func(context.Context) error, want error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := step(ctx); !errors.Is(err, want) {
			return errors.Join(errors.New("was not refused"), err)
		}
		return nil
	}
}

// other starts a subscription beside the flow that is recorded.
func other(f *flow, id string) func(context.Context) error {
	return func(ctx context.Context) error {
		beside := &flow{client: f.client, id: workflows.SubscriptionWorkflowID(id), story: subscribing(planSlow)()}
		return beside.ask(ctx)
	}
}

var (
	dearer      = workflows.SubscriptionRequest{PlanID: planDear}
	byOwner     = workflows.SubscriptionRequest{Reason: account.PausedByOwner}
	anotherCard = workflows.SubscriptionRequest{MethodID: "pm_2"}
)

var subscriptionScenarios = []scenario{
	{"subscription-canceled", subscribing(planSlow), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-canceled-with-period", subscribing(planQuick), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, change(f, activities.CommandCancel, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-periods", subscribing(planQuick), paying, func(ctx context.Context, f *flow) error {
		if err := do(ctx, f.ask, firstRun(f), f.closed); err != nil {
			return err
		}
		return f.client.Temporal().TerminateWorkflow(ctx, f.id, "", "recorded")
	}},
	{"subscription-second-period", subscribing(planQuick), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, renewed(f), change(f, activities.CommandCancel, workflows.SubscriptionRequest{}),
			change(f, activities.CommandUndoCancel, workflows.SubscriptionRequest{}),
			change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-changed", subscribing(planSlow), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, change(f, activities.CommandPause, byOwner), change(f, activities.CommandResume, byOwner),
			change(f, activities.CommandChangeMethod, anotherCard), change(f, activities.CommandChangePlan, dearer),
			change(f, activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: planSlow}),
			change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-upgrade-declined", subscribing(planSlow), declining(account.InvoiceUpdate), func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, refusedWith(change(f, activities.CommandChangePlan, dearer), account.ErrPaymentDeclined),
			change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-resumed-by-time", subscribing(planSlow), paying, func(ctx context.Context, f *flow) error {
		at := account.SystemClock{}.Now().Add(2 * short).UTC()
		return do(ctx, f.ask, change(f, activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner, ResumesAt: &at}),
			pause(3*short), accountClosed(f), f.closed)
	}},
	{"subscription-trial-closed", subscribing(planTried), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, accountClosed(f), f.closed)
	}},
	{"subscription-expired", subscribing(planSlow), declining(account.InvoiceCreate), func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"subscription-overtaken", subscribing(planSlow), hesitating, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, change(f, activities.CommandChangeMethod, anotherCard), pause(short), accountClosed(f), f.closed)
	}},
	{"subscription-doubted", subscribing(planSlow), silent, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, change(f, activities.CommandPause, byOwner),
			refusedWith(change(f, activities.CommandResume, byOwner), account.ErrUnavailable), pause(short), hint(f), pause(short),
			change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
	{"subscription-given-up", subscribing(planQuick), declining(account.InvoiceCycle), func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"subscription-charge-unknown", subscribing(planSlow), losing, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, hint(f), accountClosed(f), f.closed)
	}},
	{"subscription-refused", subscribing("nonsense"), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, refusedWith(f.ask, account.ErrUnknownPlan), f.closed)
	}},
	{"subscription-update-lost", subscribing(planSlow), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, accountClosed(f), f.closed)
	}},
	{"subscription-stopped", subscribing(planSlow), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
	{"closure-of-a-payer", closure, closingPayer, func(ctx context.Context, f *flow) error {
		return do(ctx, other(f, "sub_live"), f.ask, f.closed)
	}},
}

// heldScenarios are those of runs that end with their period, because the change by which periods share one is held. The recordings
// subscription-renewed, -next-period and -recovered are of the build before that change: none can be made again.
var heldScenarios = []scenario{
	{"subscription-held-renewed", subscribing(planQuick), paying, func(ctx context.Context, f *flow) error {
		if err := do(ctx, f.ask, firstRun(f), f.closed); err != nil {
			return err
		}
		return f.client.Temporal().TerminateWorkflow(ctx, f.id, "", "recorded")
	}},
	{"subscription-held-next-period", subscribing(planQuick), paying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, nextRun(f), change(f, activities.CommandCancel, workflows.SubscriptionRequest{}),
			change(f, activities.CommandUndoCancel, workflows.SubscriptionRequest{}),
			change(f, activities.CommandCancelNow, workflows.SubscriptionRequest{}), f.closed)
	}},
}
