package workflows_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// auditor is what a reconciliation asks for. Each step has as many pages as it says, one if it says nothing.
type auditor struct {
	mu    sync.Mutex
	pages map[string]int
	// fault is what goes wrong with a step, each time it is asked for.
	fault map[string]error
	asked []string
	ended []activities.ReconciliationEnd
}

func (a *auditor) step(name string, in activities.ReconciliationInput, next func(*activities.ReconciliationPage)) (activities.ReconciliationPage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !in.Since.Equal(midnight.Add(-days(2))) || !in.Until.Equal(midnight) || in.ID == "" {
		return activities.ReconciliationPage{}, temporal.NewNonRetryableApplicationError("not what was begun", "test", nil)
	}
	if err := a.fault[name]; err != nil {
		return activities.ReconciliationPage{}, err
	}
	a.asked = append(a.asked, name+" "+in.After+string(in.Page))
	page := activities.ReconciliationPage{Seen: 10}
	if a.pages[name]--; a.pages[name] > 0 {
		next(&page)
	}
	return page, nil
}

func after(p *activities.ReconciliationPage) { p.After = "next" }

func (a *auditor) BeginReconciliation(_ context.Context, in activities.ReconciliationInput) (account.Reconciliation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, "begin")
	return account.Reconciliation{ID: in.ID, Since: midnight.Add(-days(2)), Until: midnight}, a.fault["begin"]
}

func (a *auditor) ReviveFlows(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return a.step("revive", in, after)
}

func (a *auditor) ReviewFlows(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return a.step("review", in, func(p *activities.ReconciliationPage) { p.Page = []byte("token") })
}

func (a *auditor) HastenCharges(_ context.Context, in activities.ReconciliationInput) error {
	_, err := a.step("hasten", in, nil)
	return err
}

func (a *auditor) CompareCharges(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return a.step("charges", in, after)
}

func (a *auditor) CompareAttempts(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return a.step("attempts", in, after)
}

func (a *auditor) ReviewBooks(_ context.Context, in activities.ReconciliationInput) error {
	_, err := a.step("books", in, nil)
	return err
}

func (a *auditor) EndReconciliation(_ context.Context, in activities.ReconciliationEnd) (activities.Reconciled, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = append(a.ended, in)
	return activities.Reconciled{Repaired: 1, Alarms: 2}, a.fault["end"]
}

// night is the environment of one run.
func (a *auditor) night(t *testing.T) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	keys := testKeys(t)
	env.SetDataConverter(keys.DataConverter())
	env.SetFailureConverter(keys.FailureConverter())
	env.SetWorkerOptions(worker.Options{Interceptors: interceptors((&blind{}).fail(t))})
	env.SetStartTime(midnight)
	env.SetTestTimeout(20 * time.Second)
	env.RegisterActivity(a)
	workflows.Register(env)
	return env
}

func TestReconciliation_TakesEveryPageOfEveryStep(t *testing.T) {
	t.Parallel()
	a := &auditor{pages: map[string]int{"revive": 3, "review": 2, "attempts": 2}}
	env := a.night(t)
	env.ExecuteWorkflow(workflows.ReconciliationWorkflow, workflows.ReconciliationInput{})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{
		"begin", "revive ", "revive next", "revive next", "review ", "review token", "hasten ", "charges ", "attempts ", "attempts next", "books ",
	}, a.asked)
	require.Len(t, a.ended, 1)
	require.Equal(t, account.ReconciliationCounts{Subscriptions: 30, Flows: 20, Charges: 10, Attempts: 20}, a.ended[0].Counts)
	require.Empty(t, a.ended[0].Missed)
	require.NotEmpty(t, a.ended[0].ID)
}

// A step that cannot be done in its time holds up no other, and is told of.
func TestReconciliation_AStepThatIsGivenUp(t *testing.T) {
	t.Parallel()
	for step, limit := range map[string]time.Duration{"revive": 2 * time.Hour, "charges": 10 * time.Hour, "books": 2 * time.Hour} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			a := &auditor{pages: map[string]int{}, fault: map[string]error{step: account.ErrUnavailable.Because(errors.New("away"))}}
			env := a.night(t)
			env.ExecuteWorkflow(workflows.ReconciliationWorkflow, workflows.ReconciliationInput{})
			require.NoError(t, env.GetWorkflowError())
			require.Len(t, a.asked, 6, "begun, and every other step")
			require.Len(t, a.ended, 1)
			require.Len(t, a.ended[0].Missed, 1)
			require.LessOrEqual(t, env.Now().Sub(midnight), limit+time.Minute)
		})
	}
}

func TestReconciliation_GoesOnInAnotherRun(t *testing.T) {
	t.Parallel()
	a := &auditor{pages: map[string]int{"revive": 2}}
	env := a.night(t)
	env.SetContinueAsNewSuggested(true)
	env.ExecuteWorkflow(workflows.ReconciliationWorkflow, workflows.ReconciliationInput{})
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &again)
	require.Equal(t, []string{"begin", "revive "}, a.asked)
	var in workflows.ReconciliationInput
	require.NoError(t, testKeys(t).DataConverter().FromPayloads(again.Input, &in))
	require.Equal(t, "next", in.Progress.After)

	env = a.night(t)
	env.ExecuteWorkflow(workflows.ReconciliationWorkflow, in)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"begin", "revive ", "revive next", "review ", "hasten ", "charges ", "attempts ", "books "}, a.asked)
	require.Equal(t, account.ReconciliationCounts{Subscriptions: 20, Flows: 10, Charges: 10, Attempts: 10}, a.ended[0].Counts)
}

func TestReconciliation_Canceled(t *testing.T) {
	t.Parallel()
	a := &auditor{pages: map[string]int{}, fault: map[string]error{"charges": account.ErrUnavailable}}
	env := a.night(t)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	env.ExecuteWorkflow(workflows.ReconciliationWorkflow, workflows.ReconciliationInput{})
	require.True(t, temporal.IsCanceledError(env.GetWorkflowError()))
	require.Empty(t, a.ended, "the next one begins where the last complete one has ended")
}

func TestReconciliation_WaitsForTheStore(t *testing.T) {
	t.Parallel()
	a := &auditor{pages: map[string]int{}, fault: map[string]error{"begin": account.ErrUnavailable, "end": account.ErrUnavailable}}
	env := a.night(t)
	env.RegisterDelayedCallback(func() { a.heal("begin") }, 5*time.Second)
	env.RegisterDelayedCallback(func() { a.heal("end") }, 10*time.Second)
	env.ExecuteWorkflow(workflows.ReconciliationWorkflow, workflows.ReconciliationInput{})
	require.NoError(t, env.GetWorkflowError())
	require.GreaterOrEqual(t, env.Now().Sub(midnight), 10*time.Second)
	require.Equal(t, "books ", a.asked[len(a.asked)-1])
}

func (a *auditor) heal(step string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.fault, step)
}

func TestNightlyReconciliation(t *testing.T) {
	t.Parallel()
	s := workflows.NightlyReconciliation(24*time.Hour, 3*time.Hour)
	require.Equal(t, workflows.ReconciliationSchedule, s.ID)
	require.Equal(t, workflows.ReconciliationWorkflow, s.Flow.Workflow)
	require.Equal(t, durable.QueueFlows, s.Flow.Queue)
}
