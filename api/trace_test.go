package api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"gatehouse/api"
	"gatehouse/internal/config"
	"gatehouse/internal/telemetry"
)

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

// traced is an App that keeps its spans.
func traced(t *testing.T, proxies ...netip.Prefix) (*testApp, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	a := &testApp{core: newFake(), log: &lockedBuffer{}, registry: prometheus.NewRegistry()}
	app, err := api.New(api.Deps{
		Core: a.core, Clock: stoppedClock{}, Registry: a.registry, Tracer: provider.Tracer("test"),
		Config: config.Config{Environment: config.Development, BaseURL: "http://localhost:8080", RequestTimeout: 5e9, TrustedProxies: proxies},
		Logger: slog.New(telemetry.LogTraces(slog.NewJSONHandler(a.log, nil))),
	})
	require.NoError(t, err)
	a.App = app
	return a, spans
}

func only(t *testing.T, spans *tracetest.InMemoryExporter) tracetest.SpanStub {
	t.Helper()
	all := spans.GetSpans()
	require.Len(t, all, 1)
	return all[0]
}

func TestTrace_ASpanSaysWhatTheAccessLogSays(t *testing.T) {
	t.Parallel()
	a, spans := traced(t)
	got := a.send(t, http.MethodGet, "/api/v1/auth/me?email=canary@example.com", "", bearer, "Bearer "+goodToken,
		"X-Canary", "canary", "X-Request-Id", "request-7", "User-Agent", "canary/1")
	require.Equal(t, http.StatusOK, got.Status)
	span := only(t, spans)
	require.Equal(t, "GET /api/v1/auth/me", span.Name)
	require.Contains(t, span.Attributes, attribute.String("http.route", "/api/v1/auth/me"))
	require.Contains(t, span.Attributes, attribute.Int("http.response.status_code", http.StatusOK))
	require.Contains(t, span.Attributes, attribute.String("gatehouse.request_id", "request-7"))
	require.Contains(t, a.log.text(), fmt.Sprintf(`"trace_id":%q`, span.SpanContext.TraceID()), "the access log names the trace")
	shown := fmt.Sprintf("%+v", span)
	require.NotContains(t, shown, "canary")
	require.NotContains(t, shown, goodToken)
	require.Equal(t, 1, countOf(span.Attributes, "gatehouse.account_id"))
}

func countOf(attributes []attribute.KeyValue, key attribute.Key) (n int) {
	for _, a := range attributes {
		if a.Key == key {
			n++
		}
	}
	return n
}

func TestTrace_ParentsAreBelievedFromTrustedProxiesAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		proxies  []netip.Prefix
		believed bool
	}{
		"a stranger": {nil, false},
		"a proxy":    {[]netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, spans := traced(t, c.proxies...)
			a.send(t, http.MethodGet, "/api/v1/auth/me", "", bearer, "Bearer "+goodToken, "Traceparent", traceparent)
			span := only(t, spans)
			require.Equal(t, c.believed, span.SpanContext.TraceID().String() == theirTrace)
			require.Equal(t, c.believed, span.Parent.IsValid())
		})
	}
}

func TestTrace_UnknownPathsHaveOneName(t *testing.T) {
	t.Parallel()
	a, spans := traced(t)
	a.send(t, http.MethodGet, "/v1/canary", "")
	span := only(t, spans)
	require.Equal(t, "GET unmatched", span.Name)
	require.NotContains(t, fmt.Sprintf("%+v", span), "canary")
}
