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

// The names by which PasswordChange is started and spoken to.
const (
	PasswordChangeWorkflow = "PasswordChange"
	// PasswordChangeOpen sends a (new) code. Argument PasswordChangeRequest, no result.
	PasswordChangeOpen = "open"
	// PasswordChangeProceed makes the change that a proven code allows. Argument PasswordChangeProof, result
	// PasswordChangeDone.
	PasswordChangeProceed = "proceed"
)

// PasswordChangeInput starts the flow of an account. It carries the first request, so that the flow goes on even when the
// update that brought the request was lost.
type PasswordChangeInput struct {
	AccountID uuid.UUID
	Request   PasswordChangeRequest
}

// PasswordChangeRequest asks for a code under a fresh ChallengeID for one session, on one channel or on several of one
// contact; repeating the id changes nothing.
type PasswordChangeRequest struct {
	ChallengeID uuid.UUID
	SessionID   uuid.UUID
	Channels    []account.Channel
}

// PasswordChangeProof names the challenge that the client has proven. What it is spent on is parked with the proof.
type PasswordChangeProof struct {
	ChallengeID uuid.UUID
}

// PasswordChangeDone tells whether there was a password before.
type PasswordChangeDone struct {
	HadPassword bool `json:",omitzero"`
}

// PasswordChange shows that the owner of an account is at the keyboard of one of its sessions (D06), who may then set a
// password, sign out devices or count as freshly authenticated (D05, D07, D17, D18).
//
//	code sent on its channels, one of which suffices -> proven -> the change is made -> completed; a new password is told by
//	                                                                                    mail, and by SMS to a verified number
//	unproven in time: the code is dead by the database's clock                       -> expired
//	no contact that could be trusted, or the session has ended: nothing is sent      -> refused
//
// One execution per account: another request joins it and gets a new code, which replaces the one before.
func PasswordChange(ctx workflow.Context, in PasswordChangeInput) error {
	p := &passwordChange{
		owner: in.AccountID, owed: &in.Request, opened: map[uuid.UUID]error{}, mutex: workflow.NewMutex(ctx),
		log: workflow.GetLogger(ctx), stage: stageAwaitingProof,
	}
	return play(ctx, p)
}

// passwordChange is the state of one run. The mutex guards every change of it that spans a wait.
type passwordChange struct {
	owner uuid.UUID
	// owed is the newest request that no try has settled yet. The flow itself goes on with it.
	owed    *PasswordChangeRequest
	opened  map[uuid.UUID]error
	code    activities.IssuedCode
	expires time.Time
	proof   PasswordChangeProof
	spent   *activities.Spent
	closed  bool
	// stopSend ends the sending of the newest code.
	stopSend workflow.CancelFunc
	mutex    workflow.Mutex
	log      log.Logger

	// For the eyes of ops: how the newest code fares on each channel.
	stage    string
	codes    int
	channels []account.Channel
	delivery map[account.Channel]string
}

func (p *passwordChange) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, PasswordChangeOpen, p.answerOpen, workflow.UpdateHandlerOptions{
		Validator: p.validateOpen, Description: "Send a (new) code",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, PasswordChangeProceed, p.proceed, workflow.UpdateHandlerOptions{
		Validator: p.validateProceed, Description: "Make the change with a proven code",
	})
}

func (p *passwordChange) run(ctx workflow.Context) (outcome string, err error) {
	if err := p.settle(ctx); err != nil && p.codes == 0 {
		if passing(err) {
			return outcomeFailed, err
		}
		return outcomeRefused, nil
	}
	if err := awaitProof(ctx, p, p.log); err != nil {
		return outcomeFailed, err
	}
	p.stopSending()
	if p.spent == nil {
		return outcomeExpired, nil
	}
	return outcomeCompleted, p.notice(ctx)
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (p *passwordChange) settle(ctx workflow.Context) error {
	if p.owed == nil {
		return nil
	}
	req := *p.owed
	p.owed = nil
	return p.open(ctx, req, patiently)
}

func (p *passwordChange) until() time.Time { return p.expires }
func (p *passwordChange) proven() bool     { return p.spent != nil }
func (p *passwordChange) owing() bool      { return p.owed != nil }
func (p *passwordChange) over() bool       { return p.closed }

func (p *passwordChange) rearmed(ctx workflow.Context) {
	p.note(ctx, durable.NextActionAt.ValueSet(p.expires))
	p.show(ctx)
}

// expire closes the flow, unless a proof or another code came while it waited.
func (p *passwordChange) expire(ctx workflow.Context) error {
	if err := p.mutex.Lock(ctx); err != nil {
		return err
	}
	defer p.mutex.Unlock()
	p.closed = p.spent == nil && !workflow.Now(ctx).Before(p.expires)
	return nil
}

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (p *passwordChange) validateOpen(PasswordChangeRequest) error {
	if p.closed || p.spent != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

// answerOpen tries once, briefly. What fails for a passing reason is still owed: the flow goes on with it.
func (p *passwordChange) answerOpen(ctx workflow.Context, req PasswordChangeRequest) error {
	err := p.open(ctx, req, briefly)
	if err != nil && passing(err) {
		p.owed = &req
	}
	return err
}

func (p *passwordChange) open(ctx workflow.Context, req PasswordChangeRequest, run runner) error {
	if err := p.mutex.Lock(ctx); err != nil {
		return err
	}
	defer p.mutex.Unlock()
	if known, ok := p.opened[req.ChallengeID]; ok {
		return known
	}
	if p.closed || p.spent != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	var code activities.IssuedCode
	input := activities.IssuePasswordCodeInput{
		AccountID: p.owner, SessionID: req.SessionID, ChallengeID: req.ChallengeID, Channel: req.Channels[0],
	}
	err := run(ctx, a.IssuePasswordCode, input).Get(ctx, &code)
	if err == nil || !passing(err) {
		p.opened[req.ChallengeID] = err
	}
	if err != nil {
		return err
	}
	// The newest code replaces whatever was asked for before.
	p.owed, p.code, p.expires = nil, code, code.FlowExpiresAt
	p.startSending(ctx, req.Channels)
	return nil
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (p *passwordChange) validateProceed(proof PasswordChangeProof) error {
	if p.closed && p.spent == nil || p.spent != nil && p.proof != proof {
		return account.ErrInvalidCode.Because(errEnding)
	}
	return nil
}

func (p *passwordChange) proceed(ctx workflow.Context, proof PasswordChangeProof) (PasswordChangeDone, error) {
	if err := p.mutex.Lock(ctx); err != nil {
		return PasswordChangeDone{}, err
	}
	defer p.mutex.Unlock()
	// While it waited, another proof or the end may have come.
	if err := p.validateProceed(proof); err != nil {
		return PasswordChangeDone{}, err
	}
	if p.spent == nil {
		var spent activities.Spent
		if err := briefly(ctx, a.SpendPasswordCode, activities.ChallengeInput(proof)).Get(ctx, &spent); err != nil {
			return PasswordChangeDone{}, err
		}
		p.spent, p.proof = &spent, proof
	}
	return PasswordChangeDone{HadPassword: p.spent.HadPassword}, nil
}

// startSending hands the newest code to the provider of every channel until its time is up. The code before it is no longer
// sent.
func (p *passwordChange) startSending(ctx workflow.Context, channels []account.Channel) {
	p.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	p.stopSend = cancel
	p.codes++
	p.channels, p.delivery = channels, make(map[account.Channel]string, len(channels))
	for _, channel := range channels {
		p.delivery[channel] = onItsWay
		code := p.code
		workflow.Go(sending, func(ctx workflow.Context) { p.send(ctx, code, channel) })
	}
	p.show(ctx)
}

// send is for one channel. Whichever accepts the code, the client may enter it; the channels do not wait for each other.
func (p *passwordChange) send(ctx workflow.Context, code activities.IssuedCode, channel account.Channel) {
	template := "security_code"
	if channel != account.ChannelEmail {
		template = "phone_code"
	}
	var sent activities.Delivered
	within := max(code.SendBy.Sub(workflow.Now(ctx)), time.Second)
	err := workflow.ExecuteActivity(withMessage(ctx, handing("the code by "+string(channel), code.Masked), within), a.SendCode,
		activities.SendCodeInput{ChallengeID: code.ChallengeID, Template: template, Channel: channel}).Get(ctx, &sent)
	switch {
	case code.ChallengeID != p.code.ChallengeID || p.spent != nil || p.closed || temporal.IsCanceledError(err):
		return // nobody waits for this code any more
	case err != nil:
		p.log.Warn("a code was not sent", "challenge", code.ChallengeID, "channel", channel, "error", durable.Describe(err))
		p.delivery[channel] = undelivered(err)
	default:
		p.delivery[channel] = string(sent.State)
		if sent.State == activities.DeliverySent {
			// Its life counts from the first acceptance.
			p.expires = sent.CodeExpiresAt.Add(p.code.FlowExpiresAt.Sub(p.code.CodeExpiresAt))
		}
	}
	p.show(ctx)
}

func (p *passwordChange) stopSending() {
	if p.stopSend != nil {
		p.stopSend()
	}
}

// notice has the owner told of a new password by flows of their own, so that the next code can be asked for meanwhile.
func (p *passwordChange) notice(ctx workflow.Context) error {
	if !p.spent.PasswordSet {
		return nil
	}
	template := "password_changed"
	if !p.spent.HadPassword {
		template = "password_added"
	}
	notices := []SecurityNoticeInput{{AccountID: p.owner, Template: template}}
	if p.spent.Phone {
		notices = append(notices, SecurityNoticeInput{
			AccountID: p.owner, Template: "password_changed_sms", Channel: account.ChannelSMS,
		})
	}
	for _, n := range notices {
		id := "notice/" + p.proof.ChallengeID.String()
		if n.Channel != "" {
			id += "/" + string(n.Channel)
		}
		child := workflow.WithChildOptions(ctx, noticeOptions(id, p.owner, n.Template))
		err := workflow.ExecuteChildWorkflow(child, SecurityNotice, n).GetChildWorkflowExecution().Get(ctx, nil)
		if temporal.IsCanceledError(err) {
			return err
		}
		if err != nil {
			p.log.Warn("a notice was not started", "template", n.Template, "error", durable.Describe(err))
		}
	}
	return nil
}
