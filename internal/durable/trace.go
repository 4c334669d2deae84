package durable

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// tracing has the trace of a request go on in flows and activities. What it adds to a history is the name of a trace and of
// a span, in the clear; no baggage of anybody travels with it. A name that cannot be read is ignored: no flow fails for it.
func tracing(tracer trace.Tracer) (interceptor.ClientInterceptor, error) {
	traced, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer: tracer, TextMapPropagator: propagation.TraceContext{}, DisableBaggage: true, AllowInvalidParentSpans: true,
		SpanStarter: func(ctx context.Context, t trace.Tracer, name string, opts ...trace.SpanStartOption) trace.Span {
			_, span := t.Start(ctx, name, opts...)
			return reticent{span}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("temporal tracing: %w", err)
	}
	return traced, nil
}

// reticent is a span that names errors instead of quoting them, as the log does.
type reticent struct{ trace.Span }

// RecordError implements trace.Span.
func (r reticent) RecordError(err error, _ ...trace.EventOption) {
	if err != nil {
		r.SetAttributes(attribute.String("error.type", Describe(err)))
	}
}

// SetStatus implements trace.Span.
func (r reticent) SetStatus(code codes.Code, _ string) { r.Span.SetStatus(code, "") }
