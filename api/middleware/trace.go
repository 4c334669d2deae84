package middleware

import (
	"net/netip"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"gatehouse/api/endpoint"
)

// Trace makes a span of each request. It holds what the access log holds: the route's pattern and never the path, query,
// headers or body. A traceparent is believed from trusted proxies alone: a stranger must neither choose what is traced nor
// write into the traces of others.
func Trace(tracer trace.Tracer, proxies []netip.Prefix) fiber.Handler {
	return func(c *fiber.Ctx) error {
		ctx := c.UserContext()
		if peer, ok := parseAddress(c.IP()); ok && trusted(peer, proxies) {
			ctx = propagation.TraceContext{}.Extract(ctx, requestHeaders{c})
		}
		ctx, span := tracer.Start(ctx, c.Method(), trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		c.SetUserContext(ctx)
		err := c.Next()
		state, status := endpoint.StateOf(c), c.Response().StatusCode()
		span.SetName(c.Method() + " " + state.Pattern)
		span.SetAttributes(
			attribute.String("http.request.method", c.Method()), attribute.String("http.route", state.Pattern),
			attribute.Int("http.response.status_code", status), attribute.String("gatehouse.request_id", state.RequestID),
		)
		if p := state.Caller.Principal; p != nil {
			span.SetAttributes(attribute.String("gatehouse.account_id", p.Account.ID.String()))
		}
		if status >= fiber.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		return err
	}
}

// requestHeaders is a propagation.TextMapCarrier.
type requestHeaders struct{ c *fiber.Ctx }

// Get implements propagation.TextMapCarrier.
func (h requestHeaders) Get(key string) string { return h.c.Get(key) }

// Set implements propagation.TextMapCarrier. Nothing is added to a request that has arrived.
func (requestHeaders) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (requestHeaders) Keys() []string { return nil }
