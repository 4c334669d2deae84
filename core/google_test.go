package core

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

func TestGoogleInput(t *testing.T) {
	t.Parallel()
	require.NoError(t, GoogleInput{Code: "4/0AX4XfWh", CodeVerifier: new(strings.Repeat("a", 43))}.validate())
	for field, bad := range map[string]GoogleInput{
		"code": {Code: " "}, "code_verifier": {Code: "x", CodeVerifier: new("short")},
	} {
		require.Contains(t, fieldsOf(bad.validate()), field)
	}
	require.Contains(t, fieldsOf(GoogleInput{Code: strings.Repeat("x", 2049)}.validate()), "code")
	require.Contains(t, fieldsOf(GoogleInput{Code: "a\nb"}.validate()), "code")
	require.Contains(t, fieldsOf(GoogleInput{Code: "x", CodeVerifier: new(strings.Repeat("ä", 43))}.validate()), "code_verifier")
}

func TestGoogleState(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		state  *string
		cookie string
		same   bool
	}{
		{nil, "", true}, {new("a"), "a", true}, {new("a"), "b", false}, {new("a"), "", false}, {nil, "a", false}, {new(""), "", false},
	} {
		require.Equal(t, one.same, GoogleInput{State: one.state, StateCookie: one.cookie}.sameState(), one)
	}
}

func TestBeginGoogleInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Identity = identity.New(identity.Settings{})
	_, err := w.BeginGoogle(t.Context(), client, BeginGoogleInput{CodeChallenge: new("short")})
	require.Contains(t, fieldsOf(err), "code_challenge")
	_, err = w.BeginGoogle(t.Context(), client, BeginGoogleInput{})
	require.ErrorIs(t, err, account.ErrProviderNotConfigured)
	_, err = w.SignInByGoogle(t.Context(), client, GoogleInput{Code: "x"})
	require.ErrorIs(t, err, account.ErrProviderNotConfigured)
}
