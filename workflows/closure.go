package workflows

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// The names by which AccountClosure is started and spoken to.
const (
	AccountClosureWorkflow = "AccountClosure"
	// ClosureClose closes the account, once. It takes and returns nothing.
	ClosureClose = "close"
	// ClosureUndo opens the account again, once, until its term of grace is over: whoever comes second is refused. It takes
	// UndoRequest, or nothing, and returns nothing. An undo of another closure is account.ErrNotFound.
	ClosureUndo = "undo"
)

// UndoRequest names the request that wants a closure undone, for its repetitions; nil where it cannot be repeated. ClosureID says
// which closure it means, lest it undo the next one; older requests do not say. Former is the address whose link was followed
// (store.ClosedRecipient).
type UndoRequest struct {
	By        []byte    `json:",omitempty"`
	ClosureID uuid.UUID `json:",omitzero"`
	Former    int       `json:",omitempty"`
}

// AccountClosureInput names the account and its closure, of which the undo link's token is derived, and the session that asks:
// whoever ends that one first ends the request, too.
type AccountClosureInput struct {
	AccountID uuid.UUID
	ClosureID uuid.UUID
	SessionID *uuid.UUID `json:",omitempty"`
}

var errOtherClosure = errors.New("the flow is that of another closure")

const (
	stageClosing  = "closing"
	stageGrace    = string(account.StageGrace)
	stageErasing  = string(account.StageErasing)
	outcomeUndone = string(account.StageUndone)
)

// closureAttempt is an attempt at a mail for each address that the activity writes to, one after the other.
const closureAttempt = activities.ClosureMails * sendAttempt

// AccountClosure closes an account for its owner, and erases it when the term of grace has passed (C01, conventions 17).
//
//	closing -> grace, undo link mailed -> term over: receipt mailed, personal data erased -> completed
//	grace -> undone by the mailed link                                                    -> undone
//	account or session gone before it was closed                                          -> refused
//	canceled by ops: the account stays closed; the sweep erases it
//
// One execution per account; whoever asks again joins it. The receipt goes first, because the address is erased with the
// rest; it is tried for a day and then given up.
func AccountClosure(ctx workflow.Context, in AccountClosureInput) error {
	c := &closure{input: activities.ClosureInput(in), mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx), stage: stageClosing}
	return play(ctx, c)
}

func (c *closure) end(ctx workflow.Context, outcome string) {
	c.ended = true
	c.stopMail()
	c.to(ctx, outcome)
	noteEnd(ctx, outcome)
}

// closure is the state of one run. The mutex guards every change of it that spans a wait.
type closure struct {
	input   activities.ClosureInput
	eraseAt time.Time
	// refused is why the account could not be closed at all.
	refused error
	// undone and final exclude each other: once the receipt is on its way, there is no way back.
	undone, final, ended bool
	cancelMail           workflow.CancelFunc
	mutex                workflow.Mutex
	log                  log.Logger

	// For the eyes of ops.
	stage, mails string
}

func (c *closure) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, ClosureClose,
		func(ctx workflow.Context) error { return c.close(ctx, briefly) },
		workflow.UpdateHandlerOptions{Validator: c.validateClose, Description: "Close the account"})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, ClosureUndo, c.undo,
		workflow.UpdateHandlerOptions{Validator: c.validateUndo, Description: "Open the account again"})
}

func (c *closure) run(ctx workflow.Context) (outcome string, err error) {
	if err := c.close(ctx, patiently); err != nil {
		if passing(err) {
			return outcomeFailed, err
		}
		return outcomeRefused, nil
	}
	if workflow.GetVersion(ctx, "end-subscriptions", workflow.DefaultVersion, 1) != workflow.DefaultVersion {
		if err := c.endSubscriptions(ctx); err != nil {
			return outcomeFailed, err
		}
	}
	c.to(ctx, stageGrace)
	note(ctx, durable.FlowStage.ValueSet(stageGrace), durable.NextActionAt.ValueSet(c.eraseAt))
	c.startMail(ctx)
	for {
		if err := c.awaitTerm(ctx); err != nil {
			return outcomeFailed, err
		}
		if c.undone {
			return outcomeUndone, nil
		}
		c.stopMail()
		c.erasing(ctx)
		c.mail(ctx, "account_erased", courtesyMail)
		if ctx.Err() != nil {
			return outcomeFailed, ctx.Err()
		}
		var left activities.Left
		if err := patiently(ctx, a.EraseAccount, c.input).Get(ctx, &left); err != nil {
			return outcomeFailed, err
		}
		if left.Wait == 0 {
			return outcomeCompleted, nil
		}
		// By the database's clock the end is a little later than by Temporal's; or a charge has no outcome yet.
		c.eraseAt = workflow.Now(ctx).Add(max(left.Wait, leastWait))
	}
}

// endSubscriptions tells the flows of the account's live subscriptions that their payer is gone. One that does not run is ended
// by the reconciliation.
func (c *closure) endSubscriptions(ctx workflow.Context) error {
	var live activities.LiveSubscriptions
	err := patiently(ctx, a.FindLiveSubscriptions, activities.LiveSubscriptionsInput{AccountID: c.input.AccountID}).Get(ctx, &live)
	if err != nil {
		return err
	}
	for _, id := range live.IDs {
		err := workflow.SignalExternalWorkflow(ctx, SubscriptionWorkflowID(id), "", SubscriptionEnd, nil).Get(ctx, nil)
		if err != nil {
			c.log.Warn("a subscription was not told of the closure", "subscription", id, "error", durable.Describe(err))
		}
	}
	return nil
}

func (c *closure) validateClose() error {
	if c.undone || c.ended {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

// close closes the account. The update that brought the request mostly does it; whatever becomes of that, the flow goes on.
func (c *closure) close(ctx workflow.Context, run runner) error {
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	if !c.eraseAt.IsZero() || c.refused != nil {
		return c.refused
	}
	var closed activities.Closed
	err := run(ctx, a.CloseAccount, c.input).Get(ctx, &closed)
	if err != nil && !passing(err) {
		c.refused = err
	}
	c.eraseAt = closed.EraseAt
	return err
}

func (c *closure) validateUndo(r UndoRequest) error {
	if r.ClosureID != uuid.Nil && r.ClosureID != c.input.ClosureID {
		return account.ErrNotFound.Because(errOtherClosure)
	}
	if c.final || c.ended || c.undone {
		return account.ErrInvalidToken.Because(errEnding)
	}
	return nil
}

func (c *closure) undo(ctx workflow.Context, r UndoRequest) error {
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	// While it waited, another undo or the end may have come. The link is good once, so only the first one hears that it worked.
	if err := c.validateUndo(r); err != nil {
		return err
	}
	var back activities.Reopened
	err := briefly(ctx, a.ReopenAccount, activities.ReopenInput{ClosureInput: c.input, UndoneBy: r.By, Former: r.Former}).Get(ctx, &back)
	c.undone = err == nil
	return err
}

// awaitTerm returns once the account is open again, or no undo can come any more.
func (c *closure) awaitTerm(ctx workflow.Context) error {
	if wait := c.eraseAt.Sub(workflow.Now(ctx)); wait > 0 {
		alarm := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: waitErase})
		if err := workflow.Await(ctx, func() bool { return c.undone || alarm.IsReady() }); err != nil || c.undone {
			return err
		}
		if err := alarm.Get(ctx, nil); err != nil {
			return err // canceled
		}
	}
	// An undo under way decides.
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	c.final = !c.undone
	return nil
}

// startMail sends the undo link until it has lost its point.
func (c *closure) startMail(ctx workflow.Context) {
	sending, cancel := workflow.WithCancel(ctx)
	c.cancelMail = cancel
	workflow.Go(sending, func(ctx workflow.Context) {
		c.mail(ctx, "account_closed", max(c.eraseAt.Sub(workflow.Now(ctx)), time.Second))
	})
}

func (c *closure) stopMail() {
	if c.cancelMail != nil {
		c.cancelMail()
	}
}

func (c *closure) mail(ctx workflow.Context, template string, within time.Duration) {
	c.mails = template + ": " + onItsWay
	c.show(ctx)
	input := activities.ClosureMailInput{ClosureID: c.input.ClosureID, Template: template}
	var sent activities.Delivered
	sending := workflow.WithStartToCloseTimeout(withMessage(ctx, mailing(template), within), closureAttempt)
	err := workflow.ExecuteActivity(sending, a.SendClosureMail, input).Get(ctx, &sent)
	switch {
	case ctx.Err() != nil:
		return // nobody waits for it any more
	case err != nil:
		c.log.Warn("a mail was not sent", "template", template, "error", durable.Describe(err))
		c.mails = template + ": " + undelivered(err)
	default:
		c.mails = template + ": " + string(sent.State)
	}
	c.show(ctx)
}

func (c *closure) to(ctx workflow.Context, stage string) {
	c.stage = stage
	c.show(ctx)
}

// erasing tells ops that there is no way back. The receipt is tried for a day before anything is erased.
func (c *closure) erasing(ctx workflow.Context) {
	first := c.stage != stageErasing
	c.to(ctx, stageErasing)
	if stagesVersion(ctx) != workflow.DefaultVersion && first {
		note(ctx, durable.FlowStage.ValueSet(stageErasing), durable.NextActionAt.ValueUnset())
	}
}

// show writes what ops read in the UI.
func (c *closure) show(ctx workflow.Context) {
	var d details
	d.row("Stage", c.stage)
	next := map[string]string{
		stageClosing: "the account is closed, its sessions and subscriptions are ended",
		stageGrace:   "the owner undoes it by the mailed link; else the personal data is erased",
		stageErasing: "the receipt is mailed, tried for a day; then the personal data is erased",
	}
	if c.stage == stageGrace {
		d.at("Erases", c.eraseAt)
	}
	d.row("Mail", c.mails)
	d.row("Next", next[c.stage])
	d.show(ctx)
}
