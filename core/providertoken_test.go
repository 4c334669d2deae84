package core

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

func TestLinkByTokenInput(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]LinkByTokenInput{
		"provider": {Provider: "google", IDToken: "x"},
		"id_token": {Provider: "GOOGLE", IDToken: "a b"},
	} {
		_, err := in.validate()
		var fault *account.Error
		require.ErrorAs(t, err, &fault)
		require.Len(t, fault.Fields, 1)
		require.Equal(t, name, fault.Fields[0].Name)
	}
	_, err := LinkByTokenInput{Provider: "GITHUB", IDToken: " "}.validate()
	var all *account.Error
	require.ErrorAs(t, err, &all)
	require.Len(t, all.Fields, 2, "all faults at once")
	provider, err := LinkByTokenInput{Provider: "APPLE", IDToken: "x"}.validate()
	require.NoError(t, err)
	require.Equal(t, account.ProviderApple, provider)
}

// google is a world with a local OpenID provider, and what makes its ID tokens.
func google(t *testing.T) (world, func(subject string, age time.Duration) LinkByTokenInput) {
	t.Helper()
	w := newWorld(t)
	m, err := mockoidc.Run()
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown() })
	w.Identity = identity.New(identity.Settings{GoogleIssuer: m.Issuer(), GoogleClientID: "client"})
	return w, func(subject string, age time.Duration) LinkByTokenInput {
		issued := w.clock.Now().Add(-age)
		token, err := m.Keypair.SignJWT(jwt.MapClaims{
			"iss": m.Issuer(), "aud": "client", "sub": subject, "iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
		})
		require.NoError(t, err)
		return LinkByTokenInput{Provider: "GOOGLE", IDToken: token}
	}
}

// OAU-03: an ID token is good for ten minutes, and once.
func TestOAU03_LinkByToken_OnceAndFresh(t *testing.T) {
	t.Parallel()
	w, token := google(t)
	w.member(t, "ann@example.com")
	w.member(t, "bob@example.com")
	_, ann := w.login(t, "ann@example.com")
	_, bob := w.login(t, "bob@example.com")
	for _, age := range []time.Duration{12 * time.Minute, -3 * time.Minute} {
		_, err := w.LinkByToken(t.Context(), ann, token("1", age))
		require.ErrorIs(t, err, account.ErrInvalidProviderToken, age)
	}
	good := token("1", 0)
	linked, err := w.LinkByToken(t.Context(), ann, good)
	require.NoError(t, err)
	require.Equal(t, account.ProviderGoogle, linked.Provider)
	_, err = w.UnlinkByName(t.Context(), ann, UnlinkByNameInput{Provider: "gOOgle"})
	require.NoError(t, err)
	_, err = w.LinkByToken(t.Context(), bob, good)
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
	_, err = w.UnlinkByName(t.Context(), ann, UnlinkByNameInput{Provider: "google"})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.UnlinkByName(t.Context(), ann, UnlinkByNameInput{Provider: "github"})
	require.ErrorIs(t, err, account.ErrInvalid)
}

func TestOAU03_LinkByToken_OneOfAHundred(t *testing.T) {
	t.Parallel()
	w, token := google(t)
	w.member(t, "ann@example.com")
	w.member(t, "bob@example.com")
	_, ann := w.login(t, "ann@example.com")
	_, bob := w.login(t, "bob@example.com")
	good := token("1", 0)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, err := w.LinkByToken(t.Context(), []account.Caller{ann, bob}[i%2], good)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, account.ErrInvalidProviderToken):
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, won.Load())
}

func TestLinkByToken_NeedsAFreshAndProvenOwner(t *testing.T) {
	t.Parallel()
	w, token := google(t)
	w.member(t, "ann@example.com")
	_, ann := w.login(t, "ann@example.com")
	unproven := ann
	p := *ann.Principal
	p.Account.EmailVerified = false
	unproven.Principal = &p
	_, err := w.LinkByToken(t.Context(), unproven, token("1", 0))
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	_, err = w.LinkByToken(t.Context(), ann, LinkByTokenInput{Provider: "APPLE", IDToken: "x"})
	require.ErrorIs(t, err, account.ErrProviderNotConfigured)
	ann.Principal.Session.ReadAt = ann.Principal.Session.AuthTime.Add(w.Policy.StepUpAge)
	_, err = w.LinkByToken(t.Context(), ann, token("1", 0))
	require.ErrorIs(t, err, account.ErrReauthenticationRequired)
}
