//go:build unix

package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"
)

const lookAgain = 20 * time.Millisecond

// AwaitNamespace returns once every part of the server at address knows the namespace.
func AwaitNamespace(ctx context.Context, address, namespace string) error {
	return withService(address, func(service workflowservice.WorkflowServiceClient) error {
		return await(ctx, "namespace "+namespace, func() error {
			// Asked for because, unlike the description of a namespace, it is answered from the caches that starts are checked by.
			_, err := describeQueue(ctx, service, namespace, "any")
			return err
		})
	})
}

// EnsureNamespace makes the namespace unless it exists, with Retention, and returns once it can be used.
func EnsureNamespace(ctx context.Context, address, namespace string) error {
	err := withService(address, func(service workflowservice.WorkflowServiceClient) error {
		// Made without a look before, because the server remembers for a second that there is none.
		_, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(Retention),
		})
		var exists *serviceerror.NamespaceAlreadyExists
		if err == nil || errors.As(err, &exists) {
			return nil
		}
		// A server that lets us make none may still have it.
		if _, lookErr := describeQueue(ctx, service, namespace, "any"); lookErr != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make namespace %s at Temporal %s: %w", namespace, address, err)
	}
	return AwaitNamespace(ctx, address, namespace)
}

// AwaitPollers returns once a worker asks for workflow tasks of the queue.
func AwaitPollers(ctx context.Context, address, namespace, queue string) error {
	return withService(address, func(service workflowservice.WorkflowServiceClient) error {
		return await(ctx, "a worker on queue "+queue, func() error {
			answer, err := describeQueue(ctx, service, namespace, queue)
			if err == nil && len(answer.GetPollers()) == 0 {
				err = errors.New("nobody polls")
			}
			return err
		})
	})
}

func describeQueue(
	ctx context.Context, service workflowservice.WorkflowServiceClient, namespace, queue string,
) (*workflowservice.DescribeTaskQueueResponse, error) {
	return service.DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: namespace, TaskQueue: &taskqueue.TaskQueue{Name: queue}, TaskQueueType: enums.TASK_QUEUE_TYPE_WORKFLOW,
	})
}

func withService(address string, use func(workflowservice.WorkflowServiceClient) error) error {
	c, err := client.NewLazyClient(client.Options{HostPort: address, Logger: log.NewStructuredLogger(silent)})
	if err != nil {
		return fmt.Errorf("make a client of Temporal %s: %w", address, err)
	}
	defer c.Close()
	return use(c.WorkflowService())
}

// await repeats try until it succeeds or ctx ends.
func await(ctx context.Context, what string, try func() error) error {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w (last answer: %w)", what, ctx.Err(), err)
		case <-again.C:
		}
	}
}
