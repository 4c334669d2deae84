//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

const (
	pathMe             = "/api/v1/auth/me"
	pathInitiateSignup = "/api/v1/auth/initiate-signup"
	pathCompleteSignup = "/api/v1/auth/complete-signup"
	pathSendCode       = "/api/v1/auth/send-verification-code"
	pathVerifyCode     = "/api/v1/auth/verify-code"
	pathLogin          = "/api/v1/auth/login"
	pathAuthenticate   = "/v1/users/authenticate"
	pathRegister       = "/v1/users/register"
	pathConfirmEmail   = "/v1/users/confirm-email"
	pathDetails        = "/v1/users/details"
	pathLogout         = "/v1/users/logout"
	pathSecurityInfo   = "/api/v1/account/security-info"
)

const (
	// patience is how long a test waits for what should come within a second or two, on a busy machine.
	patience = time.Minute
	// callTimeout is beyond every deadline of the API: reaching it means that a request hung.
	callTimeout = 25 * time.Second
	// idleConnTimeout is less than an API's own: after a long outage it would close a connection at the moment of its next use.
	idleConnTimeout = 30 * time.Second
	password        = "Correct-Horse-7-battery"
)

// fields is a JSON object to send.
type fields map[string]any

// call is a request. The zero Method is POST with a Body and GET without.
type call struct {
	Method string
	Path   string
	Body   any
	// Token is a bearer token, Key an Idempotency-Key.
	Token string
	Key   string
	// Header is more headers.
	Header map[string]string
}

// answer is what the API said.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// client talks to one API. It may be used by many goroutines.
type client struct {
	base string
	http *http.Client
	// hangUp closes the connections that nobody uses.
	hangUp func()
}

func newClient(base string) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: idleConnTimeout}
	return &client{
		base: base, http: &http.Client{Timeout: callTimeout, Transport: remembering{transport}}, hangUp: transport.CloseIdleConnections,
	}
}

// persist sends a request until it is not refused as one too many: on a busy machine a hundred changes of one account at once may
// wait for it longer than a statement may.
func (c *client) persist(ctx context.Context, in call) (got answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		got, err = c.try(ctx, in)
		if err != nil || got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			return got, err
		}
	}
}

// try sends a request once and returns the error when no answer came.
func (c *client) try(ctx context.Context, in call) (answer, error) {
	var body io.Reader
	if in.Body != nil {
		content, err := json.Marshal(in.Body)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(content)
	}
	method := in.Method
	if method == "" {
		method = http.MethodGet
		if in.Body != nil {
			method = http.MethodPost
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+in.Path, body)
	if err != nil {
		return answer{}, err
	}
	request.GetBody = nil // else the transport repeats a request with an Idempotency-Key by itself
	if in.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if in.Token != "" {
		request.Header.Set("Authorization", "Bearer "+in.Token)
	}
	if in.Key != "" {
		request.Header.Set("Idempotency-Key", in.Key)
	}
	for name, value := range in.Header {
		request.Header.Set(name, value)
	}
	got, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(got.Body)
	return answer{Status: got.StatusCode, Header: got.Header, Body: content}, err
}

// send is try for a request that must be answered.
func (c *client) send(t testing.TB, in call) answer {
	t.Helper()
	stacktest.Called(t, 1)
	got, err := c.try(t.Context(), in)
	require.NoError(t, err)
	return got
}

// want is send for a request that must be answered with status.
func (c *client) want(t testing.TB, status int, in call) answer {
	t.Helper()
	got := c.send(t, in)
	require.Equal(t, status, got.Status, "%s: %s", in.Path, got.Body)
	return got
}

// object is the answer's JSON object.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(a.Body, &out), "%s", a.Body)
	return out
}

// text is one text field of the answer, which must be there.
func (a answer) text(t testing.TB, field string) string {
	t.Helper()
	value, ok := a.object(t)[field].(string)
	require.True(t, ok, "no text %q in %s", field, a.Body)
	return value
}

// ok reports whether the answer is a success.
func (a answer) ok() bool { return a.Status >= 200 && a.Status <= 299 }

// newEmail is an address that nobody has used.
func newEmail() string { return "user-" + strings.ToLower(rand.Text()) + "@example.com" }

// inboxMessage is a message of the development inbox.
type inboxMessage struct {
	ID      string `json:"id"`
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Code    string `json:"code"`
}

// inbox returns the messages to an address, newest first.
func (c *client) inbox(t testing.TB, email string) []inboxMessage {
	t.Helper()
	got := c.want(t, http.StatusOK, call{Path: "/dev/inbox.json?channel=email&to=" + url.QueryEscape(email)})
	var messages []inboxMessage
	require.NoError(t, json.Unmarshal(got.Body, &messages), "%s", got.Body)
	return messages
}

// awaitMail waits for the n-th message to an address and returns it.
func (c *client) awaitMail(t testing.TB, email string, n int) inboxMessage {
	t.Helper()
	var messages []inboxMessage
	testkit.Eventually(t, patience, func() bool {
		messages = c.inbox(t, email)
		return len(messages) >= n
	}, "a mail to "+email)
	return messages[len(messages)-n]
}

// awaitCode waits for the first code to an address.
func (c *client) awaitCode(t testing.TB, email string) string {
	t.Helper()
	code := c.awaitMail(t, email, 1).Code
	require.Len(t, code, 6)
	return code
}

// initiate begins a sign-up by code.
func (c *client) initiate(t testing.TB, email string) {
	t.Helper()
	c.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})
}

// signUp makes an account by code and returns its session token.
func (c *client) signUp(t testing.TB, email string) string {
	t.Helper()
	c.initiate(t, email)
	body := fields{"email": email, "code": c.awaitCode(t, email)}
	return c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: body}).text(t, "session_token")
}

// atOnce runs f for 0 to n-1 behind a start barrier and waits for all.
func atOnce(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

// database is the stack's database, to check what was promised.
type database struct{ *pgxpool.Pool }

func openDatabase(t testing.TB, s *stacktest.Stack) database {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), s.DatabaseURL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return database{pool}
}

// number is the single number that a query finds.
func (d database) number(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, d.QueryRow(t.Context(), query, args...).Scan(&n), query)
	return n
}

// texts is the single column that a query finds.
func (d database) texts(t testing.TB, query string, args ...any) []string {
	t.Helper()
	rows, err := d.Query(t.Context(), query, args...)
	require.NoError(t, err, query)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err, query)
	return found
}

// quick are settings under which per-address limits do not slow a test down, and a busy machine does not fail it: what is asked
// is what happens, not how fast, and a flow's task that a stopping worker was given last is given out anew after ten seconds.
func quick(extra ...string) map[string]string {
	env := map[string]string{
		"GATEHOUSE_LIMIT_SCALE": "100000", "GATEHOUSE_FLOW_TIMEOUT": "20s", "GATEHOUSE_REQUEST_TIMEOUT": "23s",
	}
	for i := 0; i+1 < len(extra); i += 2 {
		env[extra[i]] = extra[i+1]
	}
	return env
}

// promptly are the timeouts that production has by default: for tests that ask how long something may take.
var promptly = []string{"GATEHOUSE_FLOW_TIMEOUT", "3s", "GATEHOUSE_REQUEST_TIMEOUT", "5s"}

// bursts are held by a test that drives the machine to its limits, so that another may measure a time in peace.
var bursts sync.RWMutex

// calmly returns how long f took while no burst ran.
func calmly(f func()) time.Duration {
	bursts.RLock()
	defer bursts.RUnlock()
	started := time.Now()
	f()
	return time.Since(started)
}

// secondAPI are settings for one more API, and where it will listen.
func secondAPI(t testing.TB) (settings map[string]string, addr string) {
	t.Helper()
	ports := make([]string, 2)
	for i := range ports {
		port, err := machine.FreePort()
		require.NoError(t, err)
		ports[i] = machine.LoopbackAddress(port)
	}
	return map[string]string{"GATEHOUSE_API_ADDR": ports[0], "GATEHOUSE_OPS_ADDR": ports[1]}, ports[0]
}
