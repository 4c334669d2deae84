package workflows

import (
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"gatehouse/activities"
)

// details is the table that ops read in the UI above a flow's history: masked, and encrypted at rest like any payload. The
// rows have the same names in every flow, as docs/operations.md lists them. It holds all that is to be known: the summary that
// a flow was started with is lost when it continues as new.
type details struct{ rows strings.Builder }

// row adds a row, unless it has nothing to say.
func (d *details) row(name, value string) {
	if value != "" {
		d.rows.WriteString("| " + name + " | " + value + " |\n")
	}
}

// at adds a row with a time, unless there is none.
func (d *details) at(name string, t time.Time) {
	if !t.IsZero() {
		d.row(name, stamp(t))
	}
}

// attempts says how often a code may be entered. What is left of that is counted in the database alone: wrong guesses never
// reach Temporal. Codes from before this was told have none.
func (d *details) attempts(code activities.IssuedCode) {
	if code.Tries > 0 {
		d.row("Attempts", strconv.Itoa(code.Tries)+" for each code; `gatehouse flows find` counts those left")
	}
}

// show puts the table in place of the one before.
func (d *details) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, "| | |\n|---|---|\n"+d.rows.String())
}

// onItsWay is the state of a message between the flow and its provider.
const onItsWay = "on its way"

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// pause waits for a while, under a name. Like workflow.Sleep it fails when the flow is canceled.
func pause(ctx workflow.Context, d time.Duration, summary string) error {
	return workflow.NewTimerWithOptions(ctx, d, workflow.TimerOptions{Summary: summary}).Get(ctx, nil)
}

// awaitBriefly waits for a condition for a while, under a name.
func awaitBriefly(ctx workflow.Context, d time.Duration, summary string, condition func() bool) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: d, TimerOptions: workflow.TimerOptions{Summary: summary},
	}, condition)
	return err
}
