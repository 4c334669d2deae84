package workflows

import (
	"time"

	"github.com/google/uuid"
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
		asking: newAsking[PasswordChangeRequest, activities.Spent](ctx, in.Request), owner: in.AccountID, stage: stageAwaitingProof,
	}
	p.id = func(req PasswordChangeRequest) uuid.UUID { return req.ChallengeID }
	p.issue, p.apply = p.issueCode, p.spend
	return play(ctx, p)
}

// passwordChange is the state of one run.
type passwordChange struct {
	asking[PasswordChangeRequest, activities.Spent]
	owner uuid.UUID
	code  activities.IssuedCode

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
	return workflow.SetUpdateHandlerWithOptions(ctx, PasswordChangeProceed,
		func(ctx workflow.Context, proof PasswordChangeProof) (PasswordChangeDone, error) {
			spent, err := p.proceed(ctx, activities.ChallengeInput(proof))
			return PasswordChangeDone{HadPassword: spent.HadPassword}, err
		}, workflow.UpdateHandlerOptions{
			Validator:   func(proof PasswordChangeProof) error { return p.validateProceed(activities.ChallengeInput(proof)) },
			Description: "Make the change with a proven code",
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
	if p.done == nil {
		return outcomeExpired, nil
	}
	return outcomeCompleted, p.notice(ctx)
}

func (p *passwordChange) rearmed(ctx workflow.Context) {
	note(ctx, durable.NextActionAt.ValueSet(p.expires))
	p.show(ctx)
}

func (p *passwordChange) issueCode(ctx workflow.Context, req PasswordChangeRequest, run runner) error {
	var code activities.IssuedCode
	input := activities.IssuePasswordCodeInput{
		AccountID: p.owner, SessionID: req.SessionID, ChallengeID: req.ChallengeID, Channel: req.Channels[0],
	}
	if err := run(ctx, a.IssuePasswordCode, input).Get(ctx, &code); err != nil {
		return err
	}
	p.code, p.expires = code, code.FlowExpiresAt
	p.startSending(ctx, req.Channels)
	return nil
}

func (p *passwordChange) spend(ctx workflow.Context, proof activities.ChallengeInput) (activities.Spent, error) {
	var spent activities.Spent
	err := briefly(ctx, a.SpendPasswordCode, proof).Get(ctx, &spent)
	return spent, err
}

// startSending hands the newest code to the provider of every channel until its time is up. The code before it is no longer
// sent.
func (p *passwordChange) startSending(ctx workflow.Context, channels []account.Channel) {
	sending := p.sendingOf(ctx)
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
	case code.ChallengeID != p.code.ChallengeID || p.done != nil || p.closed || temporal.IsCanceledError(err):
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

// notice has the owner told of a new password by flows of their own, so that the next code can be asked for meanwhile.
func (p *passwordChange) notice(ctx workflow.Context) error {
	for _, n := range activities.PasswordChangeNotices(p.owner, p.proof.ChallengeID, *p.done) {
		if _, err := notify(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
