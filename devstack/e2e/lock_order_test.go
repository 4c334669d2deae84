//go:build unix

package e2e_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

// TestChangesThatEndCodesHoldThemFirst wants whatever ends codes to take hold of them before the account, as whoever spends one
// does: else the two wait for each other until the database gives one of them up.
func TestChangesThatEndCodesHoldThemFirst(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	beside(t, map[string]func(token string) call{
		"A05": func(token string) call { return change(token, password, newPassword) },
		"C20": func(token string) call { return moveTo(token, newEmail()) },
		"C25": func(token string) call { return call{Method: http.MethodDelete, Path: pathSessions, Token: token} },
		"D04": func(token string) call { return deactivate(token, fields{"password": password}) },
		"C01": func(token string) call { return closeWith(token, fields{"password": password}) },
	}, func(t *testing.T, ask func(token string) call) {
		email := newEmail()
		token := s.signUp(t, email)
		s.move(t, token, newEmail())
		spending, err := s.db.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = spending.Rollback(context.WithoutCancel(t.Context())) }()
		const owner = `(SELECT id FROM accounts WHERE email = $1 AND deleted_at IS NULL)`
		_, err = spending.Exec(t.Context(), `SELECT 1 FROM challenges WHERE account_id = `+owner+` FOR UPDATE`, email)
		require.NoError(t, err)
		done := make(chan answer, 1)
		go func() {
			got, _ := s.try(t.Context(), ask(token))
			done <- got
		}()
		testkit.Eventually(t, patience, func() bool {
			var waits bool
			err := spending.QueryRow(t.Context(), `SELECT EXISTS (
				SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))`).Scan(&waits)
			require.NoError(t, err)
			return waits
		}, "the change to wait")
		_, err = spending.Exec(t.Context(), `SELECT 1 FROM accounts WHERE id = `+owner+` FOR UPDATE NOWAIT`, email)
		require.NoError(t, err, "nobody who waits for the codes has the account")
		require.NoError(t, spending.Rollback(t.Context()))
		got := <-done
		require.Less(t, got.Status, 300, "%s", got.Body)
		require.NotZero(t, got.Status)
	})
}
