package workflows

import (
	"strconv"

	"go.temporal.io/sdk/workflow"
)

// end closes the flow to whoever speaks to it from now on, and tells ops how it ended.
func (p *passwordChange) end(ctx workflow.Context, outcome string) {
	p.closed = true
	p.stopSending()
	p.stage = outcome
	p.show(ctx)
	noteEnd(ctx, outcome)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (p *passwordChange) show(ctx workflow.Context) {
	var d details
	d.row("Stage", p.stage)
	if p.codes > 0 {
		d.row("Contact", p.code.Masked)
		d.row("Codes made", strconv.Itoa(p.codes))
		for _, channel := range p.channels {
			d.row("Newest code by "+string(channel), p.delivery[channel])
		}
	}
	if !p.closed && p.done == nil {
		d.attempts(p.code)
		d.at("Gives up", p.expires)
		d.row("Next", p.following())
	}
	d.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (p *passwordChange) following() string {
	if p.codes == 0 {
		return "the code is made"
	}
	return "the code is entered, or another one asked for; else nothing changes"
}
