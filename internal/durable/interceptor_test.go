package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// steps has one activity that fails until it has been tried often enough.
type steps struct {
	tries  int
	failed int
	err    error
}

func (s *steps) Step(context.Context) error {
	s.tries++
	if s.tries > s.failed {
		return nil
	}
	return s.err
}

func quietSuite() *testsuite.WorkflowTestSuite {
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	return suite
}

// runStep runs the activity in a workflow that returns its error, wrapped.
func runStep(t *testing.T, s *steps, local bool) (logged string, err error) {
	t.Helper()
	var out bytes.Buffer
	suite := quietSuite()
	env := suite.NewTestWorkflowEnvironment()
	env.SetDataConverter(newKeyring(t).DataConverter())
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		durable.Interceptor(slog.New(slog.NewTextHandler(&out, nil))),
	}})
	env.RegisterActivity(s)
	flow := func(ctx workflow.Context) error {
		retry := &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 5}
		if local {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
				StartToCloseTimeout: time.Second, RetryPolicy: retry,
			})
			return wrap(workflow.ExecuteLocalActivity(ctx, s.Step).Get(ctx, nil))
		}
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Second, RetryPolicy: retry,
		})
		return wrap(workflow.ExecuteActivity(ctx, s.Step).Get(ctx, nil))
	}
	env.ExecuteWorkflow(flow)
	require.True(t, env.IsWorkflowCompleted())
	return out.String(), env.GetWorkflowError()
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("in the flow: %w", err)
}

func TestActivityErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause " + marker)
	for name, tc := range map[string]struct {
		fails error
		times int
		tries int
		want  *account.Error
		level string
	}{
		"rejected once":     {account.ErrInvalidCode.Because(cause), 9, 1, account.ErrInvalidCode, "INFO"},
		"wrapped":           {fmt.Errorf("store: %w", account.ErrEmailExists), 9, 1, account.ErrEmailExists, "INFO"},
		"unavailable":       {account.ErrUnavailable.Because(cause), 2, 3, nil, "WARN"},
		"still unavailable": {account.ErrUnavailable, 9, 5, account.ErrUnavailable, "WARN"},
		"internal":          {account.ErrInternal.Because(cause), 1, 2, nil, "ERROR"},
		"unknown":           {cause, 9, 5, account.ErrInternal, "ERROR"},
	} {
		for _, local := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/local=%t", name, local), func(t *testing.T) {
				t.Parallel()
				s := &steps{failed: tc.times, err: tc.fails}
				logged, err := runStep(t, s, local)
				require.Equal(t, tc.tries, s.tries)
				if tc.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, durable.FromTemporal(err), tc.want)
				}
				require.Equal(t, min(tc.times, tc.tries), strings.Count(logged, "activity failed"), "once per attempt")
				require.Contains(t, logged, "level="+tc.level)
				require.Contains(t, logged, "activity=Step")
				require.Contains(t, logged, fmt.Sprintf("local=%t", local))
				require.NotContains(t, logged, marker)
			})
		}
	}
}

func TestPendingActivityIsNoFailure(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	suite := quietSuite()
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		durable.Interceptor(slog.New(slog.NewTextHandler(&logged, nil))),
	}})
	s := &steps{failed: 1, err: activity.ErrResultPending}
	env.RegisterActivity(s)
	_, err := env.ExecuteActivity(s.Step)
	require.ErrorIs(t, err, activity.ErrResultPending)
	require.Empty(t, logged.String())
}

// An activity that lasts says so while it does, unless it reports by itself or nobody asked.
func TestActivitiesThatLastSendHeartbeats(t *testing.T) {
	t.Parallel()
	for timeout, beats := range map[time.Duration]bool{30 * time.Millisecond: true, time.Hour: false, 0: false} {
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			suite := quietSuite()
			env := suite.NewTestWorkflowEnvironment()
			env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
				durable.Interceptor(slog.New(slog.DiscardHandler)),
			}})
			beaten := make(chan struct{})
			once := sync.OnceFunc(func() { close(beaten) })
			env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { once() })
			env.RegisterActivityWithOptions(func(ctx context.Context) error {
				if !beats {
					return nil
				}
				select {
				case <-beaten:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}, activity.RegisterOptions{Name: "last"})
			env.ExecuteWorkflow(func(ctx workflow.Context) error {
				ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second, HeartbeatTimeout: timeout})
				return workflow.ExecuteActivity(ctx, "last").Get(ctx, nil)
			})
			require.NoError(t, env.GetWorkflowError())
			select {
			case <-beaten:
				require.True(t, beats)
			default:
				require.False(t, beats)
			}
		})
	}
}

func TestUpdateErrors(t *testing.T) {
	t.Parallel()
	s := &steps{failed: 9, err: account.ErrInvalidCode.On("code", "is wrong")}
	suite := quietSuite()
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		durable.Interceptor(slog.New(slog.DiscardHandler)),
	}})
	env.RegisterActivity(s)
	flow := func(ctx workflow.Context) error {
		handle := func(ctx workflow.Context, itself bool) error {
			if itself {
				return wrap(account.ErrEmailExists)
			}
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Second})
			return wrap(workflow.ExecuteLocalActivity(ctx, s.Step).Get(ctx, nil))
		}
		refuse := func(workflow.Context) error { return account.ErrNotFound }
		if err := workflow.SetUpdateHandler(ctx, "handled", handle); err != nil {
			return err
		}
		if err := workflow.SetUpdateHandlerWithOptions(ctx, "refused",
			func(workflow.Context) error { return nil }, workflow.UpdateHandlerOptions{Validator: refuse}); err != nil {
			return err
		}
		return workflow.Sleep(ctx, time.Minute)
	}
	outcome := map[string]error{}
	send := func(id, name string, args ...any) {
		env.RegisterDelayedCallback(func() {
			env.UpdateWorkflow(name, id, &testsuite.TestUpdateCallback{
				OnAccept:   func() {},
				OnReject:   func(err error) { outcome[id] = err },
				OnComplete: func(_ any, err error) { outcome[id] = err },
			}, args...)
		}, 0)
	}
	send("itself", "handled", true)
	send("activity", "handled", false)
	send("validator", "refused")
	env.ExecuteWorkflow(flow)
	require.NoError(t, env.GetWorkflowError(), "a failed update is no failed flow")

	for id, want := range map[string]*account.Error{
		"itself": account.ErrEmailExists, "activity": account.ErrInvalidCode, "validator": account.ErrNotFound,
	} {
		app, ok := errors.AsType[*temporal.ApplicationError](outcome[id])
		require.True(t, ok, "%s: %v", id, outcome[id])
		if id != "activity" {
			require.Equal(t, want.Code, app.Type(), id)
			require.True(t, app.NonRetryable(), id)
		}
		require.ErrorIs(t, durable.FromTemporal(outcome[id]), want, id)
	}
	require.Equal(t, 1, s.tries)
	require.Equal(t, []account.Field{{Name: "code", Message: "is wrong"}},
		account.AsError(durable.FromTemporal(outcome["activity"])).Fields)
}

func TestWorkflowErrors(t *testing.T) {
	t.Parallel()
	suite := quietSuite()
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{
		durable.Interceptor(slog.New(slog.DiscardHandler)),
	}})
	env.ExecuteWorkflow(func(workflow.Context) error { return wrap(account.ErrEmailExists) })
	require.ErrorIs(t, durable.FromTemporal(env.GetWorkflowError()), account.ErrEmailExists)
}
