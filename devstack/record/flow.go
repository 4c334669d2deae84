//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"gatehouse/internal/durable"
)

const lookAgain = 50 * time.Millisecond

// recorder plays scenarios and keeps what Temporal kept of them.
type recorder struct {
	client *durable.Client
	steps  *steps
	folder string
}

func (r *recorder) run(ctx context.Context, s scenario) error {
	r.steps.play(s.world())
	st := s.story()
	f := &flow{client: r.client, id: st.noun + "/" + s.name, story: st, first: uuid.New()}
	f.newest = f.first
	if err := s.play(ctx, f); err != nil {
		return err
	}
	kept, err := f.history(ctx)
	if err != nil {
		return err
	}
	hideHost(kept)
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(kept)
	if err != nil {
		return err
	}
	size := 0
	for _, e := range kept.GetEvents() {
		size += proto.Size(e)
	}
	fmt.Printf("%-28s %3d events %6d bytes\n", s.name, len(kept.GetEvents()), size) //nolint:forbidigo // its purpose
	return os.WriteFile(filepath.Join(r.folder, s.name+".json"), append(raw, '\n'), 0o600)
}

// hideHost replaces the name of this machine, which a worker's own queue begins with.
func hideHost(kept *history.History) {
	for _, e := range kept.GetEvents() {
		queue := e.GetWorkflowTaskScheduledEventAttributes().GetTaskQueue()
		if queue.GetKind() == enums.TASK_QUEUE_KIND_STICKY {
			_, own, _ := strings.Cut(queue.GetName(), ":")
			queue.Name = "host:" + own
		}
	}
}

// story is how core speaks to one kind of flow. Each challenge stands for one request.
type story struct {
	// noun begins the workflow id and is the flow's kind.
	noun, workflow string
	// open and proceed are updates. Without open the flow is only started.
	open, proceed         string
	input, request, proof func(first, newest uuid.UUID) any
	summary               string
	attributes            []temporal.SearchAttributeUpdate
}

// flow is one execution, from its client's side.
type flow struct {
	story
	client *durable.Client
	id     string
	// run is the run that is recorded, empty for the newest.
	run           string
	first, newest uuid.UUID
}

// ask asks as core does.
func (f *flow) ask(ctx context.Context) error {
	return f.client.Ask(ctx, durable.Ask{
		WorkflowID: f.id, Workflow: f.workflow, Queue: durable.QueueFlows,
		Input:  f.input(f.first, f.newest),
		Update: f.open, Arg: f.request(f.first, f.newest),
		Summary:    f.summary,
		Attributes: f.starting(), ExecutionTimeout: guard,
	}, nil)
}

func (f *flow) starting() []temporal.SearchAttributeUpdate {
	return append([]temporal.SearchAttributeUpdate{durable.FlowKind.ValueSet(f.noun)}, f.attributes...)
}

// repeat asks for the same code again.
func (f *flow) repeat(ctx context.Context) error { return f.ask(ctx) }

// again asks for another code.
func (f *flow) again(ctx context.Context) error {
	f.newest = uuid.New()
	return f.ask(ctx)
}

// start starts the flow as if its first update had been lost, or one that nobody waits for.
func (f *flow) start(ctx context.Context) error {
	return f.client.Start(ctx, durable.Start{
		WorkflowID: f.id, Workflow: f.workflow, Queue: durable.QueueFlows, Input: f.input(f.first, f.first),
		Summary: f.summary, Attributes: f.starting(), ExecutionTimeout: guard,
	})
}

func (f *flow) tell(ctx context.Context) error {
	return f.client.Tell(ctx, durable.Tell{WorkflowID: f.id, Update: f.proceed, Arg: f.proof(f.first, f.newest)}, nil)
}

func (f *flow) cancel(ctx context.Context) error {
	return f.client.Temporal().CancelWorkflow(ctx, f.id, "")
}

// settled waits until nothing but a timer is left to happen.
func (f *flow) settled(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, f.run)
		if err != nil {
			return false, err
		}
		kept, err := f.history(ctx)
		if err != nil {
			return false, err
		}
		events := kept.GetEvents()
		last := events[len(events)-1].GetEventType()
		sending := slices.ContainsFunc(events, func(e *history.HistoryEvent) bool {
			return e.GetEventType() == enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
		})
		return sending && len(d.GetPendingActivities()) == 0 && d.GetPendingWorkflowTask() == nil &&
			last != enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, nil
	})
}

func (f *flow) closed(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, f.run)
		return err == nil && d.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING, err
	})
}

func until(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("waited in vain"), ctx.Err())
		case <-time.After(lookAgain):
		}
	}
}

func (f *flow) history(ctx context.Context) (*history.History, error) {
	answer, err := f.client.Temporal().WorkflowService().GetWorkflowExecutionHistory(ctx,
		&workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: namespace, Execution: &common.WorkflowExecution{WorkflowId: f.id, RunId: f.run},
		})
	if err != nil {
		return nil, err
	}
	if len(answer.GetNextPageToken()) > 0 {
		return nil, errors.New("a history of several pages")
	}
	return answer.GetHistory(), nil
}
