//go:build unix

package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

// withoutFlows checks what needs no flow while Temporal is away or slow: login, reads, refresh, a change and a logout go on as
// ever, each within quick; a request that needs a flow is answered within the request's own time, by what its document knows.
func (s *system) withoutFlows(t *testing.T, email string, within time.Duration) {
	t.Helper()
	began := time.Now()
	first := pairOf(t, s.authenticate(t, email, password))
	second := pairOf(t, s.refresh(t, first.refresh))
	s.want(t, http.StatusOK, call{Path: pathMe, Token: second.access})
	s.want(t, http.StatusOK, call{Path: pathSecurityInfo, Token: second.access})
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: second.access, Body: fields{"full_name": "In The Storm"}})
	s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: second.access})
	s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: second.access})
	require.Less(t, time.Since(began), within, "what needs no flow waited for one")

	began = time.Now()
	got := s.send(t, call{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}})
	require.Contains(t, []int{http.StatusOK, http.StatusAccepted, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
	if got.Status == http.StatusServiceUnavailable {
		require.NotEmpty(t, got.Header.Get("Retry-After"))
	}
	require.Less(t, time.Since(began), 5*time.Second, "beyond the request's own time")
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
			s.withoutFlows(t, email, 5*time.Second)
			outage(t)
			s.withoutFlows(t, email, 5*time.Second)
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
		meanwhile: func() { s.withoutFlows(t, email, 5*time.Second); outage(t) },
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
		meanwhile: func() { s.withoutFlows(t, email, 5*time.Second); outage(t) },
		heal:      p.pass,
	})
}
