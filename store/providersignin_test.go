package store_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func signInOf(l account.LinkedProvider, email string) store.ProviderSignIn {
	return store.ProviderSignIn{
		Link: l, Email: email, Vouched: true, Bonus: bonus,
		Session: store.NewSession{ID: uuid.New(), Method: "google", TTL: sessionTTL},
	}
}

func TestSignInByProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made, _, err := w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
	require.NoError(t, err)
	require.Equal(t, "google", one[string](t, w, `SELECT primary_provider FROM accounts WHERE id = $1`, made))
	again, _, err := w.SignInByProvider(t.Context(), signInOf(google("1"), "other@example.com"))
	require.NoError(t, err)
	require.Equal(t, made, again, "the pair alone identifies")
	require.Equal(t, 1, w.count(t, "accounts"))
	require.Equal(t, 2, w.count(t, "sessions"))
	w.requireInvariants(t)

	owner, _, err := w.SignInByProvider(t.Context(), signInOf(github("1"), ada))
	require.ErrorIs(t, err, account.ErrAccountExists, "an address opens nothing (OAU-09)")
	require.Equal(t, made, owner)
	unvouched := signInOf(google("2"), "new@example.com")
	unvouched.Vouched = false
	_, _, err = w.SignInByProvider(t.Context(), unvouched)
	require.ErrorIs(t, err, account.ErrEmailNotVerified, "PRE-05")

	squatter := w.newcomer(t, "victim@example.com")
	victim, _, err := w.SignInByProvider(t.Context(), signInOf(google("3"), "victim@example.com"))
	require.NoError(t, err)
	require.NotEqual(t, squatter.AccountID, victim, "PRE-01")
	_, err = w.PrincipalBySession(t.Context(), squatter.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)

	w.exec(t, `UPDATE accounts SET is_active = false WHERE id = $1`, made)
	_, _, err = w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
	require.ErrorIs(t, err, account.ErrUnauthorized)
}

func TestRace_SignInByProvider_MakesOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		subject := uuid.NewString()
		errs := race(crowd, func(int) error {
			_, _, err := w.SignInByProvider(t.Context(), signInOf(google(subject), subject+"@example.com"))
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, 1, w.count(t, `accounts WHERE email = $1`, subject+"@example.com"))
	}
	w.requireInvariants(t)
}
