package workflows_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
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

// The lives of the world that tests play in, as account.Policy has them.
const (
	codeTTL       = 10 * time.Minute
	signupTTL     = 30 * time.Minute
	linkTTL       = 24 * time.Hour
	unverifiedTTL = 7 * 24 * time.Hour
	masked        = "m***@example.com"
	bonus         = 100
)

var (
	midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	owner    = uuid.MustParse("00000000-0000-4000-8000-00000000a001")
	session  = uuid.MustParse("00000000-0000-4000-8000-00000000a002")
)

// testKeys reads the keyset that the recorded histories are encrypted with. It protects nothing else.
func testKeys(t *testing.T) *durable.Keyring {
	t.Helper()
	encoded, err := os.ReadFile(filepath.Join("testdata", "TEST-ONLY-codec-keyset.txt"))
	require.NoError(t, err)
	keys, err := durable.NewKeyring(string(encoded))
	require.NoError(t, err)
	return keys
}

// interceptors are the worker's own, and watches that see what the worker's make of a flow.
func interceptors(watches ...interceptor.WorkerInterceptor) []interceptor.WorkerInterceptor {
	return append(watches, durable.Interceptor(slog.New(slog.DiscardHandler)))
}

// attributeWatch tells a stage of every search attribute that the flow sets or takes away.
type attributeWatch struct {
	interceptor.WorkerInterceptorBase
	stage *stage
}

func (a *attributeWatch) InterceptWorkflow(
	_ workflow.Context, next interceptor.WorkflowInboundInterceptor,
) interceptor.WorkflowInboundInterceptor {
	return &inboundWatch{interceptor.WorkflowInboundInterceptorBase{Next: next}, a.stage}
}

type inboundWatch struct {
	interceptor.WorkflowInboundInterceptorBase
	stage *stage
}

func (i *inboundWatch) Init(outbound interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outboundWatch{interceptor.WorkflowOutboundInterceptorBase{Next: outbound}, i.stage})
}

type outboundWatch struct {
	interceptor.WorkflowOutboundInterceptorBase
	stage *stage
}

func (o *outboundWatch) UpsertTypedSearchAttributes(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) error {
	o.stage.set(updates)
	return o.Next.UpsertTypedSearchAttributes(ctx, updates...)
}

// stage plays one flow in virtual time. Its fields are what the world does; a test changes those it is about.
type stage struct {
	t   *testing.T
	env *testsuite.TestWorkflowEnvironment

	issue    func(activities.IssueSignupCodeInput) (activities.IssuedCode, error)
	register func(activities.AttemptInput) (activities.SignedUp, error)
	link     func(activities.IssueEmailCodeInput) (activities.IssuedCode, error)
	complete func(activities.ChallengeInput) (activities.SignedUp, error)
	confirm  func(activities.ChallengeInput) (activities.Confirmed, error)
	abandon  func(activities.AttemptInput) (activities.Remaining, error)
	purge    func(activities.AccountInput) (activities.Left, error)
	phone    func(activities.IssuePhoneCodeInput) (activities.IssuedCode, error)
	bind     func(activities.ChallengeInput) (activities.AccountInput, error)
	send     func(activities.SendCodeInput) (activities.Delivered, error)
	mail     func(activities.SendMailInput) (activities.Delivered, error)
	push     pushSteps

	close       func(activities.ClosureInput) (activities.Closed, error)
	reopen      func(activities.ReopenInput) (activities.Reopened, error)
	erase       func(activities.ClosureInput) (activities.Left, error)
	closureMail func(activities.ClosureMailInput) (activities.Delivered, error)
	live        func(activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error)
	reset       resetSteps
	code        codeSteps
	device      deviceSteps
	move        func(activities.EmailChangeInput) (activities.IssuedEmailChange, error)
	moved       func(activities.ChallengeInput) (activities.EmailChanged, error)
	told        func(activities.EmailChangeMailInput) (activities.Delivered, error)
	forget      func(activities.EmailChangeInput) error
	hook        func(activities.WebhookInput) (activities.WebhookTried, error)

	mu      sync.Mutex
	calls   []call
	updates []temporal.SearchAttributeUpdate
}

// call is one run of an activity, at a time after midnight.
type call struct {
	step string
	at   time.Duration
}

func newStage(t *testing.T) *stage {
	t.Helper()
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s := &stage{t: t, env: suite.NewTestWorkflowEnvironment()}
	s.goWell()
	keys := testKeys(t)
	s.env.SetDataConverter(keys.DataConverter())
	s.env.SetFailureConverter(keys.FailureConverter())
	s.env.SetWorkerOptions(worker.Options{Interceptors: interceptors((&blind{}).fail(t), &attributeWatch{stage: s})})
	s.env.SetStartTime(midnight)
	s.env.SetTestTimeout(20 * time.Second)
	s.env.RegisterActivity(&steps{s})
	workflows.Register(s.env)
	// As core starts it.
	s.set([]temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("signup"), durable.FlowStage.ValueSet("awaiting_proof"),
		durable.NextActionAt.ValueSet(midnight.Add(signupTTL)),
	})
	return s
}

// goWell makes a world in which every step succeeds.
func (s *stage) goWell() {
	code := func(challenge uuid.UUID, life time.Duration) (activities.IssuedCode, error) {
		now := s.env.Now()
		return activities.IssuedCode{
			ChallengeID: challenge, Masked: masked, SendBy: now.Add(codeTTL), CodeExpiresAt: now.Add(codeTTL), FlowExpiresAt: now.Add(life), Tries: 5,
		}, nil
	}
	s.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		return code(in.ChallengeID, signupTTL)
	}
	s.link = func(in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
		return code(in.ChallengeID, unverifiedTTL)
	}
	s.register = func(activities.AttemptInput) (activities.SignedUp, error) {
		return activities.SignedUp{AccountID: owner, SessionID: session}, nil
	}
	s.complete = func(activities.ChallengeInput) (activities.SignedUp, error) {
		return activities.SignedUp{AccountID: owner, SessionID: session}, nil
	}
	s.confirm = func(activities.ChallengeInput) (activities.Confirmed, error) {
		return activities.Confirmed{AccountID: owner, CreditsAwarded: bonus}, nil
	}
	s.abandon = func(activities.AttemptInput) (activities.Remaining, error) { return activities.Remaining{}, nil }
	s.purge = func(activities.AccountInput) (activities.Left, error) { return activities.Left{}, nil }
	s.phone = func(in activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
		return code(in.ChallengeID, 2*codeTTL+time.Minute)
	}
	s.bind = func(activities.ChallengeInput) (activities.AccountInput, error) {
		return activities.AccountInput{AccountID: owner}, nil
	}
	s.send = func(activities.SendCodeInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: s.env.Now().Add(codeTTL)}, nil
	}
	s.mail = func(activities.SendMailInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	s.push = pushesWell()
	s.reset = s.resetsWell()
	s.code = s.codesWell()
	s.device = s.verifiesWell()
	s.move = func(in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
		issued, err := code(in.ChangeID, linkTTL)
		return activities.IssuedEmailChange{Code: issued}, err
	}
	s.moved = func(activities.ChallengeInput) (activities.EmailChanged, error) {
		return activities.EmailChanged{AccountID: owner}, nil
	}
	s.told = func(activities.EmailChangeMailInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	s.forget = func(activities.EmailChangeInput) error { return nil }
	s.close = func(activities.ClosureInput) (activities.Closed, error) {
		return activities.Closed{EraseAt: s.env.Now().Add(closureGrace)}, nil
	}
	s.reopen = func(activities.ReopenInput) (activities.Reopened, error) { return activities.Reopened{}, nil }
	s.erase = func(activities.ClosureInput) (activities.Left, error) { return activities.Left{}, nil }
	s.live = func(activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error) {
		return activities.LiveSubscriptions{}, nil
	}
	s.closureMail = func(activities.ClosureMailInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
}

// at does something at a virtual time.
func (s *stage) at(after time.Duration, do func()) { s.env.RegisterDelayedCallback(do, after) }

// run plays the flow to its end.
func (s *stage) run(kind account.SignupKind, first workflows.SignupRequest) error {
	s.t.Helper()
	s.env.ExecuteWorkflow(workflows.SignupWorkflow, workflows.SignupInput{Kind: kind, Request: first})
	require.True(s.t, s.env.IsWorkflowCompleted(), "the flow ended")
	return s.env.GetWorkflowError()
}

// answer is what an update brought.
type answer struct {
	opened   workflows.SignupOpened
	done     workflows.SignupDone
	err      error
	rejected bool
	answered bool
	at       time.Duration
}

func (s *stage) open(after time.Duration, request workflows.SignupRequest) *answer {
	return s.update(after, workflows.SignupOpen, request)
}

func (s *stage) proceed(after time.Duration, challenge uuid.UUID) *answer {
	return s.update(after, workflows.SignupProceed, workflows.SignupProof{ChallengeID: challenge})
}

// update sends an update under a fresh id, as the client does.
func (s *stage) update(after time.Duration, name string, arg any) *answer {
	got := &answer{}
	finish := func(err error) { got.err, got.answered, got.at = durable.FromTemporal(err), true, s.now() }
	s.at(after, func() {
		s.env.UpdateWorkflow(name, uuid.NewString(), &testsuite.TestUpdateCallback{
			OnAccept: func() {},
			OnReject: func(err error) { got.rejected = true; finish(err) },
			OnComplete: func(result any, err error) {
				switch r := result.(type) {
				case workflows.SignupOpened:
					got.opened = r
				case workflows.SignupDone:
					got.done = r
				}
				finish(err)
			},
		}, arguments(arg)...)
	})
	return got
}

func arguments(arg any) []any {
	if arg == nil {
		return nil
	}
	return []any{arg}
}

func (s *stage) now() time.Duration { return s.env.Now().Sub(midnight) }

// details are what ops read in the UI.
func (s *stage) details() string {
	s.t.Helper()
	encoded, err := s.env.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(s.t, err)
	var metadata sdkpb.WorkflowMetadata
	require.NoError(s.t, encoded.Get(&metadata))
	return metadata.GetCurrentDetails()
}

// detailsAt are those at a virtual time, once the flow has run.
func (s *stage) detailsAt(after time.Duration) *string {
	var seen string
	s.at(after, func() { seen = s.details() })
	return &seen
}

func (s *stage) set(updates []temporal.SearchAttributeUpdate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, updates...)
}

// attributes are the search attributes as they are now.
func (s *stage) attributes() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[string]any{}
	for key, value := range temporal.NewSearchAttributes(s.updates...).GetUntypedValues() {
		now[key.GetName()] = value
	}
	return now
}

// requireEnding checks the search attributes at the end; there must be no others.
func (s *stage) requireEnding(outcome string, account uuid.UUID) {
	s.t.Helper()
	want := map[string]any{"FlowKind": "signup", "FlowStage": outcome, "FlowOutcome": outcome}
	if account != uuid.Nil {
		want["AccountID"] = account.String()
	}
	require.Equal(s.t, want, s.attributes())
}

// attributeAt is the value of a search attribute at a virtual time, once the flow has run.
func (s *stage) attributeAt(after time.Duration, name string) *any {
	var value any
	s.at(after, func() { value = s.attributes()[name] })
	return &value
}

func (s *stage) note(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{step, s.now()})
}

// steps returns the names of all activities that ran, in order.
func (s *stage) steps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.calls))
	for _, c := range s.calls {
		names = append(names, c.step)
	}
	return names
}

// times returns when an activity ran.
func (s *stage) times(step string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []time.Duration
	for _, c := range s.calls {
		if c.step == step {
			at = append(at, c.at)
		}
	}
	return at
}

// steps are the activities, each named as the real one.
type steps struct{ stage *stage }

// signupSteps holds them to the signatures of the real ones.
type signupSteps interface {
	IssueSignupCode(context.Context, activities.IssueSignupCodeInput) (activities.IssuedCode, error)
	RegisterAccount(context.Context, activities.AttemptInput) (activities.SignedUp, error)
	IssueEmailCode(context.Context, activities.IssueEmailCodeInput) (activities.IssuedCode, error)
	CompleteSignup(context.Context, activities.ChallengeInput) (activities.SignedUp, error)
	ConfirmEmail(context.Context, activities.ChallengeInput) (activities.Confirmed, error)
	AbandonSignup(context.Context, activities.AttemptInput) (activities.Remaining, error)
	PurgeUnverified(context.Context, activities.AccountInput) (activities.Left, error)
	IssuePhoneCode(context.Context, activities.IssuePhoneCodeInput) (activities.IssuedCode, error)
	BindPhone(context.Context, activities.ChallengeInput) (activities.AccountInput, error)
	SendCode(context.Context, activities.SendCodeInput) (activities.Delivered, error)
	SendMail(context.Context, activities.SendMailInput) (activities.Delivered, error)
	IssueEmailChange(context.Context, activities.EmailChangeInput) (activities.IssuedEmailChange, error)
	ChangeEmail(context.Context, activities.ChallengeInput) (activities.EmailChanged, error)
	SendEmailChangeMail(context.Context, activities.EmailChangeMailInput) (activities.Delivered, error)
	ForgetEmailChange(context.Context, activities.EmailChangeInput) error
	CloseAccount(context.Context, activities.ClosureInput) (activities.Closed, error)
	ReopenAccount(context.Context, activities.ReopenInput) (activities.Reopened, error)
	EraseAccount(context.Context, activities.ClosureInput) (activities.Left, error)
	SendClosureMail(context.Context, activities.ClosureMailInput) (activities.Delivered, error)
	FindLiveSubscriptions(context.Context, activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error)
}

var (
	_ signupSteps = (*activities.Activities)(nil)
	_ signupSteps = (*steps)(nil)
)

func (s *steps) IssueSignupCode(ctx context.Context, in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.issue, in)
}

func (s *steps) RegisterAccount(ctx context.Context, in activities.AttemptInput) (activities.SignedUp, error) {
	return run(ctx, s, s.stage.register, in)
}

func (s *steps) IssueEmailCode(ctx context.Context, in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.link, in)
}

func (s *steps) CompleteSignup(ctx context.Context, in activities.ChallengeInput) (activities.SignedUp, error) {
	return run(ctx, s, s.stage.complete, in)
}

func (s *steps) ConfirmEmail(ctx context.Context, in activities.ChallengeInput) (activities.Confirmed, error) {
	return run(ctx, s, s.stage.confirm, in)
}

func (s *steps) AbandonSignup(ctx context.Context, in activities.AttemptInput) (activities.Remaining, error) {
	return run(ctx, s, s.stage.abandon, in)
}

func (s *steps) PurgeUnverified(ctx context.Context, in activities.AccountInput) (activities.Left, error) {
	return run(ctx, s, s.stage.purge, in)
}

func (s *steps) IssuePhoneCode(ctx context.Context, in activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
	return run(ctx, s, s.stage.phone, in)
}

func (s *steps) BindPhone(ctx context.Context, in activities.ChallengeInput) (activities.AccountInput, error) {
	return run(ctx, s, s.stage.bind, in)
}

func (s *steps) SendCode(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.send, in)
}

func (s *steps) SendMail(ctx context.Context, in activities.SendMailInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.mail, in)
}

func (s *steps) IssueEmailChange(ctx context.Context, in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
	return run(ctx, s, s.stage.move, in)
}

func (s *steps) ChangeEmail(ctx context.Context, in activities.ChallengeInput) (activities.EmailChanged, error) {
	return run(ctx, s, s.stage.moved, in)
}

func (s *steps) SendEmailChangeMail(ctx context.Context, in activities.EmailChangeMailInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.told, in)
}

func (s *steps) ForgetEmailChange(ctx context.Context, in activities.EmailChangeInput) error {
	_, err := run(ctx, s, func(in activities.EmailChangeInput) (struct{}, error) { return struct{}{}, s.stage.forget(in) }, in)
	return err
}

func run[In, Out any](ctx context.Context, s *steps, do func(In) (Out, error), in In) (Out, error) {
	s.stage.note(activity.GetInfo(ctx).ActivityType.Name)
	return do(in)
}

func (s *steps) CloseAccount(ctx context.Context, in activities.ClosureInput) (activities.Closed, error) {
	return run(ctx, s, s.stage.close, in)
}

func (s *steps) ReopenAccount(ctx context.Context, in activities.ReopenInput) (activities.Reopened, error) {
	return run(ctx, s, s.stage.reopen, in)
}

func (s *steps) EraseAccount(ctx context.Context, in activities.ClosureInput) (activities.Left, error) {
	return run(ctx, s, s.stage.erase, in)
}

func (s *steps) SendClosureMail(ctx context.Context, in activities.ClosureMailInput) (activities.Delivered, error) {
	return run(ctx, s, s.stage.closureMail, in)
}

func (s *steps) FindLiveSubscriptions(ctx context.Context, in activities.LiveSubscriptionsInput) (activities.LiveSubscriptions, error) {
	return run(ctx, s, s.stage.live, in)
}
