//go:build unix

package e2e_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/postgres"
)

// F-17: the database's clock is ten minutes off. It alone decides when something is over, so no window is wider or narrower.
func TestFault_F17_DatabaseClockOff(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	require.NoError(t, err)
	if len(found) == 0 {
		t.Skip("needs libfaketime (Debian: apt-get install libfaketime)")
	}
	for name, offset := range map[string]string{"ahead": "+600s", "behind": "-600s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{
				Environment: []string{"LD_PRELOAD=" + found[0], "FAKETIME=" + offset},
			}})
			var now time.Time
			require.NoError(t, s.db.QueryRow(t.Context(), `SELECT now()`).Scan(&now))
			require.Greater(t, time.Since(now).Abs(), 9*time.Minute, "its clock is right")

			email := newEmail()
			token := s.signUp(t, email)
			s.freshness(t, email, token)
			s.windows(t)
			s.want(t, http.StatusOK, call{Path: pathMe, Token: pairOf(t, s.authenticate(t, email, password)).access})
			s.withstand(t, fault{strike: func() {}, heal: func() {}, answers: true})
			require.Empty(t, s.db.texts(t, `SELECT id::text FROM challenges WHERE code_expires_at - coalesce(sent_at, created_at) > interval '10 minutes 5 seconds'
				UNION ALL SELECT id::text FROM sessions WHERE expires_at - created_at > interval '30 days 5 seconds'`), "what lives longer than it may")
		})
	}
}

// freshness: a sign-in allows changes of sign-in methods for ten minutes, by the clock that noted it.
func (s *system) freshness(t *testing.T, email, token string) {
	t.Helper()
	strong := call{Path: pathAPIKeys, Token: token, Body: fields{"name": "k", "scopes": []string{"account:security"}}}
	s.want(t, http.StatusCreated, strong)
	age := func(by string) {
		s.db.change(t, `UPDATE sessions SET auth_time = now() - $2::interval WHERE api_key_id IS NULL
			AND account_id = (SELECT id FROM accounts WHERE email = $1)`, email, by)
	}
	age("9 minutes")
	s.want(t, http.StatusCreated, strong)
	age("11 minutes")
	require.Equal(t, http.StatusForbidden, s.send(t, strong).Status)
}

// windows: a code counts for ten minutes.
func (s *system) windows(t *testing.T) {
	t.Helper()
	for life, want := range map[time.Duration]int{9 * time.Minute: http.StatusOK, 11 * time.Minute: http.StatusBadRequest} {
		email := newEmail()
		s.initiate(t, email)
		code := s.awaitCode(t, email)
		// The mail is seen a moment before its code's life is counted from it.
		s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`, email)
		s.db.change(t, `UPDATE challenges SET code_expires_at = code_expires_at - $2 * interval '1 second'
			WHERE id = (SELECT id FROM signup_attempts WHERE email = $1)`, email, life.Seconds())
		require.Equal(t, want, s.send(t, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).Status, "after %s", life)
	}
}
