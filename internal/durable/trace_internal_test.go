package durable

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
)

// A failing step is a span that names its error, in the trace of its flow.
func TestTracing_NamesErrors(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	traced, err := tracing(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test"))
	require.NoError(t, err)
	both, ok := traced.(interceptor.WorkerInterceptor)
	require.True(t, ok, "a worker takes it over from its client")

	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{both}})
	step := func() error {
		return account.ErrInternal.Because(errors.New("canary@example.com has it"))
	}
	flow := func(ctx workflow.Context) error {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
			StartToCloseTimeout: time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		return workflow.ExecuteLocalActivity(ctx, step).Get(ctx, nil)
	}
	env.RegisterWorkflow(flow)
	env.ExecuteWorkflow(flow)
	require.Error(t, env.GetWorkflowError())

	all := spans.GetSpans()
	require.NotEmpty(t, all)
	var failed int
	for _, span := range all {
		require.NotContains(t, fmt.Sprintf("%+v", span), "canary")
		require.Equal(t, all[0].SpanContext.TraceID(), span.SpanContext.TraceID())
		if span.Status.Code == codes.Error {
			failed++
			require.Empty(t, span.Status.Description)
			require.Empty(t, span.Events)
			require.Contains(t, fmt.Sprint(span.Attributes), "error.type")
		}
	}
	require.Positive(t, failed)
}
