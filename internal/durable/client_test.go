package durable_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	updatepb "go.temporal.io/api/update/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// frontend answers as a Temporal frontend would. The end-to-end tests of devstack meet the real one; this one shows what
// the client sends, and gives answers that a healthy server does not.
type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer

	keys *durable.Keyring

	mu      sync.Mutex
	started *workflowservice.StartWorkflowExecutionRequest
	updated *workflowservice.UpdateWorkflowExecutionRequest
	sent    []byte
	// outcome of the update; nil never answers.
	outcome *updatepb.Outcome
	err     error
	// lost is how many updates the flow's task will yet fail under.
	lost int

	attributes map[string]enums.IndexedValueType
	unlisted   error
	added      map[string]enums.IndexedValueType
	namespaces map[string]time.Duration
}

func (f *frontend) GetSystemInfo(
	context.Context, *workflowservice.GetSystemInfoRequest,
) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{
		Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{EncodedFailureAttributes: true},
	}, nil
}

func (f *frontend) UpdateWorkflowExecution(
	ctx context.Context, r *workflowservice.UpdateWorkflowExecutionRequest,
) (*workflowservice.UpdateWorkflowExecutionResponse, error) {
	f.mu.Lock()
	f.updated = r
	f.lost--
	lost := f.lost >= 0
	f.mu.Unlock()
	if lost {
		return nil, serviceerror.ToStatus(serviceerror.NewWorkflowNotReady("the task failed")).Err()
	}
	if f.err != nil {
		return nil, serviceerror.ToStatus(f.err).Err()
	}
	if f.outcome == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &workflowservice.UpdateWorkflowExecutionResponse{
		UpdateRef: &updatepb.UpdateRef{
			WorkflowExecution: r.GetWorkflowExecution(), UpdateId: r.GetRequest().GetMeta().GetUpdateId(),
		},
		Stage:   enums.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED,
		Outcome: f.outcome,
	}, nil
}

func (f *frontend) StartWorkflowExecution(
	_ context.Context, r *workflowservice.StartWorkflowExecutionRequest,
) (*workflowservice.StartWorkflowExecutionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = r
	return &workflowservice.StartWorkflowExecutionResponse{RunId: "run", Started: true}, nil
}

func (f *frontend) ExecuteMultiOperation(
	ctx context.Context, r *workflowservice.ExecuteMultiOperationRequest,
) (*workflowservice.ExecuteMultiOperationResponse, error) {
	f.mu.Lock()
	f.sent, _ = proto.Marshal(r)
	f.started = r.GetOperations()[0].GetStartWorkflow()
	f.mu.Unlock()
	update, err := f.UpdateWorkflowExecution(ctx, r.GetOperations()[1].GetUpdateWorkflow())
	if err != nil {
		return nil, err
	}
	return &workflowservice.ExecuteMultiOperationResponse{
		Responses: []*workflowservice.ExecuteMultiOperationResponse_Response{
			{Response: &workflowservice.ExecuteMultiOperationResponse_Response_StartWorkflow{
				StartWorkflow: &workflowservice.StartWorkflowExecutionResponse{RunId: "run", Started: true},
			}},
			{Response: &workflowservice.ExecuteMultiOperationResponse_Response_UpdateWorkflow{UpdateWorkflow: update}},
		},
	}, nil
}

func (f *frontend) RegisterNamespace(
	_ context.Context, r *workflowservice.RegisterNamespaceRequest,
) (*workflowservice.RegisterNamespaceResponse, error) {
	if _, exists := f.namespaces[r.GetNamespace()]; exists {
		return nil, serviceerror.ToStatus(serviceerror.NewNamespaceAlreadyExists("exists")).Err()
	}
	f.namespaces[r.GetNamespace()] = r.GetWorkflowExecutionRetentionPeriod().AsDuration()
	return &workflowservice.RegisterNamespaceResponse{}, nil
}

func (f *frontend) ListSearchAttributes(
	context.Context, *operatorservice.ListSearchAttributesRequest,
) (*operatorservice.ListSearchAttributesResponse, error) {
	if f.unlisted != nil {
		return nil, serviceerror.ToStatus(f.unlisted).Err()
	}
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: f.attributes}, nil
}

func (f *frontend) AddSearchAttributes(
	_ context.Context, r *operatorservice.AddSearchAttributesRequest,
) (*operatorservice.AddSearchAttributesResponse, error) {
	f.added = r.GetSearchAttributes()
	if f.err != nil {
		return nil, serviceerror.ToStatus(f.err).Err()
	}
	return &operatorservice.AddSearchAttributesResponse{}, nil
}

func (f *frontend) succeeds(t *testing.T, result any) {
	t.Helper()
	payloads, err := f.keys.DataConverter().ToPayloads(result)
	require.NoError(t, err)
	f.outcome = &updatepb.Outcome{Value: &updatepb.Outcome_Success{Success: payloads}}
}

func (f *frontend) fails(err error) {
	f.outcome = &updatepb.Outcome{Value: &updatepb.Outcome_Failure{
		Failure: f.keys.FailureConverter().ErrorToFailure(durable.ToTemporal(err)),
	}}
}

// serve starts a frontend and a client of it.
func serve(t *testing.T) (*frontend, *durable.Client, string) {
	t.Helper()
	f := &frontend{keys: newKeyring(t), namespaces: map[string]time.Duration{}}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, f)
	operatorservice.RegisterOperatorServiceServer(server, f)
	healthy := health.NewServer()
	healthy.SetServingStatus("temporal.api.workflowservice.v1.WorkflowService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	address := listener.Addr().String()
	return f, dial(t, address, f.keys), address
}

func dial(t *testing.T, address string, keys *durable.Keyring) *durable.Client {
	t.Helper()
	c, err := durable.Dial(durable.Options{
		Address: address, Namespace: "test", Keyring: keys,
		Logger: slog.New(slog.DiscardHandler), Timeout: 300 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

type body struct{ Text string }

func TestAskSaysWhatItMeans(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	f.succeeds(t, body{"answer " + marker})

	var out body
	require.NoError(t, c.Ask(t.Context(), durable.Ask{
		WorkflowID: "signup/abc", Workflow: "Signup", Queue: durable.QueueFlows, Input: body{"input " + marker},
		Update: "begin", Arg: body{"arg " + marker},
		Summary:          "sign-up " + marker,
		Attributes:       []temporal.SearchAttributeUpdate{durable.FlowKind.ValueSet("signup")},
		ExecutionTimeout: time.Hour,
	}, &out))
	require.Equal(t, body{"answer " + marker}, out)

	require.Equal(t, "signup/abc", f.started.GetWorkflowId())
	require.Equal(t, "Signup", f.started.GetWorkflowType().GetName())
	require.Equal(t, "account-flows", f.started.GetTaskQueue().GetName())
	require.Equal(t, enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, f.started.GetWorkflowIdConflictPolicy())
	require.Equal(t, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, f.started.GetWorkflowIdReusePolicy())
	require.Equal(t, time.Hour, f.started.GetWorkflowExecutionTimeout().AsDuration())
	require.Equal(t, `"signup"`, string(f.started.GetSearchAttributes().GetIndexedFields()["FlowKind"].GetData()))
	require.Equal(t, "gatehouse", f.started.GetIdentity(), "no host name in histories")
	require.Equal(t, "signup/abc", f.updated.GetWorkflowExecution().GetWorkflowId())
	require.Equal(t, "begin", f.updated.GetRequest().GetInput().GetName())
	require.False(t, bytes.Contains(f.sent, []byte(marker)), "everything but names and ids is encrypted")

	for _, encrypted := range []*commonpb.Payload{
		f.started.GetInput().GetPayloads()[0], f.updated.GetRequest().GetInput().GetArgs().GetPayloads()[0],
		f.started.GetUserMetadata().GetSummary(),
	} {
		require.Equal(t, f.keys.KeyID(), keyID(encrypted))
	}
}

// The update says who asked. The start, which a flow is reminded of for as long as it lives, does not.
func TestAskSaysOnceWhoAsked(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	f.succeeds(t, body{"answer"})
	ctx := account.WithActing(t.Context(), account.Acting{Kind: account.ActorSession, ID: "s-1"})
	require.NoError(t, c.Ask(ctx, durable.Ask{WorkflowID: "signup/abc", Workflow: "Signup", Queue: durable.QueueFlows, Update: "begin"}, nil))
	require.Empty(t, f.started.GetHeader().GetFields())
	require.Len(t, f.updated.GetRequest().GetInput().GetHeader().GetFields(), 1)

	require.NoError(t, c.Start(ctx, durable.Start{WorkflowID: "notice/abc", Workflow: "SecurityNotice", Queue: durable.QueueFlows}))
	require.Equal(t, "notice/abc", f.started.GetWorkflowId())
	require.Empty(t, f.started.GetHeader().GetFields())
}

func TestAskKeepsChosenPoliciesAndOmitsNothings(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	f.succeeds(t, nil)
	require.NoError(t, c.Ask(t.Context(), durable.Ask{
		WorkflowID: "sub/1", Workflow: "Subscription", Queue: durable.QueueFlows, Update: "begin",
		Conflict: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL, Reuse: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, nil))
	require.Equal(t, enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL, f.started.GetWorkflowIdConflictPolicy())
	require.Equal(t, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, f.started.GetWorkflowIdReusePolicy())
	require.Empty(t, f.started.GetInput().GetPayloads())
	require.Empty(t, f.updated.GetRequest().GetInput().GetArgs().GetPayloads())
	first := f.updated.GetRequest().GetMeta().GetUpdateId()
	require.Len(t, first, 16, "a fresh one, and short: histories repeat it")
	require.NoError(t, c.Ask(t.Context(), durable.Ask{WorkflowID: "sub/1", Workflow: "Subscription", Queue: durable.QueueFlows, Update: "begin"}, nil))
	require.NotEqual(t, first, f.updated.GetRequest().GetMeta().GetUpdateId())
}

func TestAnswersOfTheFlow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		outcome error
		err     error
		want    error
	}{
		"refused":        {outcome: account.ErrInvalid.On("email", "is odd"), want: account.ErrInvalid},
		"fault":          {outcome: errors.New("anything"), want: account.ErrInternal},
		"silent":         {want: account.ErrOutcomeUnknown},
		"no flow":        {err: serviceerror.NewNotFound("workflow execution already completed"), want: durable.ErrNoFlow},
		"too many":       {err: serviceerror.NewFailedPrecondition("limit"), want: account.ErrUnavailable},
		"not allowed":    {err: serviceerror.NewPermissionDenied("no", ""), want: account.ErrInternal},
		"always refused": {err: serviceerror.NewUnavailable("down"), want: account.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c, _ := serve(t)
			f.err = tc.err
			if tc.outcome != nil {
				f.fails(tc.outcome)
			}
			told := c.Tell(t.Context(), durable.Tell{WorkflowID: "signup/abc", Update: "proceed"}, nil)
			require.ErrorIs(t, told, tc.want)
			asked := c.Ask(t.Context(), durable.Ask{
				WorkflowID: "signup/abc", Workflow: "Signup", Queue: durable.QueueFlows, Update: "proceed",
			}, nil)
			require.ErrorIs(t, asked, tc.want)
			require.Equal(t, account.AsError(told).Fields, account.AsError(asked).Fields)
		})
	}
}

func TestUpdatesThatTheServerDroppedAreSentAgain(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	f.succeeds(t, body{"done"})
	tell := func() error {
		var out body
		err := c.Tell(t.Context(), durable.Tell{WorkflowID: "closure/1", Update: "undo"}, &out)
		require.Equal(t, err == nil, out == body{"done"})
		return err
	}
	f.lost = 2
	require.NoError(t, tell())
	f.lost = 2
	require.NoError(t, c.Ask(t.Context(), durable.Ask{
		WorkflowID: "closure/1", Workflow: "AccountClosure", Queue: durable.QueueFlows, Update: "close",
	}, nil))
	f.lost = 1000
	started := time.Now()
	require.ErrorIs(t, tell(), account.ErrUnavailable)
	require.Less(t, time.Since(started), time.Second, "not for ever")
}

func TestTheCallersDeadlineWinsWhenItIsNearer(t *testing.T) {
	t.Parallel()
	_, c, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Tell(ctx, durable.Tell{WorkflowID: "x", Update: "y"}, nil), account.ErrOutcomeUnknown)
}

func TestHealthy(t *testing.T) {
	t.Parallel()
	_, c, _ := serve(t)
	require.NoError(t, c.Healthy(t.Context()))
	require.NotNil(t, c.Temporal())

	down := dial(t, "127.0.0.1:1", newKeyring(t))
	require.Error(t, down.Healthy(t.Context()))
	err := down.Tell(t.Context(), durable.Tell{WorkflowID: "x", Update: "y"}, nil)
	require.Equal(t, account.Unavailable, account.AsError(err).Kind, "%v", err)
}

func TestDialWantsAKeyring(t *testing.T) {
	t.Parallel()
	_, err := durable.Dial(durable.Options{Address: "127.0.0.1:1", Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "keyring")
}

func TestRegisterSearchAttributes(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	register := func() error { return durable.RegisterSearchAttributes(t.Context(), c.Temporal(), "test") }

	f.attributes = map[string]enums.IndexedValueType{
		"FlowKind": enums.INDEXED_VALUE_TYPE_KEYWORD, "Theirs": enums.INDEXED_VALUE_TYPE_INT,
	}
	require.NoError(t, register())
	require.Equal(t, map[string]enums.IndexedValueType{
		"FlowStage": enums.INDEXED_VALUE_TYPE_KEYWORD, "FlowOutcome": enums.INDEXED_VALUE_TYPE_KEYWORD,
		"AccountID": enums.INDEXED_VALUE_TYPE_KEYWORD, "Plan": enums.INDEXED_VALUE_TYPE_KEYWORD,
		"NextActionAt": enums.INDEXED_VALUE_TYPE_DATETIME,
	}, f.added)

	f.err = serviceerror.NewAlreadyExists("another process was faster")
	require.NoError(t, register())

	f.added, f.attributes = nil, durable.SearchAttributes()
	require.NoError(t, register())
	require.Nil(t, f.added, "nothing is missing")

	f.attributes["Plan"] = enums.INDEXED_VALUE_TYPE_INT
	require.ErrorContains(t, register(), "Plan")
}

func TestSearchAttributesThatOthersManage(t *testing.T) {
	t.Parallel()
	f, c, _ := serve(t)
	f.attributes = durable.SearchAttributes()
	delete(f.attributes, "Plan")
	delete(f.attributes, "NextActionAt")
	f.err = serviceerror.NewPermissionDenied("not here", "")
	err := durable.RegisterSearchAttributes(t.Context(), c.Temporal(), "test")
	require.EqualError(t, err, "search attributes to create in the namespace: NextActionAt (Datetime), Plan (Keyword)")
	require.Equal(t, err.Error(), durable.Describe(err), "the log names them")

	f.unlisted = serviceerror.NewUnimplemented("not here")
	err = durable.RegisterSearchAttributes(t.Context(), c.Temporal(), "test")
	require.ErrorIs(t, err, durable.ErrAttributesUnknown)
}

func TestEnsureNamespace(t *testing.T) {
	t.Parallel()
	f, _, address := serve(t)
	require.NoError(t, durable.EnsureNamespace(t.Context(), address, "gatehouse", 48*time.Hour))
	require.NoError(t, durable.EnsureNamespace(t.Context(), address, "gatehouse", time.Hour))
	require.Equal(t, map[string]time.Duration{"gatehouse": 48 * time.Hour}, f.namespaces)
}
