package workflows

import (
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// ReconciliationWorkflow is the name by which Reconciliation is started, ReconciliationSchedule the schedule that does so.
const (
	ReconciliationWorkflow = "Reconciliation"
	ReconciliationSchedule = "reconciliation"
)

// NightlyReconciliation is the schedule of reconciliations.
func NightlyReconciliation(every, at time.Duration) durable.Schedule {
	return durable.Schedule{
		ID: ReconciliationSchedule, Every: every, At: at,
		Flow: durable.Start{
			WorkflowID: ReconciliationSchedule, Workflow: ReconciliationWorkflow, Queue: durable.QueueFlows, Input: ReconciliationInput{},
			Summary: startReconciliation,
			Attributes: []temporal.SearchAttributeUpdate{
				durable.FlowKind.ValueSet("reconciliation"), durable.FlowStage.ValueSet(stageBeginning),
			},
		},
	}
}

// ReconciliationInput is empty, but for a run that goes on with what another one has begun.
type ReconciliationInput struct {
	Progress *ReconciliationProgress `json:",omitzero"`
}

// ReconciliationProgress is how far a reconciliation has got.
type ReconciliationProgress struct {
	Compared account.Reconciliation
	// Step is the one under way, After and Page where its next page begins.
	Step   int
	After  string `json:",omitzero"`
	Page   []byte `json:",omitzero"`
	Counts account.ReconciliationCounts
	Missed []string `json:",omitzero"`
}

const stageBeginning = "beginning"

// Reconciliation compares what our books say of subscriptions with their flows, and with the payment provider's books, both
// ways. What is safe it repairs: a flow that was lost is started again, and settles what is pending. The rest is kept as
// findings, and raises an alarm.
//
//	beginning -> flows, charges, attempts, books -> completed
//	a part could not be done in time             -> completed, with an alarm: the next one makes up for it
//
// A schedule starts one each night.
func Reconciliation(ctx workflow.Context, in ReconciliationInput) error {
	info := workflow.GetInfo(ctx)
	// Two that were asked for within one second have the same workflow id.
	r := &reconciliation{id: info.WorkflowExecution.ID + "/" + info.FirstRunID, log: workflow.GetLogger(ctx), stage: stageBeginning}
	if in.Progress != nil {
		r.ReconciliationProgress = *in.Progress
		r.begun = true
	}
	return play(ctx, r)
}

type reconciliation struct {
	ReconciliationProgress
	id    string
	begun bool
	log   log.Logger

	// For the eyes of ops.
	stage  string
	closed bool
	result activities.Reconciled
}

// reconciling is one step: it looks at a page and says where the next one begins.
type reconciling struct {
	stage string
	do    any
	queue string
	// attempt bounds a page, total the time in which it must get done. beats is how long it may say nothing, 0 that it says nothing.
	attempt, total, beats time.Duration
	count                 func(*account.ReconciliationCounts) *int64
}

// Pages of our own store and of Temporal take seconds, a list of the provider's as long as it is.
const (
	pageAttempt = 2 * time.Minute
	pageTotal   = 2 * time.Hour
	// hastenAttempt is for asking hundreds of flows, one after the other.
	hastenAttempt = 30 * time.Minute
	listAttempt   = 4 * time.Hour
	listTotal     = 10 * time.Hour
	heartbeat     = 10 * time.Minute
)

var reconcileSteps = []reconciling{
	{"flows", a.ReviveFlows, durable.QueueFlows, pageAttempt, pageTotal, 0, func(c *account.ReconciliationCounts) *int64 { return &c.Subscriptions }},
	{"left flows", a.ReviewFlows, durable.QueueFlows, pageAttempt, pageTotal, 0, func(c *account.ReconciliationCounts) *int64 { return &c.Flows }},
	{"late charges", a.HastenCharges, durable.QueueFlows, hastenAttempt, pageTotal, heartbeat, nil},
	{"charges", a.CompareCharges, durable.QueuePayments, listAttempt, listTotal, heartbeat, func(c *account.ReconciliationCounts) *int64 { return &c.Charges }},
	{"attempts", a.CompareAttempts, durable.QueuePayments, listAttempt, listTotal, heartbeat, func(c *account.ReconciliationCounts) *int64 { return &c.Attempts }},
	{"books", a.ReviewBooks, durable.QueueFlows, pageAttempt, pageTotal, 0, nil},
}

func (*reconciliation) setup(workflow.Context) error { return nil }

func (r *reconciliation) run(ctx workflow.Context) (outcome string, err error) {
	if !r.begun {
		err := patiently(ctx, a.BeginReconciliation, activities.ReconciliationInput{ID: r.id}).Get(ctx, &r.Compared)
		if err != nil {
			return outcomeFailed, err
		}
	}
	for r.Step < len(reconcileSteps) {
		step := reconcileSteps[r.Step]
		r.to(ctx, step.stage)
		more, err := r.page(ctx, step)
		switch {
		case ctx.Err() != nil:
			return outcomeFailed, ctx.Err()
		case err != nil:
			r.log.Error("a step of a reconciliation was given up", "step", step.stage, "error", durable.Describe(err))
			r.Missed = append(r.Missed, step.stage)
		}
		if !more {
			r.Step, r.After, r.Page = r.Step+1, "", nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			progress := r.ReconciliationProgress
			return "", workflow.NewContinueAsNewError(ctx, Reconciliation, ReconciliationInput{Progress: &progress})
		}
	}
	end := activities.ReconciliationEnd{ID: r.id, Counts: r.Counts, Missed: r.Missed}
	if err := patiently(ctx, a.EndReconciliation, end).Get(ctx, &r.result); err != nil {
		return outcomeFailed, err
	}
	return outcomeCompleted, nil
}

// page takes one page of a step, and reports whether there is another one.
func (r *reconciliation) page(ctx workflow.Context, step reconciling) (more bool, err error) {
	options := workflow.ActivityOptions{
		TaskQueue: step.queue, Summary: summaryOf(step.do), StartToCloseTimeout: step.attempt, ScheduleToCloseTimeout: step.total,
		HeartbeatTimeout: step.beats,
		RetryPolicy:      &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Minute},
	}
	var looked activities.ReconciliationPage
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), step.do, activities.ReconciliationInput{
		ID: r.id, After: r.After, Page: r.Page, Since: r.Compared.Since, Until: r.Compared.Until,
	}).Get(ctx, &looked)
	if err != nil {
		return false, err
	}
	if step.count != nil {
		*step.count(&r.Counts) += looked.Seen
	}
	r.After, r.Page = looked.After, looked.Page
	return r.After != "" || len(r.Page) > 0, nil
}

func (r *reconciliation) end(ctx workflow.Context, outcome string) {
	if outcome == "" {
		return // goes on in the next run
	}
	r.stage, r.closed = outcome, true
	r.show(ctx)
	note(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome))
}

// to goes to a stage, once.
func (r *reconciliation) to(ctx workflow.Context, stage string) {
	if stage == r.stage {
		r.show(ctx)
		return
	}
	r.stage = stage
	r.show(ctx)
	if stagesVersion(ctx) != workflow.DefaultVersion {
		note(ctx, durable.FlowStage.ValueSet(stage))
	}
}

// show writes what ops read in the UI.
func (r *reconciliation) show(ctx workflow.Context) {
	var d details
	number := func(name string, n int64) { d.row(name, strconv.FormatInt(n, 10)) }
	d.row("Stage", r.stage)
	if !r.Compared.Until.IsZero() {
		d.row("Charges of", stamp(r.Compared.Since)+" to "+stamp(r.Compared.Until))
	}
	number("Subscriptions", r.Counts.Subscriptions)
	number("Flows", r.Counts.Flows)
	number("Charges", r.Counts.Charges)
	number("Attempts", r.Counts.Attempts)
	number("Repaired", r.result.Repaired)
	number("Alarms", r.result.Alarms)
	d.row("Missed", strings.Join(r.Missed, ", "))
	switch {
	case r.closed:
	case r.stage == stageBeginning:
		d.row("Next", "the days to compare are chosen")
	case r.Step+1 < len(reconcileSteps):
		d.row("Next", reconcileSteps[r.Step+1].stage)
	default:
		d.row("Next", "what was found is kept, and the alarms raised")
	}
	d.show(ctx)
}
