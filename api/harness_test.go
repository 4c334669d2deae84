package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/api"
	"gatehouse/api/openapi/spectest"
	"gatehouse/internal/config"
)

var contract *spectest.Contract

// neverAnswered lists documented pairs that no test can bring about, with the reason.
var neverAnswered = map[string]string{}

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if contract, err = spectest.Load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" &&
		flag.Lookup("test.list").Value.String() == ""
	if code == 0 && all {
		for _, pair := range contract.Unseen() {
			if neverAnswered[pair] == "" {
				fmt.Fprintln(os.Stderr, "documented but never answered in a test:", pair)
				code = 1
			}
		}
	}
	os.Exit(code)
}

type stoppedClock struct{}

func (stoppedClock) Now() time.Time { return moment }

// testApp is an App with its fake core and what it logged.
type testApp struct {
	*api.App
	core     *fakeCore
	log      *lockedBuffer
	registry *prometheus.Registry
}

type lockedBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(line []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(line)
}

func (b *lockedBuffer) text() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.String()
}

func newApp(t *testing.T, changes ...func(*config.Config)) *testApp {
	t.Helper()
	return newAppWith(t, stoppedClock{}, changes...)
}

func newAppWith(t *testing.T, clock account.Clock, changes ...func(*config.Config)) *testApp {
	t.Helper()
	settings := config.Config{
		Environment: config.Development, BaseURL: "http://localhost:8080", RequestTimeout: 5 * time.Second,
		ShutdownTimeout: 5 * time.Second,
	}
	for _, change := range changes {
		change(&settings)
	}
	a := &testApp{core: newFake(), log: &lockedBuffer{}, registry: prometheus.NewRegistry()}
	app, err := api.New(api.Deps{
		Core: a.core, Config: settings, Clock: clock, Registry: a.registry,
		Logger: slog.New(slog.NewJSONHandler(a.log, nil)),
	})
	require.NoError(t, err)
	a.App = app
	return a
}

// answer is a response that was read and held to the contract.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &body), a.Body)
	return body
}

// send makes a request; headers come in pairs. A body without a Content-Type is sent as JSON.
func (a *testApp) send(t *testing.T, method, target, body string, headers ...string) answer {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if body == "" {
		request.Body = http.NoBody
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Del(headers[i])
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			request.Header.Add(headers[i], headers[i+1])
		}
	}
	response, err := a.Test(request)
	require.NoError(t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, contract.Check(request, []byte(body), response, read))
	require.NotEmpty(t, response.Header.Get("X-Request-Id"), "%s %s", method, target)
	require.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"), "%s %s", method, target)
	return answer{response.StatusCode, response.Header, string(read)}
}

const bearer = "Authorization"

// good is a request that every route takes: the documented example, with a credential where one is due.
func (a *testApp) good(t *testing.T, o spectest.Operation, headers ...string) answer {
	t.Helper()
	return a.send(t, o.Method, pathOf(o), exampleOf(t, o), append(credentialOf(o), headers...)...)
}

func pathOf(o spectest.Operation) string {
	at := strings.NewReplacer("{username}", "john_doe", "{provider}", "google", "{email}", "user@example.com", "{token}", "firebase-token-123", "{id}", sessionID.String(), "{session_id}", sessionID.String(),
		"{sessionId}", sessionID.String(), "{deviceKeyId}", sessionID.String()).Replace(o.Path)
	for _, p := range o.Parameters {
		if p.Value.In == "query" && p.Value.Required {
			at += "?" + p.Value.Name + "=" + fmt.Sprint(p.Value.Example)
		}
	}
	return at
}

// successOf is the status of a documented success.
func successOf(o spectest.Operation) int {
	for _, status := range []int{http.StatusCreated, http.StatusNoContent} {
		if o.Responses.Value(itoa(status)) != nil {
			return status
		}
	}
	return http.StatusOK
}

func credentialOf(o spectest.Operation) []string {
	if len(*o.Security) == 0 {
		return nil
	}
	return []string{bearer, "Bearer " + goodToken}
}

func exampleOf(t *testing.T, o spectest.Operation) string {
	t.Helper()
	if o.RequestBody == nil {
		return ""
	}
	example, err := json.Marshal(o.RequestBody.Value.Content["application/json"].Example)
	require.NoError(t, err)
	return string(example)
}

// requireFailure checks that an answer is an error in the shape of its dialect, and returns the code where it has one.
func requireFailure(t *testing.T, dialect string, status int, got answer) string {
	t.Helper()
	require.Equal(t, status, got.Status, got.Body)
	body := got.json(t)
	if dialect == "accountv1" {
		require.Equal(t, false, body["success"], got.Body)
		require.Equal(t, strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")), body["httpStatus"])
		require.Equal(t, moment.Format("2006-01-02T15:04:05"), body["action_time"])
		require.NotEmpty(t, body["message"])
		require.NotNil(t, body["data"])
		return ""
	}
	require.NotEmpty(t, body["message"], got.Body)
	code, _ := body["error"].(string)
	require.NotEmpty(t, code, got.Body)
	return code
}
