package workflows

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/internal/durable"
)

// end closes the flow to whoever speaks to it from now on, and tells ops how it ended.
func (r *passwordReset) end(ctx workflow.Context, outcome string) {
	r.closed = true
	r.stopSending()
	r.stage = outcome
	r.show(ctx)
	last := []temporal.SearchAttributeUpdate{
		durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome), durable.NextActionAt.ValueUnset(),
	}
	if r.accountID != uuid.Nil {
		last = append(last, durable.AccountID.ValueSet(r.accountID.String()))
	}
	r.note(ctx, last...)
}

// note sets search attributes. They serve ops alone, so the flow goes on without them.
func (r *passwordReset) note(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes...); err != nil {
		r.log.Warn("search attributes were not set", "error", durable.Describe(err))
	}
}

func (r *passwordReset) delivered(ctx workflow.Context, state string) {
	r.delivery = state
	r.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (r *passwordReset) show(ctx workflow.Context) {
	var b strings.Builder
	row := func(name, value string) { b.WriteString("| " + name + " | " + value + " |\n") }
	b.WriteString("| | |\n|---|---|\n")
	row("Stage", r.stage)
	if r.links > 0 {
		row("Address", r.link.Masked)
		row("Links made", strconv.Itoa(r.links))
		row("Newest link", r.delivery)
	}
	if !r.closed && r.done == nil && !r.expires.IsZero() {
		row("Gives up", stamp(r.expires))
	}
	workflow.SetCurrentDetails(ctx, b.String())
}
