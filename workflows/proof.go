package workflows

import (
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/internal/durable"
)

// proving is a flow whose middle is a wait: for a proof, for another code that somebody asked for, or for the end of
// its time.
type proving interface {
	// until is when the flow gives up.
	until() time.Time
	// proven reports whether the proof has come, owing whether a request waits to be settled, over whether it gave up.
	proven() bool
	owing() bool
	over() bool
	// settle does what is owed. Its failure is no end: whoever asked has got an answer, and will ask again.
	settle(ctx workflow.Context) error
	// expire gives up, unless a proof came or the time was prolonged meanwhile.
	expire(ctx workflow.Context) error
	// rearmed shows the new end.
	rearmed(ctx workflow.Context)
}

// awaitProof returns once the flow is proven, or over.
func awaitProof(ctx workflow.Context, f proving, logger log.Logger) error {
	for {
		// Never at once: by the database's clock the end may be a little later than by Temporal's.
		patience := max(f.until().Sub(workflow.Now(ctx)), leastWait)
		alarm := workflow.NewTimerWithOptions(ctx, patience, workflow.TimerOptions{Summary: waitProof})
		for !alarm.IsReady() {
			if err := workflow.Await(ctx, func() bool { return f.proven() || f.owing() || alarm.IsReady() }); err != nil {
				return err
			}
			if f.proven() {
				return nil
			}
			if err := f.settle(ctx); err != nil {
				logger.Warn("a request was not settled", "error", durable.Describe(err))
			}
		}
		if err := alarm.Get(ctx, nil); err != nil {
			return err // canceled
		}
		if err := f.expire(ctx); err != nil || f.proven() || f.over() {
			return err
		}
		f.rearmed(ctx)
	}
}

// story is a flow from its handlers to its end.
type story interface {
	setup(ctx workflow.Context) error
	run(ctx workflow.Context) (outcome string, err error)
	// show tells ops where the flow stands.
	show(ctx workflow.Context)
	// end shows the outcome, whatever it is.
	end(ctx workflow.Context, outcome string)
}

// play runs a flow to its end, and then lets its handlers finish: a canceled flow, too, answers whoever waits for it.
func play(ctx workflow.Context, f story) error {
	f.show(ctx) // before anything can hold it up
	err := f.setup(ctx)
	outcome := outcomeFailed
	if err == nil {
		outcome, err = f.run(ctx)
	}
	if temporal.IsCanceledError(err) {
		outcome = outcomeCanceled
	}
	f.end(ctx, outcome)
	wait, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if waited := workflow.Await(wait, func() bool { return workflow.AllHandlersFinished(wait) }); err == nil {
		err = waited
	}
	return err
}

// note sets search attributes. They serve ops alone, so a flow goes on without them.
func note(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes...); err != nil {
		workflow.GetLogger(ctx).Warn("search attributes were not set", "error", durable.Describe(err))
	}
}

// noteEnd has the search attributes say how a flow has ended.
func noteEnd(ctx workflow.Context, outcome string) {
	note(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome), durable.NextActionAt.ValueUnset())
}
