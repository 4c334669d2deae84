package workflows_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// blind finds what a flow does without a word for ops: a step, a wait, a message or a child without its summary, a handler
// without its description, and details that do not say where the flow stands, or, when it waits, what comes next.
type blind struct {
	interceptor.WorkerInterceptorBase
	mu    sync.Mutex
	found []string
	// seen counts what was looked at.
	seen int
}

// fail has the test fail for what was found until its end.
func (b *blind) fail(t testing.TB) *blind {
	t.Helper()
	t.Cleanup(func() {
		if found := b.all(); len(found) > 0 {
			t.Errorf("ops cannot see: %s", strings.Join(found, "; "))
		}
	})
	return b
}

func (b *blind) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(b.found)))
}

func (b *blind) look(ctx workflow.Context, what, summary string, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen++
	what = workflow.GetInfo(ctx).WorkflowType.Name + ": " + what
	if summary == "" {
		b.found = append(b.found, what+" has no summary")
	}
	details := workflow.GetCurrentDetails(ctx)
	if !strings.Contains(details, "| Stage | ") && !strings.Contains(details, "| Status | ") {
		b.found = append(b.found, what+" begins while the details do not say where the flow stands")
	}
	if waits && !strings.Contains(details, "| Next | ") {
		b.found = append(b.found, what+" begins while the details do not say what comes next")
	}
}

func (b *blind) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &blindInbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, b}
}

type blindInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	*blind
}

func (i *blindInbound) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&blindOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: outbound}, i.blind})
}

type blindOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	*blind
}

func (o *blindOutbound) ExecuteActivity(ctx workflow.Context, step string, args ...any) workflow.Future {
	o.look(ctx, step, workflow.GetActivityOptions(ctx).Summary, true)
	return o.Next.ExecuteActivity(ctx, step, args...)
}

func (o *blindOutbound) ExecuteLocalActivity(ctx workflow.Context, step string, args ...any) workflow.Future {
	o.look(ctx, step, workflow.GetLocalActivityOptions(ctx).Summary, false)
	return o.Next.ExecuteLocalActivity(ctx, step, args...)
}

func (o *blindOutbound) ExecuteChildWorkflow(ctx workflow.Context, child string, args ...any) workflow.ChildWorkflowFuture {
	o.look(ctx, child, workflow.GetChildWorkflowOptions(ctx).StaticSummary, false)
	return o.Next.ExecuteChildWorkflow(ctx, child, args...)
}

func (o *blindOutbound) NewTimer(ctx workflow.Context, d time.Duration) workflow.Future {
	o.look(ctx, "a timer", "", true)
	return o.Next.NewTimer(ctx, d)
}

func (o *blindOutbound) Sleep(ctx workflow.Context, d time.Duration) error {
	o.look(ctx, "a sleep", "", true)
	return o.Next.Sleep(ctx, d)
}

func (o *blindOutbound) NewTimerWithOptions(ctx workflow.Context, d time.Duration, options workflow.TimerOptions) workflow.Future {
	o.look(ctx, "a timer", options.Summary, true)
	return o.Next.NewTimerWithOptions(ctx, d, options)
}

func (o *blindOutbound) AwaitWithTimeout(ctx workflow.Context, d time.Duration, condition func() bool) (bool, error) {
	o.look(ctx, "a wait with a time limit", "", true)
	return o.Next.AwaitWithTimeout(ctx, d, condition)
}

func (o *blindOutbound) AwaitWithOptions(ctx workflow.Context, options workflow.AwaitOptions, condition func() bool) (bool, error) {
	o.look(ctx, "a wait with a time limit", options.TimerOptions.Summary, true)
	return o.Next.AwaitWithOptions(ctx, options, condition)
}

func (o *blindOutbound) SetUpdateHandler(ctx workflow.Context, name string, handler any, options workflow.UpdateHandlerOptions) error {
	o.look(ctx, "the handler "+name, options.Description, false)
	return o.Next.SetUpdateHandler(ctx, name, handler, options)
}

func (o *blindOutbound) GetSignalChannel(ctx workflow.Context, name string) workflow.ReceiveChannel {
	o.look(ctx, "the signal "+name, "", false)
	return o.Next.GetSignalChannel(ctx, name)
}

func (o *blindOutbound) GetSignalChannelWithOptions(ctx workflow.Context, name string, options workflow.SignalChannelOptions) workflow.ReceiveChannel {
	o.look(ctx, "the signal "+name, options.Description, false)
	return o.Next.GetSignalChannelWithOptions(ctx, name, options)
}

// Every ending of every flow, as a real server kept it: whatever the flow did, it had a word for ops. All stages and lives of
// the other tests are watched in the same way.
func TestVisibility_EveryFlowSpeaks(t *testing.T) {
	t.Parallel()
	for name := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := (&blind{}).fail(t)
			h, _ := recorded(t, name)
			require.NoError(t, replayer(t, workflows.Register, watch)(h))
			require.Positive(t, watch.seen)
		})
	}
}

func TestVisibility_EveryFlowIsRecorded(t *testing.T) {
	t.Parallel()
	var played []string
	for name := range endings {
		h, _ := recorded(t, name)
		played = append(played, h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName())
	}
	registered := &names{}
	workflows.Register(registered)
	require.Subset(t, played, registered.all, "add a scenario in devstack/record: it shows what ops see of a flow, too")
}

// names collects what is registered.
type names struct {
	worker.Registry
	all []string
}

func (n *names) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	n.all = append(n.all, o.Name)
}

// A watch that finds nothing proves nothing.
func TestVisibility_FindsABlindFlow(t *testing.T) {
	t.Parallel()
	h, _ := recorded(t, "signup-code-completed")
	watch := &blind{}
	silent := func(ctx workflow.Context, _ workflows.SignupInput) error {
		if err := workflow.SetUpdateHandler(ctx, workflows.SignupOpen, func(workflow.Context, workflows.SignupRequest) error { return nil }); err != nil {
			return err
		}
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: time.Second})
		var a *activities.Activities
		if err := workflow.ExecuteLocalActivity(ctx, a.IssueSignupCode, activities.IssueSignupCodeInput{}).Get(ctx, nil); err != nil {
			return err
		}
		return workflow.NewTimer(ctx, time.Hour).Get(ctx, nil)
	}
	register := func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(silent, workflow.RegisterOptions{Name: workflows.SignupWorkflow})
	}
	require.Error(t, replayer(t, register, watch)(h), "it is not the flow that was recorded, either")
	found := strings.Join(watch.all(), "\n")
	for _, want := range []string{
		"Signup: IssueSignupCode has no summary", "Signup: IssueSignupCode begins while the details do not say where the flow stands",
		"Signup: a timer has no summary", "Signup: a timer begins while the details do not say what comes next",
		"Signup: the handler open has no summary",
	} {
		require.Contains(t, found, want)
	}
}

// Steps that are no message have their summary in one table, which the compiler does not check.
func TestVisibility_EveryStepHasASummary(t *testing.T) {
	t.Parallel()
	known := workflows.StepSummaries()
	steps := methods((*activities.Activities)(nil))
	for _, step := range steps {
		_, there := known[step]
		require.NotEqual(t, strings.HasPrefix(step, "Send"), there, "%s: a message makes its summary itself, another step has it in summaries", step)
	}
	for step := range known {
		require.Contains(t, steps, step)
	}
}

// A change of address is made when its code is proven, whatever becomes of the mails that tell of it; the next change of the
// same flow waits again.
func TestVisibility_StagesOfAChangeOfEmail(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.told = func(activities.EmailChangeMailInput) (activities.Delivered, error) {
		if s.now() >= 5*time.Minute && s.now() < 6*time.Minute {
			return activities.Delivered{}, account.ErrUnavailable
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	const during = 5*time.Minute + 20*time.Second
	waiting := s.detailsAt(time.Minute)
	s.proveMove(5*time.Minute, firstMove)
	telling := s.detailsAt(during)
	stage, outcome, next := s.attributeAt(during, "FlowStage"), s.attributeAt(during, "FlowOutcome"), s.attributeAt(during, "NextActionAt")
	s.askMove(during+10*time.Second, secondMove)
	stageAgain, outcomeAgain := s.attributeAt(during+20*time.Second, "FlowStage"), s.attributeAt(during+20*time.Second, "FlowOutcome")
	s.proveMove(7*time.Minute, secondMove)
	require.NoError(t, s.moveOn())
	for _, want := range []string{
		"| Stage | awaiting_proof |", "| New address | " + masked + " |", "| Code and link | sent |", "| Attempts | 5 for each code; `gatehouse flows find` counts those left |", "| Gives up | 2026-03-02T00:00:00Z |",
		"| Mail | email_change_requested: sent |", "| Next | the code is entered or the link followed",
	} {
		require.Contains(t, *waiting, want)
	}
	require.Contains(t, *telling, "| Stage | completed |")
	require.Contains(t, *telling, "| Next | the mails that are on their way, tried for a day |")
	require.Equal(t, []any{"completed", "completed", nil}, []any{*stage, *outcome, *next})
	require.Equal(t, []any{"awaiting_proof", nil}, []any{*stageAgain, *outcomeAgain})
	s.requireMoved("completed")
}

func TestVisibility_StagesOfAClosure(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		if s.now() >= closureGrace && s.now() < closureGrace+time.Hour {
			return activities.Delivered{}, account.ErrUnavailable
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	grace := s.attributeAt(time.Hour, "FlowStage")
	erasing, next := s.attributeAt(closureGrace+time.Minute, "FlowStage"), s.attributeAt(closureGrace+time.Minute, "NextActionAt")
	late := s.detailsAt(closureGrace + time.Minute)
	s.env.ExecuteWorkflow(workflows.AccountClosureWorkflow, workflows.AccountClosureInput{AccountID: owner})
	require.NoError(t, s.env.GetWorkflowError())
	require.Equal(t, []any{"grace", "erasing", nil}, []any{*grace, *erasing, *next})
	require.Contains(t, *late, "| Mail | account_erased: on its way |")
	require.Contains(t, *late, "| Next | the receipt is mailed, tried for a day; then the personal data is erased |")
}

// Whoever starts a flow says what it is: in a line that the UI shows, and by the attributes that lists are filtered by. Every
// start in the code is looked at, for a test that plays it may be missing.
func TestVisibility_EveryStartSaysWhatItStarts(t *testing.T) {
	t.Parallel()
	starts := 0
	for _, folder := range []string{"core", "workflows", "activities", "worker", "cmd/gatehouse"} {
		files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			parsed, err := parser.ParseFile(set, file, source, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				literal, ok := n.(*ast.CompositeLit)
				if !ok || !startsFlow(literal.Type) || len(literal.Elts) == 0 {
					return true
				}
				starts++
				require.Contains(t, fieldsOf(literal), "Summary", "%s", set.Position(literal.Pos()))
				require.Contains(t, string(source), "FlowKind.ValueSet(", file)
				return true
			})
		}
	}
	require.GreaterOrEqual(t, starts, 13)
}

// startsFlow reports whether a type is durable.Ask or durable.Start.
func startsFlow(of ast.Expr) bool {
	selector, ok := of.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := selector.X.(*ast.Ident)
	return ok && from.Name == "durable" && (selector.Sel.Name == "Ask" || selector.Sel.Name == "Start")
}

func fieldsOf(literal *ast.CompositeLit) []string {
	var all []string
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if name, ok := pair.Key.(*ast.Ident); ok {
				all = append(all, name.Name)
			}
		}
	}
	return all
}
