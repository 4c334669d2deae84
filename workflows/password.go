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

// The names by which PasswordReset is started and spoken to.
const (
	PasswordResetWorkflow = "PasswordReset"
	// PasswordResetOpen sends a (new) link. Argument PasswordResetRequest, no result.
	PasswordResetOpen = "open"
	// PasswordResetProceed sets the new password with a proven challenge. Argument PasswordResetProof, result PasswordResetDone.
	PasswordResetProceed = "proceed"
)

// PasswordResetRequest asks for a link under a fresh ChallengeID; repeating the id changes nothing. For an unknown address
// AccountID is the id of nobody: the flow then does and answers the same, and sends nothing.
type PasswordResetRequest struct {
	AccountID   uuid.UUID
	ChallengeID uuid.UUID
}

// PasswordResetProof names the challenge that the client has proven.
type PasswordResetProof struct {
	ChallengeID uuid.UUID
}

// PasswordResetDone names the account whose password was set. CreditsAwarded is the welcome bonus of an address that was
// proven by this.
type PasswordResetDone struct {
	AccountID      uuid.UUID `json:",omitzero"`
	CreditsAwarded int64     `json:",omitzero"`
}

// PasswordReset lets the owner of a mailbox set a new password (C07, C21).
//
//	link sent -> proven -> password set, everything else of the account signed out -> completed, notice mail by a flow of its own
//	unproven in time: the link is dead by the database's clock                     -> expired
//	nobody has the address: nothing is sent                                        -> refused
//
// Its input is the first request, so that the flow goes on even when the update that brought it was lost. One execution per
// address: another request joins it and gets a new link.
func PasswordReset(ctx workflow.Context, first PasswordResetRequest) error {
	r := &passwordReset{
		owed: &first, opened: map[uuid.UUID]bool{}, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx),
		stage: stageAwaitingProof,
	}
	return play(ctx, r)
}

// passwordReset is the state of one run. The mutex guards every change of it that spans a wait.
type passwordReset struct {
	// owed is the newest request that no try has settled yet. The flow itself goes on with it.
	owed      *PasswordResetRequest
	opened    map[uuid.UUID]bool
	accountID uuid.UUID
	link      activities.IssuedCode
	expires   time.Time
	proof     PasswordResetProof
	done      *PasswordResetDone
	closed    bool
	stopSend  workflow.CancelFunc
	mutex     workflow.Mutex
	log       log.Logger

	// For the eyes of ops.
	stage, delivery string
	links           int
}

func (r *passwordReset) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, PasswordResetOpen, r.answerOpen, workflow.UpdateHandlerOptions{
		Validator: r.validateOpen, Description: "Send a (new) link",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, PasswordResetProceed, r.proceed, workflow.UpdateHandlerOptions{
		Validator: r.validateProceed, Description: "Set the new password with a proven link",
	})
}

func (r *passwordReset) run(ctx workflow.Context) (outcome string, err error) {
	if err := r.settle(ctx); err != nil && r.expires.IsZero() {
		return outcomeFailed, err
	}
	if r.expires.IsZero() {
		return outcomeRefused, nil
	}
	if err := awaitProof(ctx, r, r.log); err != nil {
		return outcomeFailed, err
	}
	r.stopSending()
	if r.done == nil {
		return outcomeExpired, nil
	}
	return outcomeCompleted, r.notice(ctx)
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (r *passwordReset) settle(ctx workflow.Context) error {
	if r.owed == nil {
		return nil
	}
	req := *r.owed
	r.owed = nil
	return r.open(ctx, req, patiently)
}

func (r *passwordReset) until() time.Time { return r.expires }
func (r *passwordReset) proven() bool     { return r.done != nil }
func (r *passwordReset) owing() bool      { return r.owed != nil }
func (r *passwordReset) over() bool       { return r.closed }

func (r *passwordReset) rearmed(ctx workflow.Context) {
	r.note(ctx, durable.NextActionAt.ValueSet(r.expires))
	r.show(ctx)
}

// expire closes the flow, unless a proof or another link came while it waited.
func (r *passwordReset) expire(ctx workflow.Context) error {
	if err := r.mutex.Lock(ctx); err != nil {
		return err
	}
	defer r.mutex.Unlock()
	r.closed = r.done == nil && !workflow.Now(ctx).Before(r.expires)
	return nil
}

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (r *passwordReset) validateOpen(PasswordResetRequest) error {
	if r.closed || r.done != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

// answerOpen tries once, briefly. What fails for a passing reason is still owed: the flow goes on with it, whether or not
// the caller asks again.
func (r *passwordReset) answerOpen(ctx workflow.Context, req PasswordResetRequest) error {
	err := r.open(ctx, req, briefly)
	if err != nil && passing(err) {
		r.owed = &req
	}
	return err
}

func (r *passwordReset) open(ctx workflow.Context, req PasswordResetRequest, run runner) error {
	if err := r.mutex.Lock(ctx); err != nil {
		return err
	}
	defer r.mutex.Unlock()
	if r.opened[req.ChallengeID] {
		return nil
	}
	if r.closed || r.done != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	var link activities.IssuedCode
	if err := run(ctx, a.IssueReset, activities.IssueResetInput(req)).Get(ctx, &link); err != nil {
		return err
	}
	r.opened[req.ChallengeID] = true
	// The newest link replaces whatever was asked for before.
	r.owed = nil
	if link.ChallengeID == uuid.Nil {
		return nil // nobody
	}
	if r.accountID != req.AccountID {
		r.accountID = req.AccountID
		r.note(ctx, durable.AccountID.ValueSet(r.accountID.String()))
	}
	r.link, r.expires = link, link.FlowExpiresAt
	r.startSending(ctx)
	return nil
}

// startSending hands the newest link to the provider until its time is up. The link before it is no longer sent.
func (r *passwordReset) startSending(ctx workflow.Context) {
	r.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	r.stopSend = cancel
	link := r.link
	r.links++
	r.delivered(ctx, onItsWay)
	workflow.Go(sending, func(ctx workflow.Context) {
		var sent activities.Delivered
		within := max(link.SendBy.Sub(workflow.Now(ctx)), time.Second)
		err := workflow.ExecuteActivity(withMessage(ctx, handing("the link", link.Masked), within), a.SendResetLink,
			activities.ChallengeInput{ChallengeID: link.ChallengeID}).Get(ctx, &sent)
		switch {
		case link.ChallengeID != r.link.ChallengeID || r.done != nil || r.closed || temporal.IsCanceledError(err):
			// Nobody waits for this link any more.
		case err != nil:
			r.log.Warn("a link was not sent", "challenge", link.ChallengeID, "error", durable.Describe(err))
			r.delivered(ctx, undelivered(err))
		default:
			if sent.State == activities.DeliverySent {
				r.expires = sent.CodeExpiresAt
			}
			r.delivered(ctx, string(sent.State))
		}
	})
}

func (r *passwordReset) stopSending() {
	if r.stopSend != nil {
		r.stopSend()
	}
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (r *passwordReset) validateProceed(proof PasswordResetProof) error {
	if r.closed && r.done == nil || r.done != nil && r.proof != proof {
		return account.ErrInvalidCode.Because(errEnding)
	}
	return nil
}

func (r *passwordReset) proceed(ctx workflow.Context, proof PasswordResetProof) (PasswordResetDone, error) {
	if err := r.mutex.Lock(ctx); err != nil {
		return PasswordResetDone{}, err
	}
	defer r.mutex.Unlock()
	// While it waited, another proof or the end may have come.
	if err := r.validateProceed(proof); err != nil {
		return PasswordResetDone{}, err
	}
	if r.done != nil {
		return *r.done, nil
	}
	var set activities.Confirmed
	if err := briefly(ctx, a.ResetPassword, activities.ChallengeInput(proof)).Get(ctx, &set); err != nil {
		return PasswordResetDone{}, err
	}
	done := PasswordResetDone(set)
	r.done, r.proof, r.accountID = &done, proof, done.AccountID
	return done, nil
}

// notice has the owner told by a flow of its own, so that another reset can begin while the mail is on its way.
func (r *passwordReset) notice(ctx workflow.Context) error {
	child := workflow.WithChildOptions(ctx, noticeOptions("notice/"+r.proof.ChallengeID.String(), r.accountID, passwordResetNotice))
	input := SecurityNoticeInput{AccountID: r.accountID, Template: passwordResetNotice, Challenge: r.proof.ChallengeID}
	err := workflow.ExecuteChildWorkflow(child, SecurityNotice, input).GetChildWorkflowExecution().Get(ctx, nil)
	if err != nil && !temporal.IsCanceledError(err) {
		r.log.Warn("the notice was not started", "error", durable.Describe(err))
		return nil // the password is set all the same
	}
	return err
}

const passwordResetNotice = "password_reset"
