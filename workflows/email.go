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

// The names by which EmailChange and EmailLink are started and spoken to.
const (
	EmailChangeWorkflow = "EmailChange"
	EmailLinkWorkflow   = "EmailLink"
	// EmailChangeOpen asks the new mailbox for its proof. Argument EmailChangeRequest, no result.
	EmailChangeOpen = "open"
	// EmailChangeProceed makes the change with a proven challenge. Argument SignupProof, result SignupDone.
	EmailChangeProceed = SignupProceed
)

// EmailChangeInput starts the changes of an account's email. It carries the first request, so that the flow goes on even
// when the update that brought the request was lost.
type EmailChangeInput struct {
	AccountID uuid.UUID
	Request   EmailChangeRequest
}

// EmailChangeRequest names a parked change; repeating it changes nothing.
type EmailChangeRequest struct {
	ChangeID uuid.UUID
}

// EmailChange sees that an account gets another address only once the new mailbox has proven itself, and tells both.
//
//	parked (C20): code and link to the new address, a notice to the old one
//	proven (C31, B08): address changed, both told                            -> completed
//	unproven in time, or replaced by another change: forgotten               -> expired
//	canceled by ops: nothing more is sent; what it leaves in the database is for the sweep
//
// One execution per account while anything of it is pending. A later request joins it and replaces the change before. At
// ten requests a day (account.Policy) a run stays far below the size from which it had to continue as new.
func EmailChange(ctx workflow.Context, in EmailChangeInput) error {
	c := &emailChange{
		account: in.AccountID, owed: &in.Request, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx), stage: stageAwaitingProof,
	}
	return play(ctx, c)
}

// EmailLink is EmailChange as document D asks for it (D23): also for an account without an address, which then is the old one
// of nobody, and proven by a code that the owner enters from within the account (D24). It has an execution of its own, so that
// ops see what was asked for; of changes asked for here and there the newest counts, by the database.
func EmailLink(ctx workflow.Context, in EmailChangeInput) error { return EmailChange(ctx, in) }

func (c *emailChange) run(ctx workflow.Context) (outcome string, err error) {
	if err := c.untilNothingPends(ctx); err != nil {
		return outcomeFailed, err
	}
	return c.outcome, nil
}

func (c *emailChange) end(ctx workflow.Context, outcome string) {
	c.closed = true
	c.stopSending()
	c.to(ctx, outcome)
	noteEnd(ctx, outcome)
}

// emailChange is the state of one execution. current is the change that waits for its proof, nil when none does.
type emailChange struct {
	account  uuid.UUID
	owed     *EmailChangeRequest
	current  activities.IssuedEmailChange
	waiting  bool
	proven   SignupProof
	outcome  string
	mails    int
	closed   bool
	stopSend workflow.CancelFunc
	mutex    workflow.Mutex
	log      log.Logger

	// For the eyes of ops. told is set once the search attributes have said that the change is made.
	stage, delivery string
	told            bool
	notices         []string
}

func (c *emailChange) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, EmailChangeOpen, c.answerOpen, workflow.UpdateHandlerOptions{
		Validator: func(EmailChangeRequest) error { return c.refuseLate() }, Description: "Ask a new address for its proof",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, EmailChangeProceed, c.proceed, workflow.UpdateHandlerOptions{
		Validator: c.validateProceed, Description: "Change the address with a proven code",
	})
}

func (c *emailChange) untilNothingPends(ctx workflow.Context) error {
	for {
		if err := c.settle(ctx); err != nil {
			if passing(err) {
				return err
			}
			c.outcome = refusal(err)
		}
		if !c.waiting {
			// Whoever is still to be told keeps the flow open, and open to another request.
			if err := workflow.Await(ctx, func() bool { return c.waiting || c.owed != nil || c.mails == 0 }); err != nil {
				return err
			}
			if err := c.conclude(ctx); err != nil || c.closed {
				return err
			}
			continue
		}
		if err := c.awaitChange(ctx); err != nil {
			return err
		}
	}
}

func (c *emailChange) idle() bool { return !c.waiting && c.owed == nil && c.mails == 0 }

// conclude closes the flow when nothing pends, unless a request came while it waited.
func (c *emailChange) conclude(ctx workflow.Context) error {
	if !c.idle() {
		return nil
	}
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	c.closed = c.idle()
	return nil
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (c *emailChange) settle(ctx workflow.Context) error {
	if c.owed == nil {
		return nil
	}
	request := *c.owed
	c.owed = nil
	return c.open(ctx, request, patiently)
}

// awaitChange returns when the current change was proven, replaced or has expired.
func (c *emailChange) awaitChange(ctx workflow.Context) error {
	change := c.current.Code.ChallengeID
	timed, cancel := workflow.WithCancel(ctx)
	defer cancel()
	patience := max(c.current.Code.FlowExpiresAt.Sub(workflow.Now(ctx)), leastWait)
	alarm := workflow.NewTimerWithOptions(timed, patience, workflow.TimerOptions{Summary: waitProof})
	err := workflow.Await(ctx, func() bool {
		return !c.waiting || c.current.Code.ChallengeID != change || c.owed != nil || alarm.IsReady()
	})
	if err != nil || !alarm.IsReady() {
		return err
	}
	if err := alarm.Get(ctx, nil); err != nil {
		return err // canceled
	}
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	if !c.waiting || c.current.Code.ChallengeID != change {
		return nil // proven or replaced at the last moment
	}
	c.waiting, c.outcome = false, outcomeExpired
	c.stopSending()
	return patiently(ctx, a.ForgetEmailChange, activities.EmailChangeInput{ChangeID: change}).Get(ctx, nil)
}

func (c *emailChange) refuseLate() error {
	if c.closed {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

// answerOpen tries once, briefly. What fails for a passing reason is still owed.
func (c *emailChange) answerOpen(ctx workflow.Context, request EmailChangeRequest) error {
	err := c.open(ctx, request, briefly)
	if err != nil && passing(err) {
		c.owed = &request
	}
	return err
}

func (c *emailChange) open(ctx workflow.Context, request EmailChangeRequest, run runner) error {
	if err := c.mutex.Lock(ctx); err != nil {
		return err
	}
	defer c.mutex.Unlock()
	if c.current.Code.ChallengeID == request.ChangeID {
		return nil // repeated, or proven already
	}
	if err := c.refuseLate(); err != nil {
		return err
	}
	var issued activities.IssuedEmailChange
	if err := run(ctx, a.IssueEmailChange, activities.EmailChangeInput{ChangeID: request.ChangeID}).Get(ctx, &issued); err != nil {
		return err
	}
	c.stopSending()
	c.current, c.waiting, c.owed, c.outcome = issued, true, nil, outcomeExpired
	waits := []temporal.SearchAttributeUpdate{
		durable.FlowStage.ValueSet(stageAwaitingProof), durable.NextActionAt.ValueSet(issued.Code.FlowExpiresAt),
	}
	if c.told {
		waits = append(waits, durable.FlowOutcome.ValueUnset())
		c.told = false
	}
	note(ctx, waits...)
	c.delivery, c.notices = onItsWay, nil
	if issued.Taken {
		c.delivery = "none: the address has an account, whose owner is told"
	}
	c.to(ctx, stageAwaitingProof)
	c.startSending(ctx, issued)
	return nil
}

// startSending asks the new address for its proof and tells the old one.
func (c *emailChange) startSending(ctx workflow.Context, issued activities.IssuedEmailChange) {
	sending, cancel := workflow.WithCancel(ctx)
	c.stopSend = cancel
	change := issued.Code.ChallengeID
	workflow.Go(sending, func(ctx workflow.Context) {
		if issued.Taken {
			c.mail(ctx, activities.EmailChangeMailInput{ChangeID: change, Template: "signup_exists"})
			return
		}
		var sent activities.Delivered
		within := max(issued.Code.SendBy.Sub(workflow.Now(ctx)), time.Second)
		input := activities.SendCodeInput{ChallengeID: change, Template: "change_email"}
		if issued.Linking {
			input.Template = "link_email"
		}
		err := workflow.ExecuteActivity(withMessage(ctx, handing("the proof", issued.Code.Masked), within), a.SendCode, input).Get(ctx, &sent)
		if ctx.Err() != nil {
			return // nobody waits for this code any more
		}
		c.delivery = string(sent.State)
		if err != nil {
			c.log.Warn("a code was not sent", "challenge", change, "error", durable.Describe(err))
			c.delivery = undelivered(err)
		}
		c.show(ctx)
	})
	c.mails++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { c.mails-- }()
		c.mail(ctx, activities.EmailChangeMailInput{ChangeID: change, Template: "email_change_requested", Old: true})
	})
}

func (c *emailChange) stopSending() {
	if c.stopSend != nil {
		c.stopSend()
		c.stopSend = nil
	}
}

// mail sends a mail that nobody waits for, and tries for a day.
func (c *emailChange) mail(ctx workflow.Context, in activities.EmailChangeMailInput) {
	var sent activities.Delivered
	err := workflow.ExecuteActivity(withMessage(ctx, mailing(in.Template), courtesyMail), a.SendEmailChangeMail, in).Get(ctx, &sent)
	if ctx.Err() != nil {
		return
	}
	state := string(sent.State)
	if err != nil {
		c.log.Warn("a mail was not sent", "template", in.Template, "error", durable.Describe(err))
		state = undelivered(err)
	}
	c.notices = append(c.notices, in.Template+": "+state)
	c.show(ctx)
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (c *emailChange) validateProceed(proof SignupProof) error {
	if proof == c.proven {
		return nil
	}
	if c.closed || !c.waiting || c.current.Taken || proof.ChallengeID != c.current.Code.ChallengeID {
		return account.ErrInvalidCode.Because(errEnding)
	}
	return nil
}

func (c *emailChange) proceed(ctx workflow.Context, proof SignupProof) (SignupDone, error) {
	if err := c.mutex.Lock(ctx); err != nil {
		return SignupDone{}, err
	}
	defer c.mutex.Unlock()
	// While it waited, another change or the end may have come.
	if err := c.validateProceed(proof); err != nil {
		return SignupDone{}, err
	}
	if proof == c.proven {
		return SignupDone{AccountID: c.account}, nil
	}
	var changed activities.EmailChanged
	if err := briefly(ctx, a.ChangeEmail, activities.ChallengeInput(proof)).Get(ctx, &changed); err != nil {
		return SignupDone{}, err
	}
	c.proven, c.waiting, c.outcome = proof, false, outcomeCompleted
	c.stopSending()
	c.to(ctx, outcomeCompleted)
	c.made(ctx)
	c.tellBoth(ctx, proof.ChallengeID)
	return SignupDone{AccountID: changed.AccountID}, nil
}

// tellBoth tells both addresses that the change is made, and then forgets it.
func (c *emailChange) tellBoth(ctx workflow.Context, change uuid.UUID) {
	c.mails++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { c.mails-- }()
		old := workflow.NewWaitGroup(ctx)
		old.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer old.Done()
			c.mail(ctx, activities.EmailChangeMailInput{ChangeID: change, Template: "email_changed", Old: true})
		})
		c.mail(ctx, activities.EmailChangeMailInput{ChangeID: change, Template: "email_changed"})
		old.Wait(ctx)
		if err := patiently(ctx, a.ForgetEmailChange, activities.EmailChangeInput{ChangeID: change}).Get(ctx, nil); err != nil {
			c.log.Warn("a change of email is left to the sweep", "error", durable.Describe(err))
		}
	})
}
