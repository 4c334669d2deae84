package workflows

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// The names by which PhoneVerification is started and spoken to.
const (
	PhoneVerificationWorkflow = "PhoneVerification"
	// PhoneOpen sends a code to a number. Argument PhoneRequest, no result.
	PhoneOpen = "open"
	// PhoneProceed gives the number of a proven challenge to the account. Argument PhoneProof, no result.
	PhoneProceed = "proceed"
)

// PhoneInput starts the verification of a number. It carries the first request, so that the flow goes on even when the
// update that brought the request was lost. Failover is how long one channel may take before the next one is tried.
type PhoneInput struct {
	AccountID uuid.UUID
	Request   PhoneRequest
	Failover  time.Duration
}

// PhoneRequest asks for a code under a fresh ChallengeID, whose number is parked; repeating the id changes nothing.
type PhoneRequest struct {
	ChallengeID uuid.UUID
}

// PhoneProof names the challenge that the client has proven.
type PhoneProof struct {
	ChallengeID uuid.UUID
}

// PhoneVerification proves that a number is an account's.
//
//	code sent by SMS, else by WhatsApp -> proven -> the number is the account's -> completed, its owner is told by mail
//	unproven in time                                                            -> expired; the code has died by itself
//	canceled by ops: nothing more is sent
//
// One execution per account. Another request, also for another number, joins it and gets a new code, which replaces the one
// before. A run ends with the last code it sent.
func PhoneVerification(ctx workflow.Context, in PhoneInput) error {
	p := &phone{
		owner: in.AccountID, failover: max(in.Failover, time.Second), owed: &in.Request, opened: map[uuid.UUID]error{},
		bound: map[uuid.UUID]bool{}, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx), stage: stageAwaitingProof,
	}
	return play(ctx, p)
}

// phone is the state of one run. The mutex guards every change of it that spans a wait.
type phone struct {
	owner    uuid.UUID
	failover time.Duration
	// owed is the newest request that no try has settled yet. The flow itself goes on with it.
	owed   *PhoneRequest
	opened map[uuid.UUID]error
	bound  map[uuid.UUID]bool
	code   activities.IssuedCode
	// newest is the challenge that was bound last.
	newest uuid.UUID
	// waiting holds while a code awaits its proof.
	waiting bool
	// closed is set when the flow takes no message any more.
	closed   bool
	stopSend workflow.CancelFunc
	mutex    workflow.Mutex
	log      log.Logger

	// For the eyes of ops.
	stage, delivery, notice string
	codes                   int
}

func (p *phone) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, PhoneOpen, p.answerOpen, workflow.UpdateHandlerOptions{
		Validator: p.validateOpen, Description: "Send a (new) code",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, PhoneProceed, p.proceed, workflow.UpdateHandlerOptions{
		Validator: p.validateProceed, Description: "Finish with a proven code",
	})
}

func (p *phone) run(ctx workflow.Context) (outcome string, err error) {
	// Another request may have opened it before the first one was refused.
	if err := p.settle(ctx); err != nil && p.codes == 0 {
		if passing(err) {
			return outcomeFailed, err
		}
		return refusal(err), nil
	}
	for {
		if err := awaitProof(ctx, p, p.log); err != nil {
			return outcomeFailed, err
		}
		p.stopSending()
		if p.closed {
			return outcomeExpired, nil
		}
		told := p.newest
		p.tell(ctx)
		// Meanwhile another number may have been asked for, or even proven.
		if err := p.closeIf(ctx, func() bool { return p.proven() && p.newest == told }); err != nil {
			return outcomeFailed, err
		}
		if p.closed {
			return outcomeCompleted, nil
		}
	}
}

// closeIf closes the flow when it is done, unless that changes while it waits for a request under way.
func (p *phone) closeIf(ctx workflow.Context, done func() bool) error {
	if !done() {
		return nil
	}
	if err := p.mutex.Lock(ctx); err != nil {
		return err
	}
	defer p.mutex.Unlock()
	p.closed = done()
	return nil
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (p *phone) settle(ctx workflow.Context) error {
	if p.owed == nil {
		return nil
	}
	req := *p.owed
	p.owed = nil
	return p.open(ctx, req, patiently)
}

func (p *phone) until() time.Time { return p.code.FlowExpiresAt }
func (p *phone) proven() bool     { return !p.waiting && p.owed == nil }
func (p *phone) owing() bool      { return p.owed != nil }
func (p *phone) over() bool       { return p.closed }

// expire gives up when the newest code has died unproven.
func (p *phone) expire(ctx workflow.Context) error {
	return p.closeIf(ctx, func() bool {
		return p.waiting && p.owed == nil && !workflow.Now(ctx).Before(p.code.FlowExpiresAt)
	})
}

func (p *phone) rearmed(workflow.Context) {}

var errPhoneEnding = errors.New("the verification has ended")

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (p *phone) validateOpen(PhoneRequest) error {
	if p.closed {
		return account.ErrUnavailable.Because(errPhoneEnding)
	}
	return nil
}

// answerOpen tries once, briefly. What fails for a passing reason is still owed: the flow goes on with it.
func (p *phone) answerOpen(ctx workflow.Context, req PhoneRequest) error {
	err := p.open(ctx, req, briefly)
	if err != nil && passing(err) {
		p.owed = &req
	}
	return err
}

func (p *phone) open(ctx workflow.Context, req PhoneRequest, run runner) error {
	if err := p.mutex.Lock(ctx); err != nil {
		return err
	}
	defer p.mutex.Unlock()
	if known, ok := p.opened[req.ChallengeID]; ok {
		return known
	}
	if p.closed {
		return account.ErrUnavailable.Because(errPhoneEnding)
	}
	var code activities.IssuedCode
	input := activities.IssuePhoneCodeInput{AccountID: p.owner, ChallengeID: req.ChallengeID}
	err := run(ctx, a.IssuePhoneCode, input).Get(ctx, &code)
	if err == nil || !passing(err) {
		p.opened[req.ChallengeID] = err
	}
	if err != nil {
		return err
	}
	// The newest code replaces whatever was asked for before.
	p.owed, p.code, p.waiting = nil, code, true
	p.startSending(ctx)
	note(ctx, durable.NextActionAt.ValueSet(code.FlowExpiresAt))
	return nil
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (p *phone) validateProceed(proof PhoneProof) error {
	if !p.bound[proof.ChallengeID] && (p.closed || p.code.ChallengeID != proof.ChallengeID) {
		return account.ErrInvalidCode.Because(errPhoneEnding)
	}
	return nil
}

func (p *phone) proceed(ctx workflow.Context, proof PhoneProof) error {
	if err := p.mutex.Lock(ctx); err != nil {
		return err
	}
	defer p.mutex.Unlock()
	// While it waited, another request or the end may have come.
	if err := p.validateProceed(proof); err != nil {
		return err
	}
	if p.bound[proof.ChallengeID] {
		return nil
	}
	if err := briefly(ctx, a.BindPhone, activities.ChallengeInput(proof)).Get(ctx, nil); err != nil {
		return err
	}
	p.bound[proof.ChallengeID], p.newest, p.waiting = true, proof.ChallengeID, false
	return nil
}

// longestTurn is the longest turn of a channel, in failovers.
const longestTurn = 8

// channels are the ways to a phone, in the order in which they are tried.
var channels = []account.Channel{account.ChannelSMS, account.ChannelWhatsApp}

// startSending hands the newest code to the providers until its time is up. The code before it is no longer sent.
func (p *phone) startSending(ctx workflow.Context) {
	p.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	p.stopSend = cancel
	code := p.code
	p.codes++
	p.delivered(ctx, onItsWay)
	workflow.Go(sending, func(ctx workflow.Context) { p.send(ctx, code) })
}

// send tries one channel after the other until one has accepted the code, for a while each, and then again for longer. A
// channel that refuses the number for good is not tried again.
func (p *phone) send(ctx workflow.Context, code activities.IssuedCode) {
	left, state := channels, "not delivered in time"
	for turn := p.failover; len(left) > 0; turn = min(2*turn, longestTurn*p.failover) {
		for _, channel := range left {
			rest := code.SendBy.Sub(workflow.Now(ctx))
			if rest <= 0 {
				p.delivered(ctx, state)
				return
			}
			var sent activities.Delivered
			input := activities.SendCodeInput{ChallengeID: code.ChallengeID, Template: "phone_code", Channel: channel}
			err := workflow.ExecuteActivity(withMessage(ctx, handing("the code by "+string(channel), code.Masked), min(turn, rest)), a.SendCode, input).Get(ctx, &sent)
			switch {
			case ctx.Err() != nil:
				return // nobody waits for this code any more
			case err != nil:
				p.log.Warn("a code was not sent", "challenge", code.ChallengeID, "channel", channel, "error", durable.Describe(err))
				p.delivered(ctx, string(channel)+": "+undelivered(err))
			case sent.State == activities.DeliveryExpired:
				p.delivered(ctx, string(sent.State))
				return
			case sent.State == activities.DeliverySent:
				p.code.CodeExpiresAt = sent.CodeExpiresAt // its life counts from the provider's acceptance
				p.delivered(ctx, string(channel)+": "+string(sent.State))
				return
			default:
				left = slices.DeleteFunc(slices.Clone(left), func(c account.Channel) bool { return c == channel })
				state = string(channel) + ": " + string(sent.State)
				p.delivered(ctx, state)
			}
		}
		// A vendor that asks for a long pause ends its turn at once; so may the next.
		if len(left) > 0 && pause(ctx, p.failover, waitChannels) != nil {
			return
		}
	}
}

func (p *phone) stopSending() {
	if p.stopSend != nil {
		p.stopSend()
	}
}

// tell has the owner told by mail, in a flow of its own: the next number need not wait for it.
func (p *phone) tell(ctx workflow.Context) {
	p.notice = "started"
	if started, _ := notify(ctx, activities.PhoneNotice(p.owner, p.newest)); !started {
		p.notice = "not started"
	}
}

// end closes the flow to whoever speaks to it from now on, and tells ops how it ended.
func (p *phone) end(ctx workflow.Context, outcome string) {
	p.closed = true
	p.stopSending()
	p.stage = outcome
	p.show(ctx)
	noteEnd(ctx, outcome)
}

func (p *phone) delivered(ctx workflow.Context, state string) {
	p.delivery = state
	p.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (p *phone) show(ctx workflow.Context) {
	var d details
	d.row("Stage", p.stage)
	if p.codes > 0 {
		d.row("Number", p.code.Masked)
		d.row("Codes made", strconv.Itoa(p.codes))
		d.row("Newest code", p.delivery+", expires "+stamp(p.code.CodeExpiresAt))
	}
	if !p.closed && p.waiting {
		d.attempts(p.code)
		d.at("Gives up", p.code.FlowExpiresAt)
	}
	d.row("Notice", p.notice)
	d.row("Next", p.following())
	d.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (p *phone) following() string {
	switch {
	case p.closed:
		return ""
	case p.owed != nil:
		return "the code is made"
	case p.waiting:
		return "the code is entered, or another one asked for; else the number stays as it was"
	}
	return "the owner is told, by a flow of its own"
}
