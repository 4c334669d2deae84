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

// linker is who may try to bring a state home, and what came of it.
type linker struct {
	world
	ann, bob, annsOther, annsKey, service, signed account.Caller
}

func newLinker(t *testing.T) linker {
	t.Helper()
	w := newWorld(t).withGitHub()
	w.Policy.ProofLease = time.Minute
	w.member(t, "ann@example.com")
	w.member(t, "bob@example.com")
	l := linker{world: w}
	_, l.ann = w.login(t, "ann@example.com")
	_, l.bob = w.login(t, "bob@example.com")
	_, l.annsOther = w.login(t, "ann@example.com")
	key, err := w.CreateAPIKey(t.Context(), l.ann, CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:security"}})
	require.NoError(t, err)
	l.annsKey = w.caller(t, key.Secret)
	l.service = account.Caller{Principal: &account.Principal{APIKey: &account.APIKey{ID: uuid.New(), Service: true}}}
	l.signed = l.service
	l.signed.Asserted = true
	return l
}

func (l linker) complete(t *testing.T, by account.Caller, state string) error {
	t.Helper()
	_, err := l.CompleteLink(t.Context(), by, CompleteLinkInput{State: state, Provider: "github", Subject: "42", AvatarURL: new("javascript:alert(1)")})
	return err
}

func (l linker) requireNothingLinked(t *testing.T) {
	t.Helper()
	links, err := l.Store.LinkedProviders(t.Context(), l.ann.Principal.Account.ID)
	require.NoError(t, err)
	require.Empty(t, links, "the flow links, nobody else")
}

// C10, C11 (design D11, OAU-07): who may bring a state home where nobody has to sign.
func TestCompleteLink_WhoMayCall(t *testing.T) {
	t.Parallel()
	l := newLinker(t)
	state := l.pendingLink(t, l.ann)
	require.ErrorIs(t, l.complete(t, l.bob, state), account.ErrInvalidState)
	require.ErrorIs(t, l.complete(t, l.annsOther, state), account.ErrInvalidState, "another session of the same account")
	require.ErrorIs(t, l.complete(t, l.annsKey, state), account.ErrInvalidState, "nor a key of it")
	// The state is claimed, and the flow is asked, which nobody serves here.
	require.ErrorIs(t, l.complete(t, l.ann, state), account.ErrUnavailable)
	require.ErrorIs(t, l.complete(t, l.service, state), account.ErrInvalidState, "claimed: it works once")
	for _, by := range []account.Caller{l.service, l.signed} {
		require.ErrorIs(t, l.complete(t, by, l.pendingLink(t, l.ann)), account.ErrUnavailable)
	}
	require.ErrorIs(t, l.complete(t, l.annsKey, l.pendingLink(t, l.annsKey)), account.ErrUnavailable)
	l.requireNothingLinked(t)
}

// OAU-07: where requests must be signed, whoever began a link cannot say by themselves whose outside account it is: they could name
// anybody's. A refusal leaves the state as it was.
func TestCompleteLink_SignedAlone(t *testing.T) {
	t.Parallel()
	l := newLinker(t)
	l.RequireAssertion = true
	for name, starter := range map[string]account.Caller{"session": l.ann, "API key": l.annsKey} {
		state := l.pendingLink(t, starter)
		for refused, by := range map[string]account.Caller{
			"who began it": starter, "somebody else": l.bob, "another session": l.annsOther, "a key": l.annsKey, "unsigned": l.service,
		} {
			require.ErrorIs(t, l.complete(t, by, state), account.ErrInvalidAssertion, "%s: %s", name, refused)
		}
		require.ErrorIs(t, l.complete(t, starter, "guessed"), account.ErrInvalidAssertion, "which tells nothing of the state")
		require.ErrorIs(t, l.complete(t, l.signed, state), account.ErrUnavailable, "%s: the state is claimed now, and the flow is asked", name)
		require.ErrorIs(t, l.complete(t, l.signed, state), account.ErrInvalidState, "once")
	}
	l.requireNothingLinked(t)
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
