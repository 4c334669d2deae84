//go:build unix

package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// F-19, and F-17 from the other side: APIs whose clocks are 90 seconds off, either way, beside one whose clock is right. A code of
// an authenticator app is good once, wherever it is shown; steps only rise; and no window is wider than with the right clock.
func TestFault_F19_F17_ClocksOfTheAPIs(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_MFA_TRIES", "1000", "GATEHOUSE_ACCESS_TTL", "45s")
	apis := map[int]*system{
		0: s, 3: s.replica(t, "127.0.0.81", "GATEHOUSE_CLOCK_OFFSET", "90s"), -3: s.replica(t, "127.0.0.82", "GATEHOUSE_CLOCK_OFFSET", "-90s"),
	}
	refusedAll := func(a app, code, why string) {
		for off, at := range apis {
			require.False(t, at.valid(t, a.token, code), "%s, at the API that is off by %d steps", why, off)
		}
	}
	for off, at := range apis {
		a := s.enrolled(t)
		for _, far := range []int{-4, -3, -2, 3, 4} {
			require.False(t, at.valid(t, a.token, a.code(t, off+far)), "%d steps off are too many", far)
		}
		shown := a.code(t, off)
		require.True(t, at.valid(t, a.token, shown), "the code of its own time")
		refusedAll(a, shown, "a code twice")
		for back := 1; back <= 6; back++ {
			refusedAll(a, a.code(t, off-back), "a step before one that was used")
		}
	}
	clocksOfCodes(t, s, apis)

	// An access token ends no later than it says, by any clock that is not behind.
	email, first := s.pairs(t)
	s.requireAlive(t, first.access)
	apis[3].requireDead(t, first.access)
	late := pairOf(t, apis[-3].authenticate(t, email, password))
	s.requireDead(t, late.access)
	apis[3].requireDead(t, late.access)
	// What is ended is ended by the database, whatever a clock shows.
	apis[-3].want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: first.access})
	for _, at := range apis {
		at.requireDead(t, first.access)
		at.refusedRefresh(t, first.refresh)
	}
}

// clocksOfCodes checks that the database's clock alone decides how long a mailed code is good.
func clocksOfCodes(t *testing.T, s *system, apis map[int]*system) {
	t.Helper()
	for off, at := range apis {
		for left, want := range map[string]int{"20 seconds": http.StatusOK, "-1 seconds": http.StatusBadRequest} {
			email := newEmail()
			s.initiate(t, email)
			code := s.awaitCode(t, email)
			s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`, email)
			s.db.change(t, `UPDATE challenges SET code_expires_at = now() + $2::interval WHERE destination = $1`, email, left)
			got := at.send(t, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
			require.Equal(t, want, got.Status, "%s left, at the API that is off by %d steps: %s", left, off, got.Body)
		}
	}
}
