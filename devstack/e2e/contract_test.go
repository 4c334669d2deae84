//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/api/openapi/spectest"
	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/secret"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
	"gatehouse/providers/push/fcmtest"
)

const (
	pathSignup         = "/api/v1/auth/signup"
	pathCanSetPassword = "/api/v1/account/password/can-set"
)

// spec is what clients were told, parsed once.
var spec = sync.OnceValues(spectest.Load)

// checked passes requests on and holds every answer to the OpenAPI files and to what is true of all answers.
type checked struct {
	t    testing.TB
	next http.RoundTripper
	// mayFail lets answers of 5xx pass.
	mayFail bool
	// mixed says that builds of several contracts answer: only what is true of all answers is asked for.
	mixed bool
	// slow is how long an answer may take on a machine that is not busy. What took longer is asked for again, until it does not: a
	// machine is not busy for ever. 0 means as long as it likes.
	slow time.Duration
}

// RoundTrip implements http.RoundTripper.
func (c *checked) RoundTrip(request *http.Request) (*http.Response, error) {
	var sent []byte
	if request.Body != nil {
		var err error
		if sent, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(sent))
	}
	started := time.Now()
	response, err := c.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if took := time.Since(started); c.slow > 0 && took > c.slow*crowding() && !c.quick(request, sent, response.StatusCode) {
		c.t.Errorf("%s %s took %s, and is never quicker than %s", request.Method, request.URL.Path, took, c.slow)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	for _, flaw := range c.flaws(request, sent, response, body) {
		c.t.Errorf("%s %s answered %d: %s\n%s", request.Method, request.URL.Path, response.StatusCode, flaw, body)
	}
	return response, nil
}

// crowding is how many want each core of this machine, as Linux counts them: what takes a second alone takes that many. It is 1
// where nobody counts.
func crowding() time.Duration {
	var load float64
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	if _, err := fmt.Sscan(string(content), &load); err != nil {
		return 1
	}
	return max(1, time.Duration(math.Ceil(load/float64(runtime.NumCPU()))))
}

// calm is how long a machine is waited for that may be busy with other things.
const calm = 2 * time.Minute

// quick reports whether a request that was slow is ever given the same answer in time. Where answers may be faults, another one
// will do.
func (c *checked) quick(request *http.Request, sent []byte, status int) bool {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(calm); time.Now().Before(end); <-pause.C {
		again, took := c.again(request, sent)
		if took <= c.slow*crowding() && (again == status || c.mayFail && again != 0) {
			return true
		}
	}
	return false
}

// again sends a request once more, in a time of its own, and returns the answer's status, 0 for none, and how long it took.
func (c *checked) again(request *http.Request, sent []byte) (int, time.Duration) {
	ctx, done := context.WithTimeout(context.WithoutCancel(request.Context()), callTimeout)
	defer done()
	request = request.Clone(ctx)
	request.Body = io.NopCloser(bytes.NewReader(sent))
	started := time.Now()
	response, err := c.next.RoundTrip(request)
	if err != nil {
		return 0, callTimeout
	}
	_, _ = io.Copy(io.Discard, response.Body) // only the time is of interest
	_ = response.Body.Close()
	return response.StatusCode, time.Since(started)
}

func (c *checked) flaws(request *http.Request, sent []byte, response *http.Response, body []byte) []string {
	var flaws []string
	flaw := func(wrong bool, format string, args ...any) {
		if wrong {
			flaws = append(flaws, fmt.Sprintf(format, args...))
		}
	}
	contract, err := spec()
	// 431 is said of every route at once, in prose: the transport answers before there is a route.
	if err == nil && response.StatusCode != http.StatusRequestHeaderFieldsTooLarge && !c.mixed {
		err = contract.Check(request, sent, response, body)
	}
	flaw(err != nil, "%v", err)
	h := response.Header
	flaw(response.StatusCode >= 500 && !c.mayFail, "a fault of ours")
	flaw(h.Get("X-Request-Id") == "", "no request id")
	flaw(h.Get("X-Content-Type-Options") != "nosniff", "may be sniffed")
	flaw(h.Get("Server") != "", "names its server")
	if strings.HasPrefix(request.URL.Path, "/api/") || strings.HasPrefix(request.URL.Path, "/v1/") {
		// WEB-11
		flaw(h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h.Get("ETag") != "", "may be cached")
		flaw(len(body) > 0 && h.Get("Content-Type") != "application/json", "is of type %q", h.Get("Content-Type"))
	}
	// Only pages get a cookie, and only browsers on behalf of a page say their Origin.
	flaw(len(h.Values("Set-Cookie")) > 0 && request.Header.Get("Origin") == "", "sets a cookie")
	return flaws
}

// system is a running Gatehouse whose every answer is checked.
type system struct {
	*client
	stack       *stacktest.Stack
	db          database
	keys        *secret.Keys
	api, worker *stacktest.Process
	// mails is where its mail goes; nil means the development inbox.
	mails *smtptest.Server
	// fcm is the push service that tells devices of what happens to their accounts; nil means that no device is registered.
	fcm *fcmtest.Server
	// ops are the ops listeners of the processes beside api and worker, by name.
	ops map[string]string
}

// startSystem runs an API and a worker with settings in pairs, beside those of quick. What they log is checked at the end.
func startSystem(t testing.TB, settings ...string) *system {
	t.Helper()
	stack := stacktest.Start(t, stacktest.Options{Env: quick(settings...)})
	worker := stack.StartWorker(t, nil)
	s := onStack(t, stack)
	s.worker = worker
	t.Cleanup(func() { requireCleanLog(t, s.worker) })
	return s
}

// onStack runs an API on a stack whose workers somebody else started.
func onStack(t testing.TB, stack *stacktest.Stack) *system {
	t.Helper()
	s := &system{stack: stack, api: stack.StartAPI(t, nil)}
	keys, err := secret.NewKeys(s.stack.Setting("GATEHOUSE_SECRET_KEY"))
	require.NoError(t, err)
	s.keys, s.db, s.client = keys, openDatabase(t, s.stack), newClient(s.stack.BaseURL)
	s.watch(t)
	t.Cleanup(func() { requireCleanLog(t, s.api) })
	return s
}

// watch has every answer of the system's client checked for t.
func (s *system) watch(t testing.TB) {
	t.Helper()
	s.http.Transport = &checked{t: t, next: s.http.Transport}
}

// tolerant is a client of the same API whose answers may be 5xx.
func (s *system) tolerant(t testing.TB) *system {
	t.Helper()
	other := *s
	other.client = newClient(s.base)
	other.http.Transport = &checked{t: t, next: other.http.Transport, mayFail: true}
	return &other
}

// replica starts one more API on the same database with other settings, and returns a client of it that calls from address.
func (s *system) replica(t testing.TB, address string, settings ...string) *system {
	t.Helper()
	env := map[string]string{}
	for _, name := range []string{"GATEHOUSE_API_ADDR", "GATEHOUSE_OPS_ADDR"} {
		port, err := machine.FreePort()
		require.NoError(t, err)
		env[name] = machine.LoopbackAddress(port)
	}
	for i := 0; i+1 < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	other := *s
	other.api = s.stack.StartAPI(t, env)
	other.client = newClient("http://" + env["GATEHOUSE_API_ADDR"])
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	other.http.Transport = remembering{&http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}}
	other.watch(t)
	t.Cleanup(func() { requireCleanLog(t, other.api) })
	return &other
}

// raw sends a body as it is; headers come in pairs. A body without a Content-Type goes as JSON.
func (s *system) raw(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(body))
	require.NoError(t, err)
	if body == "" {
		request.Body = http.NoBody
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			request.Host = headers[i+1]
		case headers[i+1] == "":
			request.Header.Del(headers[i])
		case headers[i] == "Content-Type":
			request.Header.Set(headers[i], headers[i+1])
		default:
			request.Header[headers[i]] = append(request.Header[headers[i]], headers[i+1])
		}
	}
	got, err := s.http.Do(request)
	require.NoError(t, err, "%s %s", method, path)
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return answer{Status: got.StatusCode, Header: got.Header, Body: content}
}

// wire sends bytes as they are and returns the first answer; status 0 means that the connection was closed without one.
func (s *system) wire(t testing.TB, request string) answer {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(callTimeout)))
	go func() { _, _ = io.WriteString(conn, request) }() // the server may stop reading
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "no answer to %.80q", request)
		return answer{}
	}
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	if got.Close { // the reader has taken the header away
		got.Header.Set("Connection", "close")
	}
	return answer{Status: got.StatusCode, Header: got.Header, Body: content}
}

// code is the failure code of an answer that has one.
func (a answer) code() string {
	var body struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(a.Body, &body) // no JSON, no code
	return body.Error
}

// refused is want for a request that must fail with status and, outside of document D, code.
func (s *system) refused(t testing.TB, status int, code string, in call) answer {
	t.Helper()
	got := s.want(t, status, in)
	require.Equal(t, code, got.code(), "%s: %s", in.Path, got.Body)
	return got
}

// register makes an unverified account and returns its token.
func (s *system) register(t testing.TB, username, email string) string {
	t.Helper()
	body := fields{"username": username, "email": email, "password": password}
	return s.want(t, http.StatusOK, call{Path: pathRegister, Body: body}).text(t, "token")
}

// login is the status of a sign-in through document C.
func (s *system) login(t testing.TB, email, pass string) answer {
	t.Helper()
	return s.send(t, call{Path: pathLogin, Body: fields{"email": email, "password": pass}})
}

// authenticate is the status of a sign-in through document B.
func (s *system) authenticate(t testing.TB, username, pass string) answer {
	t.Helper()
	return s.send(t, call{Path: pathAuthenticate, Body: fields{"username": username, "password": pass}})
}

// protected are a protected read of every dialect.
var protected = []string{pathMe, pathDetails, pathCanSetPassword}

// requireAlive and requireDead say whether a token is taken, in all dialects (O-dead).
func (s *system) requireAlive(t testing.TB, token string) {
	t.Helper()
	for _, path := range protected {
		s.want(t, http.StatusOK, call{Path: path, Token: token})
	}
}

func (s *system) requireDead(t testing.TB, token string) {
	t.Helper()
	for _, path := range protected {
		s.want(t, http.StatusUnauthorized, call{Path: path, Token: token})
	}
}

// passTime moves the sends of a purpose to an address back, as if that time had passed.
func (s *system) passTime(t testing.TB, purpose, email string, d time.Duration) {
	t.Helper()
	tag, err := s.db.Exec(t.Context(), `UPDATE quotas SET hits = array(SELECT h - $2 * interval '1 second' FROM unnest(hits) h)
		WHERE key = $1`, s.keys.Subject("send/"+purpose, email), d.Seconds())
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
}

// change runs a statement that must change exactly one row.
func (d database) change(t testing.TB, statement string, args ...any) {
	t.Helper()
	tag, err := d.Exec(t.Context(), statement, args...)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected(), statement)
}

// resend has a new code sent, once its time has come, and returns it as the n-th mail to the address.
func (s *system) resend(t testing.TB, purpose, email string, n int) string {
	t.Helper()
	s.passTime(t, purpose, email, time.Minute)
	s.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": email}})
	return s.awaitMail(t, email, n).Code
}

// wrong is a code that is not code.
func wrong(code string, nth int) string {
	last := (int(code[5]-'0') + nth) % 10
	return code[:5] + string(rune('0'+last))
}

var mailedLink = regexp.MustCompile(`https?://\S+`)

// linkOf is the link in a mail, tokenOf its token.
func linkOf(t testing.TB, m inboxMessage) string {
	t.Helper()
	link := mailedLink.FindString(m.Text)
	require.Contains(t, link, "token=", m.Text)
	return link
}

func tokenOf(t testing.TB, m inboxMessage) string {
	t.Helper()
	_, token, _ := strings.Cut(linkOf(t, m), "token=")
	return token
}

// secrets match what no log may hold: addresses of test users, their password, tokens and keys.
var secrets = regexp.MustCompile(`user-[a-z0-9]{10,}@|` + password + `|eyJ[A-Za-z0-9_-]{10,}|gh[krsv]_[A-Za-z0-9_-]{20,}`)

// requireCleanLog checks what a process wrote: one JSON object a line, no panic, no secret (WEB-14, WEB-15).
func requireCleanLog(t testing.TB, p *stacktest.Process) {
	t.Helper()
	for line := range strings.Lines(p.Output()) {
		var entry struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Level == "" {
			t.Errorf("a log line that is none: %s", line)
		}
		if entry.Msg == "panic" || strings.Contains(line, `"code":"internal"`) {
			t.Errorf("a fault of ours: %s", line)
		}
		if found := secrets.FindString(line); found != "" {
			t.Errorf("%q is in the log: %s", found, line)
		}
	}
}

// eventually is testkit.Eventually for a count of rows.
func (d database) eventually(t testing.TB, want int, query string, args ...any) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool { return d.number(t, query, args...) == want }, query)
}

// fingerprint tells whether anything in the database changed, counters of requests and the activity of sessions and keys aside,
// which any request notes once a minute.
func (d database) fingerprint(t testing.TB) map[string]string {
	t.Helper()
	marks := map[string]string{}
	for _, table := range d.texts(t, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'
		AND tablename NOT IN ('rate_limits', 'quotas', 'login_throttles')`) {
		marks[table] = d.texts(t, `SELECT count(*) || ' rows ' || coalesce(md5(string_agg(j, '|' ORDER BY j)), '')
			FROM (SELECT (to_jsonb(r) - 'last_active_at' - 'last_used_at')::text AS j FROM `+table+` r) x`)[0]
	}
	return marks
}

// settled is the fingerprint once flows have done what they do after their answers: it has not changed for a while.
func (d database) settled(t testing.TB) map[string]string {
	t.Helper()
	const rest = time.Second
	marks, since := d.fingerprint(t), time.Now()
	testkit.Eventually(t, patience, func() bool {
		if now := d.fingerprint(t); !maps.Equal(now, marks) {
			marks, since = now, time.Now()
		}
		return time.Since(since) > rest
	}, "the database to be at rest")
	return marks
}

func requireJSON(t testing.TB, body []byte, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(body, into), "%s", body)
}
