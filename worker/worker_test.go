package worker_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"gatehouse/internal/durable"
	"gatehouse/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frontend has no tasks to give. It notes who polls what, and that a poller hung up.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer

	// refusal, if set, meets whoever describes the namespace.
	refusal error

	mu    sync.Mutex
	polls []string
}

func (f *frontend) poll(ctx context.Context, kind, queue string) error {
	f.mu.Lock()
	f.polls = append(f.polls, kind+" "+queue)
	f.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (f *frontend) polled() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(f.polls)))
}

func (f *frontend) GetSystemInfo(
	context.Context, *workflowservice.GetSystemInfoRequest,
) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (f *frontend) DescribeNamespace(
	context.Context, *workflowservice.DescribeNamespaceRequest,
) (*workflowservice.DescribeNamespaceResponse, error) {
	if f.refusal != nil {
		return nil, serviceerror.ToStatus(f.refusal).Err()
	}
	return &workflowservice.DescribeNamespaceResponse{}, nil
}

func (f *frontend) PollWorkflowTaskQueue(
	ctx context.Context, r *workflowservice.PollWorkflowTaskQueueRequest,
) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	queue := r.GetTaskQueue().GetNormalName()
	if queue == "" {
		queue = r.GetTaskQueue().GetName()
	}
	return nil, f.poll(ctx, "workflow", queue)
}

func (f *frontend) PollActivityTaskQueue(
	ctx context.Context, r *workflowservice.PollActivityTaskQueueRequest,
) (*workflowservice.PollActivityTaskQueueResponse, error) {
	return nil, f.poll(ctx, "activity", r.GetTaskQueue().GetName())
}

type activities struct{}

func (*activities) Step(context.Context) error { return nil }

func story(workflow.Context) error { return nil }

func deps(t *testing.T, f *frontend) worker.Deps {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	encoded, err := durable.GenerateKeyset()
	require.NoError(t, err)
	keys, err := durable.NewKeyring(encoded)
	require.NoError(t, err)
	client, err := durable.Dial(durable.Options{
		Address: listener.Addr().String(), Namespace: "test", Keyring: keys, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return worker.Deps{
		Client:          client,
		Activities:      &activities{},
		Register:        func(r sdkworker.Registry) { r.RegisterWorkflow(story) },
		Logger:          slog.New(slog.DiscardHandler),
		ShutdownTimeout: 10 * time.Second,
	}
}

func TestRunPollsAllQueuesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	f := &frontend{}
	d := deps(t, f)
	started := make(chan struct{})
	d.Started = func() { close(started) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx, d) }()

	<-started
	want := []string{
		"activity account-billing", "activity account-flows", "activity account-notify", "activity account-payments", "activity account-webhooks",
		"workflow account-billing", "workflow account-flows",
	}
	require.Eventually(t, func() bool { return slices.Equal(want, f.polled()) }, 5*time.Second, time.Millisecond)
	select {
	case err := <-done:
		require.FailNow(t, "ended by itself", "%v", err)
	default:
	}

	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(5 * time.Second):
		require.FailNow(t, "an idle worker stops at once")
	}
	require.Equal(t, want, f.polled())
}

func TestRunReportsWhatKeepsItFromStarting(t *testing.T) {
	t.Parallel()
	d := deps(t, &frontend{refusal: serviceerror.NewNamespaceNotFound("test")})
	d.Started = func() { t.Error("it did not start") }
	err := worker.Run(t.Context(), d)
	var missing *serviceerror.NamespaceNotFound
	require.ErrorAs(t, err, &missing)
}
