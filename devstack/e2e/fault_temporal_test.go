//go:build unix

package e2e_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// withoutFlows checks what needs no flow while Temporal is away or slow: login, reads, refresh, a change and a logout go on as
// ever, and wait for none; a request that needs a flow is answered within the request's own time, by what its document knows.
func (s *system) withoutFlows(t *testing.T, email string) {
	t.Helper()
	began := time.Now()
	first := pairOf(t, s.authenticate(t, email, password))
	second := pairOf(t, s.refresh(t, first.refresh))
	s.want(t, http.StatusOK, call{Path: pathMe, Token: second.access})
	s.want(t, http.StatusOK, call{Path: pathSecurityInfo, Token: second.access})
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: second.access, Body: fields{"full_name": "In The Storm"}})
	s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: second.access})
	s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: second.access})
	// Seven calls on a busy machine; were three of them to wait for a flow, it would be more.
	require.Less(t, time.Since(began), 9*time.Second*crowding(), "what needs no flow waited for one")

	began = time.Now()
	got := s.send(t, call{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}})
	require.Contains(t, []int{http.StatusOK, http.StatusAccepted, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
	if got.Status == http.StatusServiceUnavailable {
		require.NotEmpty(t, got.Header.Get("Retry-After"))
	}
	require.Less(t, time.Since(began), 5*time.Second*crowding(), "beyond the request's own time")
}

// F-08: while Temporal is down, reads, logins and changes are as ever, and what needs a flow says so. Then all goes on.
func TestFault_F08_TemporalDown(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{OwnTemporal: true})
	email := newEmail()
	s.signUp(t, email)
	s.withstand(t, fault{
		strike: func() { require.NoError(t, s.stack.Temporal.Stop()) },
		meanwhile: func() {
			s.withoutFlows(t, email)
			outage(t)
			s.withoutFlows(t, email)
		},
		heal: func() { s.stack.RestartTemporal(t) },
	})
}

// temporalProxy has API and worker reach Temporal through a proxy.
func temporalProxy(t *testing.T) (*system, *proxy) {
	t.Helper()
	var p *proxy
	s := breakable(t, stacktest.Options{Change: func(s *stacktest.Stack, env map[string]string) {
		p = startProxy(t, s.TemporalAddress)
		env["TEMPORAL_ADDRESS"] = p.addr
	}})
	return s, p
}

// F-10: while every call to Temporal takes two seconds longer, nobody else waits for it.
func TestFault_F10_TemporalSlow(t *testing.T) {
	t.Parallel()
	s, p := temporalProxy(t)
	email := newEmail()
	s.signUp(t, email)
	s.withstand(t, fault{
		strike:    func() { p.delay(2 * time.Second) },
		meanwhile: func() { s.withoutFlows(t, email); outage(t) },
		heal:      p.pass,
	})
}

// F-31: API and worker reach the database and not Temporal; connections just hang.
func TestFault_F31_TemporalOutOfReach(t *testing.T) {
	t.Parallel()
	s, p := temporalProxy(t)
	email := newEmail()
	s.signUp(t, email)
	s.withstand(t, fault{
		strike:    p.vanish,
		meanwhile: func() { s.withoutFlows(t, email); outage(t) },
		heal:      p.pass,
	})
}

// F-10: Temporal has too much to do and refuses nearly every call.
func TestFault_F10_TemporalRefusesForWantOfResources(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{OwnTemporal: true})
	email := newEmail()
	s.signUp(t, email)
	again := func(beyond int) {
		require.NoError(t, s.stack.Temporal.Stop())
		s.stack.RestartTemporalRefusing(t, beyond)
	}
	s.withstand(t, fault{
		strike: func() { again(1) },
		meanwhile: func() {
			s.withoutFlows(t, email)
			outage(t)
			_, told := probe(t, s.stack.OpsURL+"/metrics")
			require.Regexp(t, `temporal_(long_)?request_resource_exhausted_total\{`, told, "calls are really refused, and ops can see it")
		},
		heal: func() { again(0) },
	})
}

// F-08 for the API alone: the connection is half open, so that a sign-up is accepted whose request never reaches Temporal. It goes
// on by itself, once.
func TestFault_F08_I01_I02_AcceptedSignupGoesOnByItself(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{})
	p := startProxy(t, s.stack.TemporalAddress)
	s.api.Stop(t, stopPatience)
	s.api = s.stack.StartAPI(t, map[string]string{"TEMPORAL_ADDRESS": p.addr})
	s.signUp(t, newEmail()) // now there is a connection

	p.vanish()
	byCode, byRegister := newEmail(), newEmail()
	begun := operation{s.client, "", ""}
	for _, in := range []call{
		{Path: pathRegister, Body: fields{"username": byRegister, "email": byRegister, "password": password}},
		{Path: pathInitiateSignup, Body: fields{"email": byCode, "password": password}},
	} {
		begun.path = s.want(t, http.StatusAccepted, in).Header.Get("Location")
	}
	p.cut() // what was kept back is lost
	p.pass()

	code, link := s.awaitCode(t, byCode), tokenOf(t, s.awaitMail(t, byRegister, 1))
	begun.await(t, "awaiting_proof")
	testkit.Eventually(t, recovery, func() bool {
		return s.send(t, call{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}}).Status == http.StatusOK
	}, "the API to reach Temporal again")
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": byCode, "code": code}})
	begun.await(t, "completed")
	s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": link}})
	for _, email := range []string{byCode, byRegister} {
		require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
		require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM challenges WHERE destination = $1`, email), "one code, however often it was asked for")
	}
	s.requireInvariants(t)
}

// F-31, the other way round: the API reaches Temporal and not the database. It says that it is not ready, answers within its
// time, and lets nobody in; the worker, which reaches both, goes on.
func TestFault_F31_DatabaseOutOfReachOfTheAPI(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{})
	where, err := url.Parse(s.stack.DatabaseURL)
	require.NoError(t, err)
	p := startProxy(t, where.Host)
	where.Host = p.addr
	s.api.Stop(t, stopPatience)
	s.api = s.stack.StartAPI(t, map[string]string{"DATABASE_URL": where.String()})
	email := newEmail()
	token := s.signUp(t, email)
	ready := func() bool {
		status, _ := probe(t, s.stack.OpsURL+"/readyz")
		return status == http.StatusOK
	}
	s.withstand(t, fault{
		strike: p.vanish,
		meanwhile: func() {
			for _, in := range []call{
				{Path: pathMe, Token: token},
				{Path: pathLogin, Body: fields{"email": email, "password": password}},
				{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}},
				{Method: http.MethodPost, Path: pathLogout, Token: token},
			} {
				began := time.Now()
				got := s.want(t, http.StatusServiceUnavailable, in)
				require.NotEmpty(t, got.Header.Get("Retry-After"))
				require.Less(t, time.Since(began), 6*time.Second*crowding(), "beyond the request's own time: %s", in.Path)
			}
			testkit.Eventually(t, patience, func() bool { return !ready() }, "the load balancer to be told")
			status, _ := probe(t, s.stack.OpsURL+"/healthz")
			require.Equal(t, http.StatusOK, status, "no reason to restart it")
			status, told := probe(t, s.workerOps()+"/readyz")
			require.Equal(t, http.StatusOK, status, "the worker reaches both: %s", told)
			outage(t)
		},
		heal: func() {
			p.pass()
			testkit.Eventually(t, recovery, ready, "it to be ready again")
		},
	})
	s.want(t, http.StatusOK, call{Path: pathMe, Token: token}) // the logout was refused, so it did not happen
}
