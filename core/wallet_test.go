package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A01: an account that is older than a month is shown when its credits come next, not when they once came.
func TestTheNextResetIsToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	w.clock.ahead, w.Policy.SessionTTL = 100*24*time.Hour, 365*24*time.Hour
	in, _ := w.login(t, "ann@example.com")
	cred := w.shown(in.AccessToken)
	cred.Wallet = true
	p, err := w.Authenticate(t.Context(), cred)
	require.NoError(t, err)
	now := w.clock.Now()
	require.True(t, p.Credits.NextResetAt.After(now), p.Credits.NextResetAt)
	require.True(t, p.Credits.NextResetAt.Before(now.AddDate(0, 0, 32)), p.Credits.NextResetAt)
	require.Equal(t, p.Credits.NextResetAt, in.Principal.Credits.NextResetAt, "as at the login")
}
