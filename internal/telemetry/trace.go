package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceOptions say where spans go.
type TraceOptions struct {
	// Endpoint is the root URL of a collector that takes OTLP over HTTP, Headers go with every delivery.
	Endpoint string
	Headers  map[string]string
	// Sampling is the share of requests that are traced, above 0 and at most 1.
	Sampling float64
	// Service, Version and Instance name the process.
	Service, Version, Instance string
	// Failed hears why spans could not be delivered. The text of the error may name the collector.
	Failed func(error)
}

// Traces makes spans and delivers them in the background. Spans that nobody takes in time are lost: no request waits for them.
type Traces struct{ provider *sdktrace.TracerProvider }

// tracerName names the instrumentation in every span.
const tracerName = "gatehouse"

// flushTime bounds how long a process that ends waits for its last spans.
const flushTime = 3 * time.Second

// StartTraces returns nil where no endpoint is set. The error is one of the endpoint.
func StartTraces(ctx context.Context, o TraceOptions) (*Traces, error) {
	if o.Endpoint == "" {
		return nil, nil //nolint:nilnil // Nothing is traced, and nothing is wrong.
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(o.Endpoint)), otlptracehttp.WithHeaders(o.Headers))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	if o.Failed != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(o.Failed))
	}
	return &Traces{provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		// Whoever began a trace has decided; what reaches us from outside is believed only behind a trusted proxy (middleware.Trace).
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Sampling))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", o.Service), attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Instance),
		)),
	)}, nil
}

// Tracer returns what makes spans, nil for nil Traces.
func (t *Traces) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(tracerName)
}

// Close delivers what is left, for a few seconds at most.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// tracesURL is where a collector takes traces, by the standard of OTLP.
func tracesURL(endpoint string) string {
	return strings.TrimRight(endpoint, "/") + "/v1/traces"
}

// LogTraces returns a handler that names the trace in every record made within one.
func LogTraces(next slog.Handler) slog.Handler { return traceHandler{next} }

type traceHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h traceHandler) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record = record.Clone()
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
