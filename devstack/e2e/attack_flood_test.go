//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
)

// LOG-05: five hundred logins at once, over and over, are shed at a bounded price. Reads go on beside them; and a refusal for want
// of time is told as one: never is a right password called wrong, or the other way round.
func TestAttack_LOG05_HashFlood(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_HASH_QUEUE", "8", "GATEHOUSE_HASH_WAIT", "500ms")
	email := newEmail()
	token := s.signUp(t, email)
	read := func(ends time.Time) (took []time.Duration) {
		for time.Now().Before(ends) {
			began := time.Now()
			got, err := s.try(t.Context(), call{Path: pathMe, Token: token})
			if err != nil || got.Status != http.StatusOK {
				t.Errorf("a read during the flood: %d %v", got.Status, err)
			}
			took = append(took, time.Since(began))
			time.Sleep(100 * time.Millisecond)
		}
		slices.Sort(took)
		return took
	}
	calm := read(time.Now().Add(time.Second))
	f := flood{system: s.tolerant(t), email: email, ends: time.Now().Add(3 * time.Second)}
	if stacktest.Full() {
		f.ends = time.Now().Add(time.Minute)
	}
	f.http.Timeout = 2 * callTimeout
	reads := make(chan []time.Duration)
	go func() { reads <- read(f.ends) }()
	atOnce(500, func(i int) {
		for time.Now().Before(f.ends) {
			f.login(t, i%50 == 0)
		}
	})
	took := <-reads
	p99, memory := took[len(took)*99/100], s.memory(t)
	t.Logf("%d logins compared, %d right, %d shed, slowest refusal %s; reads: p50 %s, p99 %s of %d, p99 before %s; resident %d MB",
		f.evaluated.Load(), f.right.Load(), f.shed.Load(), time.Duration(f.slowest.Load()), took[len(took)/2], p99, len(took), calm[len(calm)-1], memory>>20)
	require.Positive(t, f.evaluated.Load())
	require.Positive(t, f.shed.Load(), "nothing was shed")
	// On a machine that has nothing else to do; here the flood itself, and other tests, take what there is of it.
	require.Less(t, time.Duration(f.slowest.Load()), (hangs+time.Second)*crowding())
	// 100 ms on such a machine.
	require.Less(t, p99, (time.Second+10*calm[len(calm)-1])*crowding())
	// Five hundred hashes at once were 10 GB.
	s.requireModest(t)
	require.Equal(t, http.StatusUnauthorized, s.login(t, newEmail(), password).Status) // at rest again
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
}

// flood are logins that nobody's machine could compare.
type flood struct {
	*system
	email                  string
	ends                   time.Time
	evaluated, right, shed atomic.Int32
	slowest                atomic.Int64
}

// login is one of somebody, by the right password, or of nobody.
func (f *flood) login(t *testing.T, known bool) {
	who := f.email
	if !known {
		who = newEmail()
	}
	began := time.Now()
	got, err := f.try(t.Context(), call{Path: pathLogin, Body: fields{"email": who, "password": password}})
	switch {
	case err != nil:
		t.Error(err)
	case known && got.Status == http.StatusOK:
		f.right.Add(1)
	case !known && got.Status == http.StatusUnauthorized:
		f.evaluated.Add(1)
	case got.Status == http.StatusServiceUnavailable && got.Header.Get("Retry-After") != "" && got.code() == "busy":
		f.shed.Add(1)
		took := int64(time.Since(began))
		for slowest := f.slowest.Load(); took > slowest && !f.slowest.CompareAndSwap(slowest, took); {
			slowest = f.slowest.Load()
		}
		time.Sleep(50 * time.Millisecond)
	default:
		t.Errorf("%d: %s", got.Status, got.Body)
	}
}

// requireModest wants the API to hold no more than the limit of its container (deploy/kubernetes). It begins with 90 MB; a hash
// takes 19 MB for each core; and until Go collects, what is garbage may be twice of what is not (GATEHOUSE_API_GC_PERCENT).
func (s *system) requireModest(t *testing.T) {
	t.Helper()
	require.Less(t, s.memory(t), int64(512<<20), "the memory of the API")
}

// memory is what the API holds, in bytes.
func (s *system) memory(t *testing.T) int64 {
	t.Helper()
	ops := newClient(s.stack.OpsURL)
	for line := range strings.Lines(string(ops.want(t, http.StatusOK, call{Path: "/metrics"}).Body)) {
		if value, found := strings.CutPrefix(line, "process_resident_memory_bytes "); found {
			bytes, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(t, err)
			return int64(bytes)
		}
	}
	require.Fail(t, "no figure for the memory")
	return 0
}

// WEB-13 with F-11: while the database is away everything is 503 in the dialect's shape, without a word about why; when
// it is back, so are we.
func TestAttack_WEB13_F11_DatabaseGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := postgres.Start(t.Context(), postgres.Options{Dir: dir, Durable: true}) // what was answered outlives a crash
	require.NoError(t, err)
	t.Cleanup(func() {
		server.Kill()
		_ = os.RemoveAll(server.Dir)
	})
	require.NoError(t, server.CreateDatabase(t.Context(), "gatehouse"))
	stack := stacktest.Start(t, stacktest.Options{Env: quick("DATABASE_URL", server.URL("gatehouse"))})
	stack.Command(t, nil, "migrate")
	s := &system{stack: stack, client: newClient(stack.BaseURL)}
	s.worker, s.api = stack.StartWorker(t, nil), stack.StartAPI(t, nil)
	s.http.Transport = &checked{t: t, next: s.http.Transport, mayFail: true, slow: hangs + time.Second}
	t.Cleanup(func() { requireCleanLog(t, s.api) })
	email := newEmail()
	token := s.signUp(t, email)

	stop := map[string]func(){
		"in order":   func() { require.NoError(t, server.Stop()) },
		"in a crash": func() { server.Kill() },
	}
	for name, gone := range stop {
		gone()
		<-server.Done()
		testkit.Eventually(t, patience, func() bool { // a killed server's children take a moment to notice
			return s.send(t, call{Path: pathMe, Token: token}).Status == http.StatusServiceUnavailable
		}, "the database to be gone "+name)
		s.requireUnavailable(t, token, email, name)
		testkit.Eventually(t, patience, func() bool { // what a killed server left may still hold its memory
			again, err := postgres.Start(t.Context(), postgres.Options{Dir: server.Dir, Port: server.Port, Durable: true})
			if err == nil {
				server = again
			}
			return err == nil
		}, "the database to start again")
		testkit.Eventually(t, 5*time.Second, func() bool {
			got := s.send(t, call{Path: pathMe, Token: token})
			require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
			return got.ok()
		}, "the API to be back after the database went "+name)
		s.requireAlive(t, token)
		require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	}
	other := newEmail()
	testkit.Eventually(t, patience, func() bool { // the worker may take a moment longer
		return s.send(t, call{Path: pathInitiateSignup, Body: fields{"email": other, "password": password}}).ok()
	}, "a sign-up after the database was away")
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": other, "code": s.awaitCode(t, other)}})
}

func (s *system) requireUnavailable(t *testing.T, token, email, about string) {
	t.Helper()
	for _, c := range []call{
		{Path: pathMe, Token: token},
		{Path: pathDetails, Token: token},
		{Path: pathCanSetPassword, Token: token},
		{Method: http.MethodPost, Path: pathLogout, Token: token},
		{Path: pathLogin, Body: fields{"email": email, "password": password}},
		{Path: pathAuthenticate, Body: fields{"username": email, "password": password}},
		{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}},
		{Path: pathInitiateSignup, Key: "again", Body: fields{"email": newEmail(), "password": password}},
		{Path: pathRegister, Body: fields{"username": email, "email": email, "password": password}},
		{Path: pathCompleteSignup, Body: fields{"email": email, "code": "123456"}},
		{Path: pathVerifyCode, Body: fields{"email": email, "code": "123456"}},
		{Path: pathSendCode, Body: fields{"email": email}},
		{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": "x"}},
		{Path: "/v1/operations/" + uuid.NewString()},
	} {
		got := s.want(t, http.StatusServiceUnavailable, c)
		require.NotEmpty(t, got.Header.Get("Retry-After"), "%s, %s", c.Path, about)
		lower := strings.ToLower(string(got.Body))
		for _, detail := range []string{"postgres", "sql", "connect", "dial", "127.0.0.1", "refused", "goroutine", ".go:", "pgx", "terminat"} {
			require.NotContains(t, lower, detail, "%s, %s", c.Path, about)
		}
		require.True(t, json.Valid(got.Body))
	}
	ops := newClient(s.stack.OpsURL)
	require.Equal(t, http.StatusServiceUnavailable, ops.send(t, call{Path: "/readyz"}).Status)
	require.Equal(t, http.StatusOK, ops.send(t, call{Path: "/healthz"}).Status)
	// What needs no database goes on.
	s.want(t, http.StatusOK, call{Path: "/.well-known/jwks.json"})
	s.want(t, http.StatusUnauthorized, call{Path: pathMe})
}
