package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	sdkworkflow "go.temporal.io/sdk/workflow"

	"gatehouse/internal/durable"
)

// ReplayDeps are what a replay is made of.
type ReplayDeps struct {
	Client  *durable.Client
	Keyring *durable.Keyring
	// Register registers the workflows whose code is tried.
	Register func(worker.Registry)
	// Query picks the runs, in the language of the Temporal UI's filter.
	Query string
	// Most bounds how many of each workflow are replayed.
	Most int
	// Each hears of every run that was replayed; Fault is nil when this code can go on with it.
	Each func(Replayed)
}

// Replayed is what became of one run.
type Replayed struct {
	WorkflowID, RunID, Workflow string
	// Fault is why this code cannot go on with the run. Its text quotes the history, whose payloads are encrypted.
	Fault error
}

// leastEvents is what a history has in which a worker has taken a first step.
const leastEvents = 4

// Replay runs this code over the histories of real flows, without any effect, and returns how many were replayed and how many
// of those this code cannot go on with. What no worker has touched yet, and what has gone meanwhile, is passed over.
func Replay(ctx context.Context, d ReplayDeps) (replayed, faults int, err error) {
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: d.Keyring.DataConverter(), FailureConverter: d.Keyring.FailureConverter(),
		Interceptors: interceptors(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return 0, 0, fmt.Errorf("make a replayer: %w", err)
	}
	known := &replayRegistry{replayer: replayer}
	d.Register(known)
	each := d.Each
	d.Each = func(r Replayed) {
		replayed++
		if r.Fault != nil {
			faults++
		}
		each(r)
	}
	for _, name := range known.names {
		if err := d.replayAll(ctx, replayer, name); err != nil {
			return replayed, faults, err
		}
	}
	return replayed, faults, nil
}

// replayPage is how many runs are listed at once: few, for a busy Temporal has 10 seconds to answer.
const replayPage = 100

// replayAll replays the runs of one workflow.
func (d ReplayDeps) replayAll(ctx context.Context, replayer worker.WorkflowReplayer, name string) error {
	list := &workflowservice.ListWorkflowExecutionsRequest{
		Query: "(" + d.Query + ") AND WorkflowType = " + strconv.Quote(name), PageSize: replayPage,
	}
	for left := d.Most; ; {
		page, err := d.Client.Temporal().ListWorkflow(ctx, list)
		if err != nil {
			return fmt.Errorf("list flows of type %s: %w", name, err)
		}
		for _, run := range page.GetExecutions() {
			if left == 0 {
				return nil
			}
			fault, done, err := replay(ctx, d.Client, replayer, run)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			left--
			d.Each(Replayed{
				WorkflowID: run.GetExecution().GetWorkflowId(), RunID: run.GetExecution().GetRunId(), Workflow: name, Fault: fault,
			})
		}
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return nil
		}
	}
}

func replay(
	ctx context.Context, c *durable.Client, replayer worker.WorkflowReplayer, run *workflow.WorkflowExecutionInfo,
) (fault error, done bool, err error) {
	events, err := historyOf(ctx, c.Temporal(), run.GetExecution())
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the history of %s: %w", run.GetExecution().GetWorkflowId(), err)
	}
	if len(events.GetEvents()) < leastEvents {
		return nil, false, nil
	}
	return replayer.ReplayWorkflowHistoryWithOptions(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), events,
		worker.ReplayWorkflowHistoryOptions{OriginalExecution: sdkworkflow.Execution{
			ID: run.GetExecution().GetWorkflowId(), RunID: run.GetExecution().GetRunId(),
		}}), true, nil
}

func historyOf(ctx context.Context, c client.Client, run *common.WorkflowExecution) (*history.History, error) {
	all := &history.History{}
	events := c.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, err
		}
		all.Events = append(all.Events, event)
	}
	return all, nil
}

// replayRegistry lets a replayer be handed to workflows.Register.
type replayRegistry struct {
	worker.Registry
	replayer worker.WorkflowReplayer
	names    []string
}

// RegisterWorkflowWithOptions implements worker.Registry.
func (r *replayRegistry) RegisterWorkflowWithOptions(flow any, o sdkworkflow.RegisterOptions) {
	r.names = append(r.names, o.Name)
	r.replayer.RegisterWorkflowWithOptions(flow, o)
}
