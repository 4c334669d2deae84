package durable_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"gatehouse/internal/durable"
)

// archive is a Temporal with runs and schedules that were encrypted by various rings.
type archive struct {
	workflowservice.UnimplementedWorkflowServiceServer

	mu      sync.Mutex
	queries []string
	runs    []*workflowpb.WorkflowExecutionInfo
	// events are the histories by workflow id, each event a page; a run without any has been deleted.
	events    map[string][]*historypb.HistoryEvent
	pending   map[string]*workflowservice.DescribeWorkflowExecutionResponse
	schedules map[string]*schedulepb.Schedule
}

func (a *archive) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (a *archive) ListWorkflowExecutions(
	_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest,
) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queries = append(a.queries, r.GetQuery())
	at := len(r.GetNextPageToken())
	out := &workflowservice.ListWorkflowExecutionsResponse{Executions: a.runs[at : at+1]}
	if at+1 < len(a.runs) {
		out.NextPageToken = make([]byte, at+1)
	}
	return out, nil
}

func (a *archive) GetWorkflowExecutionHistory(
	_ context.Context, r *workflowservice.GetWorkflowExecutionHistoryRequest,
) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	events, at := a.events[r.GetExecution().GetWorkflowId()], len(r.GetNextPageToken())
	if len(events) == 0 {
		return nil, serviceerror.ToStatus(serviceerror.NewNotFound("gone")).Err()
	}
	out := &workflowservice.GetWorkflowExecutionHistoryResponse{History: &historypb.History{Events: events[at : at+1]}}
	if at+1 < len(events) {
		out.NextPageToken = make([]byte, at+1)
	}
	return out, nil
}

func (a *archive) DescribeWorkflowExecution(
	_ context.Context, r *workflowservice.DescribeWorkflowExecutionRequest,
) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if d := a.pending[r.GetExecution().GetWorkflowId()]; d != nil {
		return d, nil
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{}, nil
}

func (a *archive) ListSchedules(context.Context, *workflowservice.ListSchedulesRequest) (*workflowservice.ListSchedulesResponse, error) {
	out := &workflowservice.ListSchedulesResponse{}
	for id := range a.schedules {
		out.Schedules = append(out.Schedules, &schedulepb.ScheduleListEntry{ScheduleId: id})
	}
	return out, nil
}

func (a *archive) DescribeSchedule(
	_ context.Context, r *workflowservice.DescribeScheduleRequest,
) (*workflowservice.DescribeScheduleResponse, error) {
	return &workflowservice.DescribeScheduleResponse{Schedule: a.schedules[r.GetScheduleId()]}, nil
}

func (a *archive) add(id string, status enums.WorkflowExecutionStatus, events ...*historypb.HistoryEvent) {
	a.runs = append(a.runs, &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "run"}, Status: status,
	})
	a.events[id] = events
}

func (a *archive) serve(t *testing.T, keys *durable.Keyring) *durable.Client {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return dial(t, listener.Addr().String(), keys)
}

func sealedBy(t *testing.T, k *durable.Keyring) *commonpb.Payloads {
	t.Helper()
	p, err := k.DataConverter().ToPayloads("word")
	require.NoError(t, err)
	return p
}

func started(in *commonpb.Payloads) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: in},
	}}
}

func TestDoing(t *testing.T) {
	t.Parallel()
	a := &archive{pending: map[string]*workflowservice.DescribeWorkflowExecutionResponse{"sub/1": {
		PendingActivities: []*workflowpb.PendingActivityInfo{{ActivityType: &commonpb.ActivityType{Name: "ChargeInvoice"}}},
	}}}
	c := a.serve(t, newKeyring(t))
	for _, tc := range []struct {
		flow, activity string
		doing          bool
	}{{"sub/1", "ChargeInvoice", true}, {"sub/1", "SendMail", false}, {"sub/2", "ChargeInvoice", false}} {
		doing, err := c.Doing(t.Context(), tc.flow, tc.activity)
		require.NoError(t, err)
		require.Equal(t, tc.doing, doing, tc)
	}
}

// Every place counts in which a payload may lie: inputs on later pages, summaries, failures of attempts, schedules.
func TestKeyUses(t *testing.T) {
	t.Parallel()
	older, newer := newKeyring(t), newKeyring(t)
	a := &archive{events: map[string][]*historypb.HistoryEvent{}, schedules: map[string]*schedulepb.Schedule{}}
	const running, completed = enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	a.add("new", running, started(sealedBy(t, newer)))
	a.add("later page", running, started(sealedBy(t, newer)), started(sealedBy(t, older)))
	summary := started(sealedBy(t, newer))
	summary.UserMetadata = &sdkpb.UserMetadata{Summary: sealedBy(t, older).GetPayloads()[0]}
	a.add("summary", completed, summary)
	a.add("attempt", running, started(sealedBy(t, newer)))
	a.pending = map[string]*workflowservice.DescribeWorkflowExecutionResponse{"attempt": {
		PendingActivities: []*workflowpb.PendingActivityInfo{{LastFailure: &failurepb.Failure{EncodedAttributes: sealedBy(t, older).GetPayloads()[0]}}},
	}}
	a.add("deleted", completed)
	a.add("in the clear", completed, started(&commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte("x")}}}))
	a.schedules["nightly"] = &schedulepb.Schedule{Action: &schedulepb.ScheduleAction{Action: &schedulepb.ScheduleAction_StartWorkflow{
		StartWorkflow: &workflowpb.NewWorkflowExecutionInfo{Input: sealedBy(t, older)},
	}}}
	c := a.serve(t, newer)

	var heard []int
	uses, err := c.KeyUses(t.Context(), time.Time{}, func(runs int) { heard = append(heard, runs) })
	require.NoError(t, err)
	require.Equal(t, map[string]durable.KeyUse{
		older.KeyID(): {Running: 2, Closed: 1, Schedules: 1}, newer.KeyID(): {Running: 3, Closed: 1},
	}, uses)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6}, heard)
	require.Empty(t, strings.Join(slices.Compact(a.queries), ""))

	a.queries = nil
	moment := time.Date(2026, 11, 22, 3, 0, 0, 0, time.FixedZone("east", 3600))
	_, err = c.KeyUses(t.Context(), moment, nil)
	require.NoError(t, err)
	require.Equal(t, "StartTime < '2026-11-22T02:00:00Z'", a.queries[0])

	c.Close()
	_, err = c.KeyUses(t.Context(), time.Time{}, nil)
	require.Error(t, err, "a look that failed finds nothing, which must not mean that there is nothing")
}
