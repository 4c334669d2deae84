package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// The names by which Subscription is started and spoken to. Its updates are SubscriptionOpen and the kinds of
// activities.SubscriptionCommand that people ask for.
const (
	SubscriptionWorkflow = "Subscription"
	// SubscriptionOpen waits a moment for the first charge. No argument, result activities.SubscriptionState.
	SubscriptionOpen = "open"
	// SubscriptionLook asks for the outcome of the charge under way at once: the provider may know it by now. Without one the books
	// are read again: whoever asks has seen there what the flow ought to know. No argument, no result.
	SubscriptionLook = "look"
	// SubscriptionEnd is a signal: the account is closed, the subscription ends as soon as no charge is under way.
	SubscriptionEnd = "end"
	// ChangeSharedRuns is the id of a change: periods share a run, and what time asks our database for needs no task of its own.
	ChangeSharedRuns = "subscription-shared-runs"
	// ChangeRecheckDue is the id of a change: what was due before a request came is judged anew after it.
	ChangeRecheckDue = "subscription-recheck-due"
	// ChangeDoubtReloads is the id of a change: a request that may have been served though it failed has the books read again.
	ChangeDoubtReloads = "subscription-doubt-reloads"
	// ChangeLookReloads is the id of a change: SubscriptionLook has them read again while no charge is under way.
	ChangeLookReloads = "subscription-look-reloads"
	// ChangeCancelUncharged is the id of a change: what is due and not charged yet can be cancelled at once.
	ChangeCancelUncharged = "subscription-cancel-uncharged"
	// ChangeLateOpening is the id of a change: an opening that nobody took up in time is refused.
	ChangeLateOpening = "subscription-late-opening"
)

// SubscriptionWorkflowID is the id of the flow of a subscription, whose own id is opaque.
func SubscriptionWorkflowID(subscription string) string { return "sub/" + subscription }

// SubscriptionFlow is the input of Subscription. Without an Opening the subscription exists already.
type SubscriptionFlow struct {
	SubscriptionID string
	Opening        *SubscriptionOpening `json:",omitzero"`
}

// SubscriptionOpening is a subscription to be created.
type SubscriptionOpening struct {
	AccountID  uuid.UUID
	Generation int
	PlanID     string
	MethodID   string
}

// SubscriptionRequest asks for a change; Key makes it happen once. Which fields count depends on the update.
type SubscriptionRequest struct {
	Key       string
	PlanID    string     `json:",omitzero"`
	MethodID  string     `json:",omitzero"`
	ProrateAt time.Time  `json:",omitzero"`
	ResumesAt *time.Time `json:",omitzero"`
	// Reason is who pauses or resumes.
	Reason account.PauseReason `json:",omitzero"`
}

// Subscription is the whole life of one subscription, and the only writer of its row (design D15).
//
//	incomplete -> active, or expired when the first payment does not come in time
//	active -> period over: invoice, charge, credits -> active; declined: past_due, tried again by the rules of dunning
//	past_due -> active, or canceled / unpaid when the last try is declined
//	active <-> paused; active -> canceled when its period ends, at once, or with its account
//
// What happens is decided by the pure transitions of account.Subscription, in the store's transaction; the flow brings them
// requests and time. It continues as new in or after its second period (runSize, runLife).
func Subscription(ctx workflow.Context, in SubscriptionFlow) error {
	s := &subscription{flow: in, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx)}
	return play(ctx, s)
}

// subscription is the state of one run. The mutex guards every change of it that spans a wait. Its flags:
//
//	flag      set by                                     cleared by       while it is set
//	loaded    open                                       nothing          now holds the subscription, or refused says why there is none
//	charging  charge, with look                          its outcome      nothing else happens to the open invoice; look ends the wait for
//	                                                                      the next attempt to learn the outcome
//	ending    told: the account is closed                nothing          run ends the subscription
//	closed    run and end                                nothing          no request is taken
//	leaving   leave, when the history is very long       leave            no request is taken; the next run takes it
//	doubted   distrust: a failed request, or a look      reread           run reads the books again, which may say something else than now
//	shared    open, behind ChangeSharedRuns              nothing          the run may go on into other periods than the one it began in
type subscription struct {
	flow             SubscriptionFlow
	loaded           bool
	refused          error
	now              activities.SubscriptionState
	charging         bool
	look             func()
	ending, closed   bool
	leaving, doubted bool
	// mails counts those on their way.
	mails int
	// period is when the period began that the run began in.
	period time.Time
	shared bool
	mutex  workflow.Mutex
	log    log.Logger

	// For the eyes of ops.
	mail string
}

func (s *subscription) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, SubscriptionOpen, s.answerOpen, workflow.UpdateHandlerOptions{
		Validator: func() error { return s.admit("") }, Description: "Create the subscription, and wait a moment for its first charge",
	})
	if err != nil {
		return err
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, SubscriptionLook, s.answerLook, workflow.UpdateHandlerOptions{
		Validator: func() error { return s.admit("") }, Description: "Ask for the outcome of the charge at once",
	})
	if err != nil {
		return err
	}
	for _, r := range requestable {
		kind := r.kind
		err := workflow.SetUpdateHandlerWithOptions(ctx, string(kind),
			func(ctx workflow.Context, r SubscriptionRequest) (activities.SubscriptionState, error) {
				return s.answer(ctx, kind, r)
			},
			workflow.UpdateHandlerOptions{
				Validator: func(SubscriptionRequest) error { return s.admit(kind) }, Description: r.description,
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// requestable are the commands that people ask for, and what ops read of them.
var requestable = []struct {
	kind        activities.SubscriptionCommandKind
	description string
}{
	{activities.CommandChangePlan, "Change the plan"},
	{activities.CommandChangeMethod, "Change the payment method; what is owed is charged at once"},
	{activities.CommandChangeBoth, "Change the plan, and the payment method with it"},
	{activities.CommandPause, "Pause"},
	{activities.CommandResume, "Resume"},
	{activities.CommandCancel, "Cancel with the end of the period"},
	{activities.CommandCancelNow, "Cancel at once"},
	{activities.CommandUndoCancel, "Take a cancellation back"},
}

// run follows the subscription until it is over. The signal that ends it may come at any time.
func (s *subscription) run(ctx workflow.Context) (outcome string, err error) {
	if err := s.open(ctx); err != nil {
		return outcomeFailed, err
	}
	if s.refused != nil {
		s.log.Info("a subscription was refused", "error", durable.Describe(s.refused))
		s.closed = true
		return outcomeRefused, nil //nolint:nilerr // a refusal is an end like any other
	}
	for !s.now.Subscription.Status.Ended() {
		if s.doubted {
			if err := s.reread(ctx); err != nil {
				return outcomeFailed, err
			}
			continue
		}
		if s.told(ctx) {
			if err := s.finish(ctx); err != nil {
				return outcomeFailed, err
			}
			continue
		}
		if s.spent(ctx) {
			if err := s.leave(ctx); err != nil {
				return outcomeFailed, err
			}
			if !s.told(ctx) && !s.doubted && s.spent(ctx) {
				return "", s.again(ctx)
			}
			continue
		}
		if err := s.next(ctx); err != nil {
			return outcomeFailed, err
		}
	}
	s.closed = true
	return string(s.now.Subscription.Status), workflow.Await(ctx, func() bool { return s.mails == 0 })
}

// told reports whether the account is closed. It takes the signal itself: one that came in the task which ends the run would
// else be lost with it.
func (s *subscription) told(ctx workflow.Context) bool {
	s.ending = s.ending || s.closures(ctx).ReceiveAsync(nil)
	return s.ending
}

func (s *subscription) closures(ctx workflow.Context) workflow.ReceiveChannel {
	return workflow.GetSignalChannelWithOptions(ctx, SubscriptionEnd, workflow.SignalChannelOptions{
		Description: "End it with its account, as soon as no charge is under way",
	})
}

// ask has our database do what nobody waits for, at once where it can.
func (s *subscription) ask(ctx workflow.Context, activity, in any, out *activities.SubscriptionState) error {
	if s.shared {
		return enduring(ctx, activity, in, out)
	}
	return patiently(ctx, activity, in).Get(ctx, out)
}

// next waits for what comes first, a request or the time of the next action, and then acts.
func (s *subscription) next(ctx workflow.Context) error {
	version, due := s.now.Subscription.Version, s.now.DueAt
	wake := func() bool { return s.told(ctx) || s.doubted || s.now.Subscription.Version != version || s.spent(ctx) }
	if s.now.Action == account.ActionNone {
		return workflow.Await(ctx, wake)
	}
	if wait := due.Sub(workflow.Now(ctx)); wait > 0 {
		waiting, cancel := workflow.WithCancel(ctx)
		defer cancel()
		alarm := workflow.NewTimerWithOptions(waiting, wait, workflow.TimerOptions{Summary: actions[s.now.Action]})
		if err := workflow.Await(ctx, func() bool { return wake() || alarm.IsReady() }); err != nil {
			return err
		}
	}
	if wake() {
		return nil
	}
	switch s.now.Action {
	case account.ActionCharge:
		return s.charge(ctx)
	case account.ActionRenew:
		return s.do(ctx, activities.CommandRenew, version)
	case account.ActionExpire:
		return s.do(ctx, activities.CommandExpire, version)
	case account.ActionGiveUp:
		return s.do(ctx, activities.CommandGiveUp, version)
	case account.ActionResume:
		return s.do(ctx, activities.CommandResume, version)
	case account.ActionEnd:
		return s.do(ctx, activities.CommandCancelNow, version)
	case account.ActionNone:
	}
	return nil
}

// finish ends the subscription of an account that is closed. What is due and was never asked for is dropped; what was asked for
// has to have its outcome first.
func (s *subscription) finish(ctx workflow.Context) error {
	err := s.do(ctx, activities.CommandCancelNow, anyVersion)
	if err == nil && !s.now.Subscription.Status.Ended() && s.now.Action == account.ActionCharge {
		err = s.charge(ctx)
	}
	return err
}

// anyVersion is for what is due whatever came before.
const anyVersion = 0

// do applies what time asks of a version. The loop looks again when a request came first, after which something else may be due,
// and after a refusal.
func (s *subscription) do(ctx workflow.Context, kind activities.SubscriptionCommandKind, version int64) error {
	if err := s.mutex.Lock(ctx); err != nil {
		return err
	}
	defer s.mutex.Unlock()
	if s.now.Subscription.Status.Ended() || version != anyVersion && s.overtaken(ctx, version) {
		return nil
	}
	command := activities.SubscriptionCommand{
		SubscriptionID: s.flow.SubscriptionID, Kind: kind, At: workflow.Now(ctx), Key: s.step(string(kind)),
	}
	var state activities.SubscriptionState
	err := s.ask(ctx, a.ChangeSubscription, command, &state)
	if err != nil && !passing(err) {
		s.log.Warn("a due change was refused", "kind", string(kind), "error", durable.Describe(err))
		return s.reload(ctx)
	}
	if err == nil {
		s.took(ctx, state, true)
	}
	return err
}

// overtaken reports whether a request came since a version. GetVersion is called only in this case, so other histories get no
// marker. A run that once took the old way keeps it.
func (s *subscription) overtaken(ctx workflow.Context, version int64) bool {
	return s.now.Subscription.Version != version &&
		workflow.GetVersion(ctx, ChangeRecheckDue, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// step is the key of a change that time asks for: one for each version.
func (s *subscription) step(kind string) string {
	return "flow/" + kind + "/" + formatInt(s.now.Subscription.Version)
}

// charge asks for the money of the open invoice, for as long as it takes to know the outcome. Requests come in meanwhile.
func (s *subscription) charge(ctx workflow.Context) error {
	invoice := s.now.Subscription.Invoice
	waiting, cancel := workflow.WithCancel(ctx)
	s.charging, s.look = true, cancel
	defer func() {
		s.charging, s.look = false, nil
		cancel()
	}()
	s.show(ctx)
	var state activities.SubscriptionState
	err := workflow.ExecuteActivity(withCharge(waiting, *invoice), a.ChargeInvoice, activities.ChargeInput{
		SubscriptionID: s.flow.SubscriptionID, InvoiceID: invoice.ID, Attempt: invoice.Attempt,
	}).Get(ctx, &state)
	switch {
	case err == nil:
		s.took(ctx, state, true)
		return nil
	case temporal.IsCanceledError(err):
		return ctx.Err() // nil when only the wait was ended: the loop asks again
	default:
		// A provider that is away for a day leaves one line a day. Whatever else it is, the books say what is owed.
		s.log.Error("a charge has no outcome", "invoice", invoice.ID, "error", durable.Describe(err))
		return s.reload(ctx)
	}
}

// took goes on with what a change has left, and tells the payer and ops of it.
func (s *subscription) took(ctx workflow.Context, state activities.SubscriptionState, news bool) {
	if state.Subscription.Version <= s.now.Subscription.Version {
		return
	}
	s.now = state
	s.show(ctx)
	s.noteState(ctx)
	// Flows from before there was a mail for it go on without.
	silent := state.Event == planChangeDeclined &&
		workflow.GetVersion(ctx, "tell-declined-changes", workflow.DefaultVersion, 1) == workflow.DefaultVersion
	if template := mailOf(state); news && !silent && template != "" {
		s.tell(ctx, template, state.Subscription.Version)
	}
}

func (s *subscription) end(ctx workflow.Context, outcome string) {
	s.closed = true
	s.show(ctx)
	if outcome == "" {
		return // goes on in the next run
	}
	noteEnd(ctx, outcome)
}
