package workflows

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// The stages and outcomes that ops see. Every outcome is also the last stage. A completed flow runs on until its welcome
// mail is sent.
const (
	stageAwaitingProof = "awaiting_proof"
	outcomeCompleted   = "completed"
	outcomeExpired     = "expired"
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
	s.note(ctx, last...)
}

// note sets search attributes. They serve ops alone, so the flow goes on without them.
func (s *signup) note(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes...); err != nil {
		s.log.Warn("search attributes were not set", "error", durable.Describe(err))
	}
}

func (s *signup) delivered(ctx workflow.Context, state string) {
	s.delivery = state
	s.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (s *signup) show(ctx workflow.Context) {
	var b strings.Builder
	row := func(name, value string) { b.WriteString("| " + name + " | " + value + " |\n") }
	b.WriteString("| | |\n|---|---|\n")
	row("Stage", s.stage)
	row("Began by", string(s.kind))
	if s.codes > 0 {
		row("Address", s.code.Masked)
		row("Codes made", strconv.Itoa(s.codes))
		row("Newest code", s.delivery+", expires "+stamp(s.code.CodeExpiresAt))
	}
	if !s.closed && s.done == nil && !s.expires.IsZero() {
		row("Gives up", stamp(s.expires))
	}
	if s.courtesy != "" {
		row("Mail", s.courtesy)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
