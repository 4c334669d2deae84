package workflows_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// waited has a run be asked for long before a worker takes it up.
type waited struct {
	interceptor.WorkerInterceptorBase
	by time.Duration
}

func (w *waited) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &waitedInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, w.by}
}

type waitedInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	by time.Duration
}

func (w *waitedInbound) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	return w.Next.Init(&waitedOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: outbound}, w.by})
}

type waitedOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	by time.Duration
}

func (w *waitedOutbound) GetInfo(ctx workflow.Context) *workflow.Info {
	info := *w.Next.GetInfo(ctx)
	info.WorkflowStartTime = info.WorkflowStartTime.Add(-w.by)
	return &info
}

// Whoever asked for an opening that no worker took up was told so, and asks again, or does not.
func TestSubscription_OpeningsThatNobodyTookUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waited time.Duration
		held   []string
		opened bool
		want   error
		events []string
	}{
		"in time":  {waited: 10*time.Minute - 1, events: []string{"created", "paid"}},
		"too late": {waited: 10 * time.Minute, want: account.ErrUnavailable},
		"too late, while it was held": {
			waited: time.Hour, held: []string{workflows.ChangeLateOpening}, events: []string{"created", "paid"},
		},
		"opened by a task that was lost": {waited: time.Hour, opened: true, events: []string{"created", "paid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(t)
			l.hold(c.held...)
			l.waited = c.waited
			if c.opened {
				_, err := l.OpenSubscription(t.Context(), activities.OpenSubscriptionInput{
					SubscriptionID: "sub_1", AccountID: uuid.New(), Generation: 1, PlanID: "starter", MethodID: "pm_1", At: midnight,
				})
				require.NoError(t, err)
			}
			attached := false
			l.Attach = func() error { attached = true; return nil }
			asked := l.ask(0, workflows.SubscriptionOpen, nil)
			ended, err := l.until(days(1), "starter")
			require.NoError(t, err)
			require.Equal(t, c.want != nil, ended)
			require.ErrorIs(t, asked.err, c.want)
			require.True(t, asked.answered)
			require.Equal(t, c.want == nil && !c.opened, attached, "a method that nobody pays with is bound to nobody")
			require.Equal(t, c.events, l.Events)
		})
	}
}
