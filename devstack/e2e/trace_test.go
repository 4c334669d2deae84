//go:build unix

package e2e_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	*httptest.Server

	mutex sync.Mutex
	spans []seenSpan
	raw   []string
}

// seenSpan is a span and the service that made it.
type seenSpan struct {
	*tracepb.Span

	service string
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(func() {
		c.Close()
		requireUnknown(t, "the traces", []byte(c.text()))
	})
	return c
}

// env has every request traced, and delivered soon.
func (c *collector) env(settings map[string]string) map[string]string {
	settings["GATEHOUSE_OTLP_ENDPOINT"], settings["GATEHOUSE_TRACE_SAMPLING"] = c.URL, "1"
	settings["OTEL_BSP_SCHEDULE_DELAY"] = "200"
	return settings
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	in := &collectortrace.ExportTraceServiceRequest{}
	if err != nil || proto.Unmarshal(body, in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.raw = append(c.raw, string(body))
	for _, resource := range in.GetResourceSpans() {
		var service string
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, seenSpan{span, service})
			}
		}
	}
}

// of are the spans of a trace so far.
func (c *collector) of(trace string) []seenSpan {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(c.spans), func(s seenSpan) bool { return hex.EncodeToString(s.GetTraceId()) != trace })
}

// text is all that was delivered, as it came.
func (c *collector) text() string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return strings.Join(c.raw, "\n")
}

const (
	signUpTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	signUpCaller = "00f067aa0ba902b7"
)

// The two requests of one sign-up, behind a proxy that says that they belong together, are one trace with all that they bring
// about: flow, steps and statements.
func TestTrace_OneSignUp(t *testing.T) {
	t.Parallel()
	mails, traces := smtptest.Start(t), startCollector(t)
	env := traces.env(withMail(mails))
	env["GATEHOUSE_TRUSTED_PROXIES"] = "127.0.0.1/32"
	s, api, worker := stacktest.StartAll(t, stacktest.Options{Env: env})
	c := newClient(s.BaseURL)
	email := newEmail()
	through := map[string]string{"Traceparent": "00-" + signUpTrace + "-" + signUpCaller + "-01", "X-Request-Id": "sign-up-1"}
	c.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}, Header: through})
	code := mails.Wait(email, 1)[0].Code
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}, Header: through})
	mails.Wait(email, 2)

	wanted := []string{
		"gatehouse-api POST " + pathInitiateSignup, "gatehouse-api UpdateWithStartWorkflow:open", "gatehouse-worker RunWorkflow:Signup",
		"gatehouse-worker HandleUpdate:open", "gatehouse-worker RunActivity:IssueSignupCode", "gatehouse-worker RunActivity:SendCode",
		"gatehouse-api POST " + pathCompleteSignup, "gatehouse-api UpdateWorkflow:proceed", "gatehouse-worker RunActivity:CompleteSignup",
		"gatehouse-worker RunActivity:SendMail", "gatehouse-api INSERT", "gatehouse-worker WITH", "gatehouse-worker UPDATE",
	}
	var spans []seenSpan
	t.Cleanup(func() {
		if t.Failed() {
			for _, span := range traces.of(signUpTrace) {
				t.Log(span.service, span.GetName())
			}
		}
	})
	testkit.Eventually(t, patience, func() bool {
		spans = traces.of(signUpTrace)
		return len(missing(spans, wanted)) == 0
	}, "the whole trace")
	requireOneTree(t, spans)

	for _, secret := range []string{email, strings.Split(email, "@")[0], password, code} {
		require.NotContains(t, traces.text(), secret)
	}
	require.Contains(t, fmt.Sprint(spans), "gatehouse.request_id")
	require.Contains(t, fmt.Sprint(spans), "sign-up-1")
	require.Contains(t, api.Output(), `"trace_id":"`+signUpTrace+`"`, "the access log names the trace")

	// A stranger's next request is a trace of its own.
	c.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}})
	api.Stop(t, patience)
	worker.Stop(t, patience)
	require.Contains(t, traces.text(), pathLogin, "what is left is delivered by a process that ends")
	require.NotContains(t, fmt.Sprint(traces.of(signUpTrace)), pathLogin)
}

// missing are the wanted spans that are not there.
func missing(spans []seenSpan, wanted []string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return slices.ContainsFunc(spans, func(s seenSpan) bool { return s.service+" "+s.GetName() == name })
	})
}

// requireOneTree checks that every span has its parent in the trace, or is one of the two requests.
func requireOneTree(t *testing.T, spans []seenSpan) {
	t.Helper()
	known := map[string]bool{signUpCaller: true}
	for _, s := range spans {
		known[hex.EncodeToString(s.GetSpanId())] = true
	}
	var roots int
	for _, s := range spans {
		parent := hex.EncodeToString(s.GetParentSpanId())
		require.True(t, known[parent], "%s has no parent", s.GetName())
		if parent == signUpCaller {
			roots++
		}
	}
	require.Equal(t, 2, roots, "the two requests")
}
