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
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
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
	f := &flow{client: r.client, id: "signup/" + s.name, kind: s.kind, first: request(s.kind)}
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

// flow is one sign-up, from its client's side.
type flow struct {
	client        *durable.Client
	id            string
	kind          account.SignupKind
	first, newest workflows.SignupRequest
}

// open asks as core does.
func (f *flow) open(ctx context.Context) error {
	return f.client.Ask(ctx, durable.Ask{
		WorkflowID: f.id, Workflow: workflows.SignupWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.SignupInput{Kind: f.kind, Request: f.newest},
		Update: workflows.SignupOpen, Arg: f.newest,
		Summary: "Sign-up of " + masked, Details: "Began by " + string(f.kind) + ".",
		Attributes: f.attributes(), ExecutionTimeout: guard,
	}, nil)
}

func (f *flow) attributes() []temporal.SearchAttributeUpdate {
	return []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("signup"), durable.FlowStage.ValueSet("awaiting_proof"),
		durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
	}
}

// repeat asks for the same code again.
func (f *flow) repeat(ctx context.Context) error { return f.open(ctx) }

// again asks for another code.
func (f *flow) again(ctx context.Context) error {
	f.newest.ChallengeID = uuid.New()
	return f.open(ctx)
}

// start starts the flow as if its first update had been lost.
func (f *flow) start(ctx context.Context) error {
	_, err := f.client.Temporal().ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: f.id, TaskQueue: durable.QueueFlows, TypedSearchAttributes: temporal.NewSearchAttributes(f.attributes()...),
	}, workflows.SignupWorkflow, workflows.SignupInput{Kind: f.kind, Request: f.first})
	return err
}

func (f *flow) proceed(ctx context.Context) error {
	return f.client.Tell(ctx, durable.Tell{
		WorkflowID: f.id, Update: workflows.SignupProceed, Arg: workflows.SignupProof{ChallengeID: f.newest.ChallengeID},
	}, nil)
}

func (f *flow) cancel(ctx context.Context) error {
	return f.client.Temporal().CancelWorkflow(ctx, f.id, "")
}

// settled waits until nothing but a timer is left to happen.
func (f *flow) settled(ctx context.Context) error {
	return until(ctx, func() (bool, error) {
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, "")
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
		d, err := f.client.Temporal().DescribeWorkflowExecution(ctx, f.id, "")
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
		&workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: namespace, Execution: &common.WorkflowExecution{WorkflowId: f.id}})
	if err != nil {
		return nil, err
	}
	if len(answer.GetNextPageToken()) > 0 {
		return nil, errors.New("a history of several pages")
	}
	return answer.GetHistory(), nil
}
