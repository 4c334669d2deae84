package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

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
	r := &passwordReset{asking: newAsking[PasswordResetRequest, PasswordResetDone](ctx, first), stage: stageAwaitingProof}
	r.id = func(req PasswordResetRequest) uuid.UUID { return req.ChallengeID }
	r.issue, r.apply = r.issueLink, r.reset
	return play(ctx, r)
}

// passwordReset is the state of one run.
type passwordReset struct {
	asking[PasswordResetRequest, PasswordResetDone]
	accountID uuid.UUID
	link      activities.IssuedCode

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
	return workflow.SetUpdateHandlerWithOptions(ctx, PasswordResetProceed,
		func(ctx workflow.Context, proof PasswordResetProof) (PasswordResetDone, error) {
			return r.proceed(ctx, activities.ChallengeInput(proof))
		}, workflow.UpdateHandlerOptions{
			Validator:   func(proof PasswordResetProof) error { return r.validateProceed(activities.ChallengeInput(proof)) },
			Description: "Set the new password with a proven link",
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

func (r *passwordReset) rearmed(ctx workflow.Context) {
	note(ctx, durable.NextActionAt.ValueSet(r.expires))
	r.show(ctx)
}

func (r *passwordReset) issueLink(ctx workflow.Context, req PasswordResetRequest, run runner) error {
	var link activities.IssuedCode
	if err := run(ctx, a.IssueReset, activities.IssueResetInput(req)).Get(ctx, &link); err != nil {
		return err
	}
	if link.ChallengeID == uuid.Nil {
		return nil // nobody
	}
	if r.accountID != req.AccountID {
		r.accountID = req.AccountID
		note(ctx, durable.AccountID.ValueSet(r.accountID.String()))
	}
	r.link, r.expires = link, link.FlowExpiresAt
	r.startSending(ctx)
	return nil
}

// startSending hands the newest link to the provider until its time is up. The link before it is no longer sent.
func (r *passwordReset) startSending(ctx workflow.Context) {
	sending := r.sendingOf(ctx)
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

func (r *passwordReset) reset(ctx workflow.Context, proof activities.ChallengeInput) (PasswordResetDone, error) {
	var set activities.Confirmed
	err := briefly(ctx, a.ResetPassword, proof).Get(ctx, &set)
	if err == nil {
		r.accountID = set.AccountID
	}
	return PasswordResetDone(set), err
}

// notice has the owner told by a flow of its own, so that another reset can begin while the mail is on its way.
func (r *passwordReset) notice(ctx workflow.Context) error {
	_, err := notify(ctx, activities.PasswordResetNotice(r.accountID, r.proof.ChallengeID))
	return err
}
