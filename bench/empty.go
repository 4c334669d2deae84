//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/internal/secret"
)

// emptyFlows asks flows that do nothing but one local activity per update, which does nothing: the least that a flow can cost.
// Nothing is encrypted.
type emptyFlows struct {
	client client.Client
	hasher *secret.Hasher
}

const (
	emptyNamespace = "limit"
	emptyQueue     = "limit"
	emptyUpdate    = "do"
	emptyTimeout   = 20 * time.Second
)

func newEmptyFlows(temporal string) (emptyFlows, error) {
	c, err := client.NewLazyClient(client.Options{HostPort: temporal, Namespace: emptyNamespace, Logger: quietLogger{}})
	if err != nil {
		return emptyFlows{}, fmt.Errorf("make a client of Temporal: %w", err)
	}
	hasher, err := newHasher()
	return emptyFlows{c, hasher}, err
}

func (f emptyFlows) start(ctx context.Context, id string) error {
	start := f.client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: id, TaskQueue: emptyQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, emptyWorkflow)
	handle, err := f.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start, UpdateOptions: updateOf(id),
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

func (f emptyFlows) update(ctx context.Context, id string) error {
	handle, err := f.client.UpdateWorkflow(ctx, updateOf(id))
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

func updateOf(id string) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{WorkflowID: id, UpdateName: emptyUpdate, WaitForStage: client.WorkflowUpdateStageCompleted}
}

func (f emptyFlows) handler(ask func(context.Context, string) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		ctx, cancel := context.WithTimeout(c.UserContext(), emptyTimeout)
		defer cancel()
		if c.Request().URI().QueryArgs().Has("hash") {
			if _, err := f.hasher.Hash(ctx, password); err != nil {
				return fmt.Errorf("hash: %w", err)
			}
		}
		if err := ask(ctx, "empty/"+c.Params("id")); err != nil {
			return err
		}
		return c.Send(limitBody[:limitAnswer])
	}
}

// newHasher is the product's own way to hash, as many at once as there are cores, with nothing around it.
func newHasher() (*secret.Hasher, error) {
	keys, err := secret.NewKeys(secret.GenerateKey())
	if err != nil {
		return nil, err
	}
	return secret.NewHasher(keys, cores(), 2*many, patience), nil
}

func emptyWorkflow(ctx workflow.Context) error {
	err := workflow.SetUpdateHandler(ctx, emptyUpdate, func(ctx workflow.Context) error {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: 5 * time.Second})
		return workflow.ExecuteLocalActivity(ctx, emptyActivity).Get(ctx, nil)
	})
	if err != nil {
		return err
	}
	return workflow.NewTimerWithOptions(ctx, time.Hour, workflow.TimerOptions{Summary: "until the run is over"}).Get(ctx, nil)
}

func emptyActivity(context.Context) error { return nil }

// runEmptyWorker works for empty flows until ctx ends.
func runEmptyWorker(ctx context.Context, temporal string) error {
	flows, err := newEmptyFlows(temporal)
	if err != nil {
		return err
	}
	defer flows.client.Close()
	w := worker.New(flows.client, emptyQueue, worker.Options{
		WorkflowTaskPollerBehavior:  worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		DisableRegistrationAliasing: true,
	})
	w.RegisterWorkflow(emptyWorkflow)
	if err := w.Start(); err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	defer w.Stop()
	if _, err := fmt.Fprintln(os.Stdout, readyLine); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// readyLine is what a child says that listens nowhere.
const readyLine = "ready"

// quietLogger drops what the SDK says.
type quietLogger struct{}

var _ log.Logger = quietLogger{}

func (quietLogger) Debug(string, ...any) {}
func (quietLogger) Info(string, ...any)  {}
func (quietLogger) Warn(string, ...any)  {}
func (quietLogger) Error(string, ...any) {}
