package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"
)

// made tells ops that the change is made, though mails about it may be on their way for a day.
func (c *emailChange) made(ctx workflow.Context) {
	if c.told = stagesVersion(ctx) != workflow.DefaultVersion; c.told {
		noteEnd(ctx, outcomeCompleted)
	}
}

func (c *emailChange) to(ctx workflow.Context, stage string) {
	c.stage = stage
	c.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (c *emailChange) show(ctx workflow.Context) {
	var d details
	d.row("Stage", c.stage)
	if c.current.Code.Masked != "" {
		d.row("New address", c.current.Code.Masked)
		d.row("Code and link", c.delivery)
	}
	if c.waiting {
		d.attempts(c.current.Code)
		d.at("Gives up", c.current.Code.FlowExpiresAt)
	}
	d.row("Mail", strings.Join(c.notices, ", "))
	d.row("Next", c.following())
	d.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (c *emailChange) following() string {
	switch {
	case c.closed:
		return ""
	case c.owed != nil && !c.waiting:
		return "the proof is made"
	case c.waiting:
		return "the code is entered or the link followed, or another change asked for; else the address stays as it is"
	}
	return "the mails that are on their way, tried for a day"
}
