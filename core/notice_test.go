package core

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/templates"
)

// Nobody answers where Temporal should be: a change stands, and its notice is owed together with it.
func TestChangesOweTheirNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	owed := func() (names []string) {
		t.Helper()
		notices, err := w.Store.OwedNotices(t.Context(), 0, 1000)
		require.NoError(t, err)
		for _, n := range notices {
			require.Equal(t, by.Principal.Account.ID, n.AccountID)
			names = append(names, n.Template)
		}
		return names
	}
	_, err := w.ChangePassword(t.Context(), by, ChangePasswordInput{Current: "not-my-password-1", New: "another-long-phrase-2"})
	require.ErrorIs(t, err, account.ErrInvalidPassword)
	require.Empty(t, owed(), "nothing happened")

	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, _ = w.ChangePassword(t.Context(), by, ChangePasswordInput{Current: ownPassword, New: "another-long-phrase-2"})
		})
	}
	all.Wait()
	require.Equal(t, []string{templates.PasswordChanged}, owed(), "one change, one notice")

	for range 3 { // once a day, however often
		require.NoError(t, w.notify(t.Context(), by.Principal.Account.ID, templates.ProviderRefused, "google/2026-11-22"))
	}
	require.Equal(t, []string{templates.PasswordChanged, templates.ProviderRefused}, owed())
}
