package workflows

import (
	"strconv"

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
	note(ctx, last...)
}

func (r *passwordReset) delivered(ctx workflow.Context, state string) {
	r.delivery = state
	r.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (r *passwordReset) show(ctx workflow.Context) {
	var d details
	d.row("Stage", r.stage)
	if r.links > 0 {
		d.row("Address", r.link.Masked)
		d.row("Links made", strconv.Itoa(r.links))
		d.row("Newest link", r.delivery)
	}
	if !r.closed && r.done == nil {
		d.at("Gives up", r.expires)
		d.row("Next", r.following())
	}
	d.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (r *passwordReset) following() string {
	if r.links == 0 {
		return "the link is made"
	}
	return "the link is followed, or another one asked for; else the password stays as it is"
}
