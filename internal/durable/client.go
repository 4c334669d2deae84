// Package durable is everything Gatehouse knows about talking to Temporal: the client with its deadlines, the codec that
// encrypts what Temporal keeps, the way errors travel, search attributes, queue names and metrics. It serves core, worker
// and devstack; it knows no flow and no step.
package durable

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
)

// defaultTimeout bounds a call to Temporal on the request path.
const defaultTimeout = 3 * time.Second

// Options say how to reach Temporal.
type Options struct {
	// Address is host:port of the Temporal frontend.
	Address string
	// Namespace holds our flows.
	Namespace string
	// Security is how the connection is secured; none is none.
	Security Security
	// Keyring encrypts all payloads and failures. There is no client without one.
	Keyring *Keyring
	// Logger receives the SDK's records, without the texts of errors.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics client.MetricsHandler
	// Tracer has traces go on in flows and activities; nil traces nothing.
	Tracer trace.Tracer
	// Identity names this process in histories, in the clear. Empty means "gatehouse".
	Identity string
	// Timeout bounds every Ask and Tell beside the caller's context. Zero means 3 s.
	Timeout time.Duration
}

// Client asks flows. It is safe for concurrent use.
type Client struct {
	temporal  client.Client
	namespace string
	timeout   time.Duration
	// updates limits how many are under way to one flow.
	updates flowLimits
}

// Dial returns a client that connects with its first call, so a Temporal that is down does not keep the API from
// starting.
func Dial(o Options) (*Client, error) {
	if o.Keyring == nil {
		return nil, errors.New("temporal client: no keyring; payloads would be stored in the clear")
	}
	secured, err := o.Security.config()
	if err != nil {
		return nil, err
	}
	var interceptors []interceptor.ClientInterceptor
	if o.Tracer != nil {
		traced, err := tracing(o.Tracer)
		if err != nil {
			return nil, err
		}
		interceptors = append(interceptors, traced)
	}
	c, err := client.NewLazyClient(client.Options{
		HostPort:         o.Address,
		Namespace:        o.Namespace,
		Identity:         cmp.Or(o.Identity, "gatehouse"),
		Logger:           sdkLogger(o.Logger),
		MetricsHandler:   o.Metrics,
		DataConverter:    o.Keyring.DataConverter(),
		FailureConverter: o.Keyring.FailureConverter(),
		Interceptors:     interceptors, // a worker takes them over from its client
		Credentials:      o.Security.credentials(),

		// What is sent is encrypted, and does not get smaller: compressing took 7% of a worker's processor time at sign-ups.
		ConnectionOptions: client.ConnectionOptions{
			TLS: secured, GrpcCompression: &client.GrpcCompressionNone{},
			DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(startsForNobody)},
		},
		ContextPropagators: []workflow.ContextPropagator{actingPropagator{o.Keyring.DataConverter()}},
	})
	if err != nil {
		return nil, fmt.Errorf("temporal client: %w", err)
	}
	return &Client{temporal: c, namespace: o.Namespace, timeout: cmp.Or(o.Timeout, defaultTimeout)}, nil
}

// Ask is an update of a flow that is started if it does not run.
type Ask struct {
	// WorkflowID is the subject's id, in the clear: no name, no address, no bare hash of one.
	WorkflowID string
	// Workflow is the type's name, Queue where its workers listen.
	Workflow string
	Queue    string
	// Input is the flow's only argument; nil means none.
	Input any
	// Update is the handler's name, Arg its only argument; nil means none.
	Update string
	Arg    any
	// Summary is a line that shows in the Temporal UI for the life of the flow, encrypted at rest.
	Summary string
	// Attributes are the first search attributes, in the clear.
	Attributes []temporal.SearchAttributeUpdate
	// ExecutionTimeout ends a flow that no worker ever served. Zero means never.
	ExecutionTimeout time.Duration
	// Conflict says what to do when the flow runs, Reuse when it ran before. Zero means: join it, start another.
	Conflict enums.WorkflowIdConflictPolicy
	Reuse    enums.WorkflowIdReusePolicy
}

// Ask starts the flow unless it runs, and returns its answer to the update in out (nil to ignore it). Errors are those of
// FromTemporal, and account.ErrBusy when too many others ask the same flow. A validator's refusal leaves the flow started; after
// account.ErrOutcomeUnknown the update may yet run: handlers answer a repetition by what the message says.
func (c *Client) Ask(ctx context.Context, a Ask, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	leave, err := c.updates.enter(ctx, a.WorkflowID)
	if err != nil {
		return err
	}
	defer leave()
	return unlessLost(ctx, func() error {
		start := c.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID:                       a.WorkflowID,
			TaskQueue:                a.Queue,
			WorkflowExecutionTimeout: a.ExecutionTimeout,
			WorkflowIDConflictPolicy: cmp.Or(a.Conflict, enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING),
			WorkflowIDReusePolicy:    cmp.Or(a.Reuse, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE),
			TypedSearchAttributes:    temporal.NewSearchAttributes(a.Attributes...),
			StaticSummary:            a.Summary,
		}, a.Workflow, arguments(a.Input)...)
		handle, err := c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: start,
			UpdateOptions:          update(a.WorkflowID, a.Update, a.Arg),
		})
		return answer(ctx, handle, err, out)
	})
}

// Start is a flow that nobody waits for. Its fields mean what those of Ask mean.
type Start struct {
	WorkflowID       string
	Workflow         string
	Queue            string
	Input            any
	Summary          string
	Attributes       []temporal.SearchAttributeUpdate
	ExecutionTimeout time.Duration
}

// Start starts a flow, once: while one of its id runs or is remembered there is no second, and no error. Errors are those of
// FromTemporal.
func (c *Client) Start(ctx context.Context, s Start) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       s.WorkflowID,
		TaskQueue:                s.Queue,
		WorkflowExecutionTimeout: s.ExecutionTimeout,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes:    temporal.NewSearchAttributes(s.Attributes...),
		StaticSummary:            s.Summary,
	}, s.Workflow, arguments(s.Input)...)
	err = FromTemporal(err)
	if errors.Is(err, ErrFlowExists) {
		return nil
	}
	return err
}

// Revive starts a flow that ought to run, unless it does, and reports whether it had to. It may have run before. Errors are
// those of FromTemporal.
func (c *Client) Revive(ctx context.Context, s Start) (revived bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err = c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       s.WorkflowID,
		TaskQueue:                s.Queue,
		WorkflowExecutionTimeout: s.ExecutionTimeout,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes:    temporal.NewSearchAttributes(s.Attributes...),
		StaticSummary:            s.Summary,

		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, s.Workflow, arguments(s.Input)...)
	err = FromTemporal(err)
	if errors.Is(err, ErrFlowExists) {
		return false, nil
	}
	return err == nil, err
}

// Running returns a page of the ids of a type's flows that run and were started before a moment, and the token of the next
// page, nil after the last. It lags behind by a moment, as everything does that is listed. Errors are those of FromTemporal.
func (c *Client) Running(ctx context.Context, workflow string, before time.Time, page []byte) (ids []string, next []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query:    fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running' AND StartTime < '%s'", workflow, before.UTC().Format(time.RFC3339)),
		PageSize: listPage, NextPageToken: page,
	})
	if err != nil {
		return nil, nil, FromTemporal(err)
	}
	for _, e := range answer.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids, answer.GetNextPageToken(), nil
}

const listPage = 500

// Count returns how many flows a filter of the Temporal UI finds. It lags behind by a moment. Errors are those of FromTemporal.
func (c *Client) Count(ctx context.Context, query string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	return answer.GetCount(), FromTemporal(err)
}

// Tell is an update of a flow that must run already. Its fields mean what those of Ask mean.
type Tell struct {
	WorkflowID string
	Update     string
	Arg        any
}

// Tell returns the running flow's answer to the update in out (nil to ignore it), and ErrNoFlow when no such flow runs.
// Other errors are those of Ask.
func (c *Client) Tell(ctx context.Context, t Tell, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	leave, err := c.updates.enter(ctx, t.WorkflowID)
	if err != nil {
		return err
	}
	defer leave()
	return unlessLost(ctx, func() error {
		handle, err := c.temporal.UpdateWorkflow(ctx, update(t.WorkflowID, t.Update, t.Arg))
		return answer(ctx, handle, err, out)
	})
}

// The waits before an update that was lost is sent again.
const (
	firstWait = 20 * time.Millisecond
	lastWait  = 160 * time.Millisecond
)

// unlessLost sends an update again that the server has dropped because the flow's task failed under it: that happens when
// the update would end the flow in the very moment in which something else becomes known to it. Nothing of the update was
// accepted, and steps that it took meanwhile are taken again, which changes nothing.
func unlessLost(ctx context.Context, send func() error) error {
	for wait := firstWait; ; wait *= 2 {
		err := send()
		if !is[*serviceerror.WorkflowNotReady](err) || wait > lastWait {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// freshID is an id that no other update of a flow has: under an id that came before, the server answers with the outcome it had
// then, passing failures included (docs/decisions/0007-fresh-update-ids.md). Histories repeat it four times, so it is as short as a
// flow of two thousand updates allows; the SDK's own is a UUID.
func freshID() string { return rand.Text()[:16] }

func update(workflowID, name string, arg any) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{
		WorkflowID:   workflowID,
		UpdateName:   name,
		UpdateID:     freshID(),
		Args:         arguments(arg),
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}
}

// answer looks twice: a validator's refusal is an error of the handle and not of the call.
func answer(ctx context.Context, handle client.WorkflowUpdateHandle, err error, out any) error {
	if err == nil {
		err = handle.Get(ctx, out)
	}
	return FromTemporal(err)
}

func arguments(arg any) []any {
	if arg == nil {
		return nil
	}
	return []any{arg}
}

// Healthy reports whether Temporal's frontend answers. It says nothing about workers. Errors are those of FromTemporal.
func (c *Client) Healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	return FromTemporal(err)
}

// Temporal returns the SDK's client, for workers and operators. It belongs to c and is closed with it.
func (c *Client) Temporal() client.Client { return c.temporal }

// Close ends the connection.
func (c *Client) Close() { c.temporal.Close() }
