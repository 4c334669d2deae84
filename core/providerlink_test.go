package core

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
	"gatehouse/store"
)

// withGitHub sets GitHub up, and no other provider.
func (w world) withGitHub() world {
	w.Identity = identity.New(identity.Settings{GitHubAPIURL: "https://api.github.invalid", GitHubClientID: "client", GitHubClientSecret: "secret"})
	w.LinkRedirect = "https://app.example.com/linked"
	return w
}

// pendingLink is a link that by has begun, as its flow would have stored it, with the state that comes back.
func (w world) pendingLink(t *testing.T, by account.Caller) (state string) {
	t.Helper()
	id := uuid.New()
	state = w.Keys.LinkToken(id)
	_, err := w.Store.OpenProviderLink(t.Context(), store.NewProviderLink{
		ID: id, AccountID: by.Principal.Account.ID, Starter: starter(by), Provider: account.ProviderGitHub,
		StateHash: w.Keys.TokenHash("provider-state", state), TTL: time.Hour,
	})
	require.NoError(t, err)
	return state
}

// C12. Whatever is refused is refused before any flow is asked; nobody answers where Temporal should be.
func TestInitiateLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub()
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	stale, unproven := by, by
	old := *by.Principal
	session := *by.Principal.Session
	session.AuthTime = session.AuthTime.Add(-time.Hour)
	old.Session, stale.Principal = &session, &old
	other := *by.Principal
	other.Account.EmailVerified = false
	unproven.Principal = &other
	for name, c := range map[string]struct {
		by       account.Caller
		provider string
		want     error
	}{
		"nothing":         {by, "", account.ErrInvalid},
		"unknown":         {by, "example_provider", account.ErrUnsupportedProvider},
		"not set up":      {by, "google", account.ErrProviderNotConfigured},
		"a stale session": {stale, "github", account.ErrReauthenticationRequired},
		"unproven":        {unproven, "github", account.ErrEmailNotVerified},
		"no Temporal":     {by, "github", account.ErrUnavailable},
	} {
		_, err := w.InitiateLink(t.Context(), c.by, InitiateLinkInput{Provider: c.provider})
		require.ErrorIs(t, err, c.want, name)
	}
}

// A provider that gives no answer is a clear refusal, and costs no flow.
func TestInitiateLink_UnreachableProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	w.Identity = identity.New(identity.Settings{GoogleIssuer: server.URL, GoogleClientID: "client"})
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	_, err := w.InitiateLink(t.Context(), by, InitiateLinkInput{Provider: "google"})
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.NotContains(t, err.Error(), server.URL)
}

func TestCompleteLinkInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub()
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	_, err := w.CompleteLink(t.Context(), by, CompleteLinkInput{Email: new("a\nb"), DisplayName: new(strings.Repeat("x", 501)), AvatarURL: new("\x00")})
	var fault *account.Error
	require.ErrorAs(t, err, &fault)
	require.Len(t, fault.Fields, 6, "all faults at once")
	good := CompleteLinkInput{State: "x", Provider: "example_provider", Subject: "1"}
	_, err = w.CompleteLink(t.Context(), by, good)
	require.ErrorIs(t, err, account.ErrUnsupportedProvider)
	good.Provider = "github"
	_, err = w.CompleteLink(t.Context(), account.Caller{}, good)
	require.ErrorIs(t, err, account.ErrUnauthorized)
	_, err = w.CompleteLink(t.Context(), by, good)
	require.ErrorIs(t, err, account.ErrInvalidState)
}

// C10, C11 (design D11, OAU-07): who may bring a state home.
func TestCompleteLink_WhoMayCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withGitHub()
	w.RequireAssertion, w.Policy.ProofLease = true, time.Minute
	w.member(t, "ann@example.com")
	w.member(t, "bob@example.com")
	_, ann := w.login(t, "ann@example.com")
	_, bob := w.login(t, "bob@example.com")
	_, annsOther := w.login(t, "ann@example.com")
	service := account.Caller{Principal: &account.Principal{APIKey: &account.APIKey{ID: uuid.New(), Service: true}}}
	signed := service
	signed.Asserted = true
	complete := func(by account.Caller, state string) error {
		_, err := w.CompleteLink(t.Context(), by, CompleteLinkInput{State: state, Provider: "github", Subject: "42", AvatarURL: new("javascript:alert(1)")})
		return err
	}
	state := w.pendingLink(t, ann)
	require.ErrorIs(t, complete(bob, state), account.ErrInvalidState)
	require.ErrorIs(t, complete(annsOther, state), account.ErrInvalidState, "another session of the same account")
	require.ErrorIs(t, complete(service, state), account.ErrInvalidAssertion)
	// The state is claimed, and the flow is asked, which nobody serves here.
	require.ErrorIs(t, complete(ann, state), account.ErrUnavailable)
	require.ErrorIs(t, complete(signed, state), account.ErrInvalidState, "claimed: it works once")
	require.ErrorIs(t, complete(signed, w.pendingLink(t, ann)), account.ErrUnavailable)
	links, err := w.Store.LinkedProviders(t.Context(), ann.Principal.Account.ID)
	require.NoError(t, err)
	require.Empty(t, links, "the flow links, nobody else")
}

func TestPicture(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://pictures.example/a.png?s=96#x":                "https://pictures.example/a.png?s=96#x",
		" https://pictures.example/a ":                         "https://pictures.example/a",
		"HTTPS://pictures.example/a":                           "https://pictures.example/a",
		"http://pictures.example/a":                            "",
		"javascript:alert(1)":                                  "",
		"https://u:p@pictures.example/a":                       "",
		"https://pictures.example/" + strings.Repeat("x", 500): "",
		"https://": "",
		"":         "",
	} {
		got := picture(&address)
		if want == "" {
			require.Nil(t, got, address)
			continue
		}
		require.NotNil(t, got, address)
		require.Equal(t, want, *got)
		_, err := url.Parse(*got)
		require.NoError(t, err)
	}
	require.Nil(t, picture(nil))
}
