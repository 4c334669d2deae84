package durable_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/internal/durable"
)

// foreign is a text that a process with another keyset writes.
const foreign = "foreign"

// mixed is the converter of a worker among payloads of which some have a key that it has not.
type mixed struct {
	converter.DataConverter
	theirs converter.DataConverter
}

func (m mixed) WithWorkflowContext(ctx workflow.Context) converter.DataConverter {
	if aware, ok := m.DataConverter.(workflow.ContextAware); ok {
		m.DataConverter = aware.WithWorkflowContext(ctx)
	}
	return m
}

func (m mixed) WithContext(context.Context) converter.DataConverter { return m }

func (m mixed) ToPayloads(values ...any) (*common.Payloads, error) {
	if len(values) == 1 && values[0] == foreign {
		return m.theirs.ToPayloads(values...)
	}
	return m.DataConverter.ToPayloads(values...)
}

// A flow ends for good with the error of its code, so what its worker cannot read for want of a key is a panic: a worker holds the
// task until it, or another one, has the key.
func TestWithoutTheKeyAFlowIsHeld(t *testing.T) {
	t.Parallel()
	said := func(text string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return text, nil }
	}
	for name, tc := range map[string]struct {
		input, result, signal string
		held                  bool
	}{
		"all readable": {input: "in", result: "out", signal: "told"},
		"input":        {input: foreign, result: "out", signal: "told", held: true},
		"result":       {input: "in", result: foreign, signal: "told", held: true},
		"signal":       {input: "in", result: "out", signal: foreign, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := quietSuite().NewTestWorkflowEnvironment()
			env.SetDataConverter(mixed{newKeyring(t).DataConverter(), newKeyring(t).DataConverter()})
			env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
				durable.Interceptor(slog.New(slog.DiscardHandler)),
			}})
			step := said(tc.result)
			env.RegisterActivity(step)
			env.RegisterDelayedCallback(func() { env.SignalWorkflow("tell", tc.signal) }, time.Hour)
			env.ExecuteWorkflow(func(ctx workflow.Context, _ string) error {
				ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
				var result, signal string
				if err := workflow.ExecuteActivity(ctx, step).Get(ctx, &result); err != nil {
					return err
				}
				workflow.GetSignalChannel(ctx, "tell").Receive(ctx, &signal)
				return nil
			}, tc.input)
			require.True(t, env.IsWorkflowCompleted())
			if !tc.held {
				require.NoError(t, env.GetWorkflowError())
				return
			}
			var panicked *temporal.PanicError
			require.ErrorAs(t, env.GetWorkflowError(), &panicked)
		})
	}
}

// Clients and activities hear of it as of any other fault: nothing is held there.
func TestWithoutTheKeyOthersGetAnError(t *testing.T) {
	t.Parallel()
	ours, theirs := newKeyring(t).DataConverter(), newKeyring(t).DataConverter()
	sealed, err := theirs.ToPayloads(foreign)
	require.NoError(t, err)
	var text string
	require.ErrorContains(t, ours.FromPayloads(sealed, &text), "not in the keyset")
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetDataConverter(mixed{ours, theirs})
	step := func(context.Context, string) error { return nil }
	env.RegisterActivity(step)
	_, err = env.ExecuteActivity(step, foreign)
	require.ErrorContains(t, err, "not in the keyset")
	var panicked *temporal.PanicError
	require.NotErrorAs(t, err, &panicked)
}

// A payload that was changed on its way is no reason to wait for a key.
func TestATamperedPayloadHoldsNoFlow(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t)
	aware, ok := ring.DataConverter().(workflow.ContextAware)
	require.True(t, ok)
	sealed, err := ring.DataConverter().ToPayload("text")
	require.NoError(t, err)
	sealed.Data[len(sealed.GetData())-1]++
	var text string
	require.Error(t, aware.WithWorkflowContext(nil).FromPayload(sealed, &text))
	require.Error(t, aware.WithWorkflowContext(nil).FromPayload(&common.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/encrypted")}, Data: []byte("x"),
	}, &text))
}
