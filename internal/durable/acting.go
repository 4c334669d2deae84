package durable

import (
	"context"
	"maps"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"gatehouse/account"
)

// actingHeader is the header of updates and activities that says who asked.
const actingHeader = "gatehouse-acting"

// actingPropagator carries who acts from a request, through the update that it sends, to the activities that the update's
// handler starts, encrypted. What a flow does later, by itself, it does on nobody's behalf: see workflowErrors.
type actingPropagator struct{ data converter.DataConverter }

var _ workflow.ContextPropagator = actingPropagator{}

type actingKey struct{}

// Inject implements workflow.ContextPropagator.
func (p actingPropagator) Inject(ctx context.Context, header workflow.HeaderWriter) error {
	if a := account.ActingIn(ctx); a.Kind != account.ActorSystem {
		return p.write(a, header)
	}
	return nil
}

// InjectFromWorkflow implements workflow.ContextPropagator.
func (p actingPropagator) InjectFromWorkflow(ctx workflow.Context, header workflow.HeaderWriter) error {
	if a, ok := ctx.Value(actingKey{}).(account.Acting); ok {
		return p.write(a, header)
	}
	return nil
}

func (p actingPropagator) write(a account.Acting, header workflow.HeaderWriter) error {
	payload, err := p.data.ToPayload(a)
	if err != nil {
		return err
	}
	header.Set(actingHeader, payload)
	return nil
}

// Extract implements workflow.ContextPropagator.
func (p actingPropagator) Extract(ctx context.Context, header workflow.HeaderReader) (context.Context, error) {
	if a, ok := p.read(header); ok {
		ctx = account.WithActing(ctx, a)
	}
	return ctx, nil
}

// ExtractToWorkflow implements workflow.ContextPropagator.
func (p actingPropagator) ExtractToWorkflow(ctx workflow.Context, header workflow.HeaderReader) (workflow.Context, error) {
	if a, ok := p.read(header); ok {
		ctx = workflow.WithValue(ctx, actingKey{}, a)
	}
	return ctx, nil
}

// read takes what cannot be read, because its key has gone, for nothing: a flow must not stop for that.
func (p actingPropagator) read(header workflow.HeaderReader) (a account.Acting, ok bool) {
	var payload *common.Payload
	if payload, ok = header.Get(actingHeader); !ok {
		return a, false
	}
	return a, p.data.FromPayload(payload, &a) == nil && a.Kind != ""
}

// startsForNobody takes who acts out of starts: a flow acts on nobody's behalf by itself, and the update that comes with
// the start says who asked. The SDK puts it in both, and in a history it is 230 bytes.
func startsForNobody(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	switch r := req.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		r.Header = withoutActing(r.GetHeader())
	case *workflowservice.ExecuteMultiOperationRequest:
		for _, op := range r.GetOperations() {
			if start := op.GetStartWorkflow(); start != nil {
				start.Header = withoutActing(start.GetHeader())
			}
		}
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

// withoutActing copies: the SDK has one map for the start and for the update that comes with it.
func withoutActing(h *common.Header) *common.Header {
	if len(h.GetFields()) == 0 {
		return h
	}
	fields := maps.Clone(h.GetFields())
	delete(fields, actingHeader)
	return &common.Header{Fields: fields}
}

// OnBehalfOfNobody is a context in which a flow acts by itself: its activities do not say who asked.
func OnBehalfOfNobody(ctx workflow.Context) workflow.Context {
	if ctx.Value(actingKey{}) == nil {
		return ctx
	}
	return workflow.WithValue(ctx, actingKey{}, nil)
}
