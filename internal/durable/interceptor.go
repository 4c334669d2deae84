package durable

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
)

// Interceptor carries account errors through Temporal: it applies ToTemporal to whatever activities (remote and local),
// update handlers, their validators and workflows return, so that no author has to remember it. It logs each failed
// attempt of an activity once, by the name of its error (see Describe). It recovers no panic.
//
// It also gives a name to the timers that the SDK starts by itself, between two tries of a local activity.
func Interceptor(logger *slog.Logger) interceptor.WorkerInterceptor {
	return &errorInterceptor{logger: logger}
}

type errorInterceptor struct {
	interceptor.WorkerInterceptorBase
	logger *slog.Logger
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (i *errorInterceptor) InterceptActivity(
	_ context.Context, next interceptor.ActivityInboundInterceptor,
) interceptor.ActivityInboundInterceptor {
	return &activityErrors{interceptor.ActivityInboundInterceptorBase{Next: next}, i.logger}
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (i *errorInterceptor) InterceptWorkflow(
	_ workflow.Context, next interceptor.WorkflowInboundInterceptor,
) interceptor.WorkflowInboundInterceptor {
	return &workflowErrors{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type activityErrors struct {
	interceptor.ActivityInboundInterceptorBase
	logger *slog.Logger
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor.
func (a *activityErrors) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	if account.ActingIn(ctx).Kind == account.ActorSystem {
		ctx = account.WithActing(ctx, account.Acting{Kind: account.ActorFlow, ID: info.WorkflowExecution.ID})
	}
	if info.HeartbeatTimeout > 0 && info.HeartbeatTimeout < reportsItself {
		defer beat(ctx, info.HeartbeatTimeout/beatsPerTimeout)()
	}
	result, err := a.Next.ExecuteActivity(ctx, in)
	if err == nil || errors.Is(err, activity.ErrResultPending) {
		return result, err
	}
	a.logger.LogAttrs(ctx, severity(err), "activity failed",
		slog.String("activity", info.ActivityType.Name),
		slog.String("flow", info.WorkflowExecution.ID),
		slog.Int("attempt", int(info.Attempt)),
		slog.Bool("local", info.IsLocalActivity),
		slog.String("error", Describe(err)))
	return result, ToTemporal(err)
}

const (
	// beatsPerTimeout leaves room for a heartbeat that is late.
	beatsPerTimeout = 3
	// reportsItself is from when on an activity tells its progress by heartbeats of its own, which ours would wipe out.
	reportsItself = time.Minute
)

// beat sends the heartbeats of an activity until stop is called. A worker that stops may be given an activity in that moment and
// never begin it; without heartbeats the flow would wait for the whole of its timeout. A short activity sends none.
func beat(ctx context.Context, every time.Duration) (stop func()) {
	ticks, ended := time.NewTicker(every), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticks.C:
				activity.RecordHeartbeat(ctx)
			case <-ended:
				return
			}
		}
	}()
	return func() {
		ticks.Stop()
		close(ended)
	}
}

// severity is info for what a client did, warning for what a retry should mend, error for a fault of ours.
func severity(err error) slog.Level {
	e, ok := errors.AsType[*account.Error](err)
	switch {
	case !ok || e.Kind == account.Internal:
		return slog.LevelError
	case e.Kind == account.Unavailable:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

type workflowErrors struct {
	interceptor.WorkflowInboundInterceptorBase
}

// Init implements interceptor.WorkflowInboundInterceptor.
func (w *workflowErrors) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&namedSleeps{interceptor.WorkflowOutboundInterceptorBase{Next: outbound}})
}

type namedSleeps struct {
	interceptor.WorkflowOutboundInterceptorBase
}

// Sleep implements interceptor.WorkflowOutboundInterceptor.
func (n *namedSleeps) Sleep(ctx workflow.Context, d time.Duration) error {
	return n.Next.NewTimerWithOptions(ctx, d, workflow.TimerOptions{Summary: "wait before the step is tried again"}).Get(ctx, nil)
}

// ExecuteWorkflow implements interceptor.WorkflowInboundInterceptor.
func (w *workflowErrors) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	// A start of an older build says who asked for it.
	result, err := w.Next.ExecuteWorkflow(OnBehalfOfNobody(ctx), in)
	return result, ToTemporal(err)
}

// ValidateUpdate implements interceptor.WorkflowInboundInterceptor.
func (w *workflowErrors) ValidateUpdate(ctx workflow.Context, in *interceptor.UpdateInput) error {
	return ToTemporal(w.Next.ValidateUpdate(ctx, in))
}

// ExecuteUpdate implements interceptor.WorkflowInboundInterceptor.
func (w *workflowErrors) ExecuteUpdate(ctx workflow.Context, in *interceptor.UpdateInput) (any, error) {
	result, err := w.Next.ExecuteUpdate(ctx, in)
	return result, ToTemporal(err)
}
