package workflows

import (
	"errors"
	"strconv"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// The stages and outcomes that ops see. Every outcome is also the last stage. A completed flow runs on until its welcome
// mail is sent.
const (
	stageAwaitingProof = string(account.StageAwaitingProof)
	stageOpening       = "opening"
	outcomeCompleted   = string(account.StageCompleted)
	outcomeExpired     = string(account.StageExpired)
	outcomeRefused     = "refused"
	outcomeCanceled    = "canceled"
	outcomeFailed      = "failed"
)

// refusal names the end of a sign-up whose first request failed for good.
func refusal(err error) string {
	if errors.Is(durable.FromTemporal(err), account.ErrInvalidCode) {
		return outcomeExpired // its attempt was gone before a code could be made
	}
	return outcomeRefused
}

// end closes the flow to whoever speaks to it from now on, and tells ops how it ended.
func (s *signup) end(ctx workflow.Context, outcome string) {
	s.closed = true
	s.stopSending()
	s.stage = outcome
	s.show(ctx)
	if outcome == outcomeCompleted {
		return // told already
	}
	last := []temporal.SearchAttributeUpdate{
		durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome), durable.NextActionAt.ValueUnset(),
	}
	if s.accountID != uuid.Nil {
		last = append(last, durable.AccountID.ValueSet(s.accountID.String()))
	}
	note(ctx, last...)
}

func (s *signup) delivered(ctx workflow.Context, state string) {
	s.delivery = state
	s.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (s *signup) show(ctx workflow.Context) {
	var d details
	d.row("Stage", s.stage)
	d.row("Began by", string(s.kind))
	if s.codes > 0 {
		d.row("Address", s.code.Masked)
		d.row("Codes made", strconv.Itoa(s.codes))
		d.row("Newest code", s.delivery+", expires "+stamp(s.code.CodeExpiresAt))
	}
	if !s.closed && s.done == nil {
		d.attempts(s.code)
		d.at("Gives up", s.expires)
	}
	d.row("Mail", s.courtesy)
	d.row("Next", s.following())
	d.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (s *signup) following() string {
	switch {
	case s.closed:
		return ""
	case s.kind == account.SignupTaken:
		return "the owner of the address is told by mail"
	case s.done != nil:
		return "the welcome mail, tried for a day"
	case s.codes == 0:
		return "the code is made"
	case s.kind == account.SignupByRegister:
		return "the code is entered or the link followed, or another one asked for; else the account is removed"
	}
	return "the code is entered, or another one asked for; else the sign-up is removed"
}
