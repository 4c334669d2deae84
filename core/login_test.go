package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// D25: by username, the right password of an account without an address is answered, counted and noted as a wrong one is.
func TestLogin_WithoutAnAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.UsernameChanges, w.Policy.UsernameChangePer = 1, time.Hour
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	owner := by.Principal.Account.ID
	_, err := w.ChangeUsername(t.Context(), by, ChangeUsernameInput{Username: "ada"})
	require.NoError(t, err)
	login := func(password string) error {
		_, err := w.Login(t.Context(), client, LoginInput{Identifier: "ada", Usernames: true, Password: password})
		return err
	}
	require.NoError(t, login(ownPassword))
	_, err = w.Store.LinkProvider(t.Context(), owner, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	require.NoError(t, w.Store.UnlinkEmail(t.Context(), uuid.New(), owner, time.Hour, time.Hour))

	wrong, right := login("wrong"), login(ownPassword)
	require.ErrorIs(t, wrong, account.ErrInvalidCredentials)
	require.Equal(t, wrong, right, "no word, and no cause, tells them apart")
	attempts, err := w.LoginHistory(t.Context(), by, LoginHistoryInput{Limit: new(int64(2))})
	require.NoError(t, err)
	for _, a := range attempts {
		require.Equal(t, account.LoginWrongPassword, a.Outcome)
	}
	for range w.Policy.LoginFreeFailures - 2 {
		require.ErrorIs(t, login(ownPassword), account.ErrInvalidCredentials)
	}
	require.ErrorIs(t, login(ownPassword), account.ErrTooManyRequests)
}
