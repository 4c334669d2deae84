package workflows_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/workflows"
)

// behaviors are what docs/decisions/0022-versions.md says of each workflow. Pinned ones are over within the hour, or start when
// another one ends.
var behaviors = map[string]workflow.VersioningBehavior{
	workflows.SignupWorkflow:             workflow.VersioningBehaviorAutoUpgrade,
	workflows.PasswordResetWorkflow:      workflow.VersioningBehaviorPinned,
	workflows.PasswordChangeWorkflow:     workflow.VersioningBehaviorPinned,
	workflows.PhoneVerificationWorkflow:  workflow.VersioningBehaviorPinned,
	workflows.ProviderLinkWorkflow:       workflow.VersioningBehaviorPinned,
	workflows.EmailLinkWorkflow:          workflow.VersioningBehaviorPinned,
	workflows.DeviceVerificationWorkflow: workflow.VersioningBehaviorPinned,
	workflows.EmailChangeWorkflow:        workflow.VersioningBehaviorAutoUpgrade,
	workflows.MessageRetryWorkflow:       workflow.VersioningBehaviorAutoUpgrade,
	workflows.SecurityNoticeWorkflow:     workflow.VersioningBehaviorPinned,
	workflows.SubscriptionWorkflow:       workflow.VersioningBehaviorAutoUpgrade,
	workflows.ReconciliationWorkflow:     workflow.VersioningBehaviorAutoUpgrade,
	workflows.AccountClosureWorkflow:     workflow.VersioningBehaviorAutoUpgrade,
	workflows.WebhookDeliveryWorkflow:    workflow.VersioningBehaviorAutoUpgrade,
}

// registrations are what workflows.Register registers.
type registrations struct {
	worker.Registry
	declared map[string]workflow.VersioningBehavior
}

func (r registrations) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	r.declared[o.Name] = o.VersioningBehavior
}

func registered() map[string]workflow.VersioningBehavior {
	r := registrations{declared: map[string]workflow.VersioningBehavior{}}
	workflows.Register(r)
	return r.declared
}

func TestVersioning_EveryWorkflowDeclaresItsBehavior(t *testing.T) {
	t.Parallel()
	require.Equal(t, behaviors, registered())
}

// late has every workflow do something in the middle of its way that it did not do before.
type late struct {
	interceptor.WorkerInterceptorBase
}

func (*late) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &lateInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type lateInbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (l *lateInbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return l.Next.Init(&lateOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: out}})
}

type lateOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (l *lateOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	return l.Next.ExecuteActivity(ctx, name+"Anew", args...)
}

func (l *lateOutbound) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	l.Next.NewTimer(ctx, time.Second)
	return l.Next.ExecuteLocalActivity(ctx, name, args...)
}

// The replay of every single recording finds a flow whose steps have changed: none is too short to prove anything.
func TestVersioning_EveryRecordingFindsAChangedFlow(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: keys.DataConverter(), FailureConverter: keys.FailureConverter(), Interceptors: append(interceptors(), &late{}),
	})
	require.NoError(t, err)
	workflows.Register(registry{replayer: r})
	for name := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorded(t, name)
			err := r.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h)
			require.ErrorContains(t, err, "TMPRL1100", "the SDK's name for a flow that is not deterministic")
		})
	}
}
