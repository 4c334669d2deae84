package telemetry_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"gatehouse/internal/telemetry"
)

// collector is an OTLP receiver.
type collector struct {
	mutex   sync.Mutex
	names   []string
	service string
	headers []http.Header
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in coltrace.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.headers = append(c.headers, r.Header)
	for _, rs := range in.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				c.service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.names = append(c.names, s.GetName())
			}
		}
	}
}

func TestTraces_AreDeliveredBeforeTheProcessEnds(t *testing.T) {
	t.Parallel()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	traces, err := telemetry.StartTraces(t.Context(), telemetry.TraceOptions{
		Endpoint: server.URL + "/", Headers: map[string]string{"Authorization": "Bearer x"}, Sampling: 1, Service: "gatehouse-api",
	})
	require.NoError(t, err)
	_, span := traces.Tracer().Start(t.Context(), "one")
	span.End()
	require.NoError(t, traces.Close(t.Context()))
	require.Equal(t, []string{"one"}, c.names)
	require.Equal(t, "gatehouse-api", c.service)
	require.Equal(t, "Bearer x", c.headers[0].Get("Authorization"))
}

func TestTraces_NoneWithoutAnEndpoint(t *testing.T) {
	t.Parallel()
	traces, err := telemetry.StartTraces(t.Context(), telemetry.TraceOptions{})
	require.NoError(t, err)
	require.Nil(t, traces.Tracer())
	require.NoError(t, traces.Close(t.Context()))
}

func TestLogTraces(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(&collector{})
	t.Cleanup(server.Close)
	traces, err := telemetry.StartTraces(t.Context(), telemetry.TraceOptions{Endpoint: server.URL, Sampling: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = traces.Close(t.Context()) })
	var out bytes.Buffer
	log := slog.New(telemetry.LogTraces(slog.NewTextHandler(&out, nil))).With("process", "api")
	log.InfoContext(t.Context(), "outside")
	require.NotContains(t, out.String(), "trace_id")
	ctx, span := traces.Tracer().Start(t.Context(), "one")
	log.InfoContext(ctx, "inside")
	require.Contains(t, out.String(), "process=api trace_id="+span.SpanContext().TraceID().String())
}
