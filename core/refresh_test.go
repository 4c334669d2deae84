package core

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	first, by := w.login(t, "ada@example.com")
	second, err := w.Refresh(t.Context(), client, RefreshInput{Token: first.RefreshToken})
	require.NoError(t, err)
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.Len(t, second.RefreshToken, len(first.RefreshToken))
	require.Equal(t, by.Principal.Session.ID, w.caller(t, second.AccessToken).Principal.Session.ID)
	require.WithinDuration(t, w.clock.Now().Add(10*time.Minute), second.ExpiresAt, time.Minute)
	repeated, err := w.Refresh(t.Context(), client, RefreshInput{Token: first.RefreshToken})
	require.NoError(t, err)
	require.Equal(t, second.RefreshToken, repeated.RefreshToken, "within the grace")

	third, err := w.Refresh(t.Context(), client, RefreshInput{Token: second.RefreshToken})
	require.NoError(t, err)
	_, err = w.Refresh(t.Context(), client, RefreshInput{Token: first.RefreshToken})
	require.ErrorIs(t, err, account.ErrInvalidToken, "SES-03: the successor was used")
	for _, token := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken} {
		_, err := w.Refresh(t.Context(), client, RefreshInput{Token: token})
		require.ErrorIs(t, err, account.ErrInvalidToken, "SES-01: the whole family is dead")
	}
	for _, token := range []string{first.AccessToken, second.AccessToken, third.AccessToken} {
		w.requireDead(t, token)
	}
}

func TestRefreshRefusesWhatIsNoRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	in, _ := w.login(t, "ada@example.com")
	for _, token := range []string{
		"", "ghr_", in.AccessToken, strings.TrimPrefix(in.RefreshToken, "ghr_"), in.RefreshToken + "x", strings.ToUpper(in.RefreshToken),
		"ghr_" + strings.Repeat("x", 10_000), "ghk_" + strings.TrimPrefix(in.RefreshToken, "ghr_"),
	} {
		_, err := w.Refresh(t.Context(), client, RefreshInput{Token: token})
		require.ErrorIs(t, err, account.ErrInvalidToken, token)
	}
	w.requireDead(t, in.RefreshToken) // JWT-05
	_, err := w.Refresh(t.Context(), client, RefreshInput{Token: in.RefreshToken, Cookie: "ghr_another"})
	require.ErrorIs(t, err, account.ErrAmbiguousCredentials)
	_, err = w.Refresh(t.Context(), client, RefreshInput{Token: in.RefreshToken, Cookie: in.RefreshToken})
	require.NoError(t, err)
}

func TestRefreshRace_OneSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	in, _ := w.login(t, "ada@example.com")
	const crowd = 100
	tokens, errs := make([]string, crowd), make([]error, crowd)
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			out, err := w.Refresh(t.Context(), client, RefreshInput{Token: in.RefreshToken})
			tokens[i], errs[i] = out.RefreshToken, err
		})
	}
	all.Wait()
	for i := range crowd {
		require.NoError(t, errs[i])
		require.Equal(t, tokens[0], tokens[i])
	}
	_, err := w.Refresh(t.Context(), client, RefreshInput{Token: tokens[0]})
	require.NoError(t, err)
}
