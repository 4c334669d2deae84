package identity_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

const secretToken = "ya29.secret-token"

// person tells its subject, as OpenID Connect wants it.
type person struct{ *mockoidc.MockUser }

func (p person) Userinfo([]string) ([]byte, error) {
	return json.Marshal(map[string]any{"sub": p.Subject, "email": p.Email, "email_verified": true, "name": "Jane Doe"})
}

// issuer is a local OpenID provider, and an access token that it made for its default user.
func issuer(t *testing.T) (m *mockoidc.MockOIDC, accessToken string) {
	t.Helper()
	m, err := mockoidc.Run()
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown() })
	m.QueueUser(person{mockoidc.DefaultUser()})
	m.QueueCode("code")
	page := m.AuthorizationEndpoint() + "?" + url.Values{
		"client_id": {m.ClientID}, "response_type": {"code"}, "scope": {"openid email profile"}, "state": {"x"},
		"redirect_uri": {"http://127.0.0.1:1/back"},
	}.Encode()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil)
	require.NoError(t, err)
	answer, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	form := strings.NewReader(url.Values{
		"client_id": {m.ClientID}, "client_secret": {m.ClientSecret}, "grant_type": {"authorization_code"}, "code": {"code"},
	}.Encode())
	request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, m.TokenEndpoint(), form)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err = client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&tokens))
	require.NotEmpty(t, tokens.AccessToken)
	return m, tokens.AccessToken
}

func provider(t *testing.T, name account.Provider, s identity.Settings) identity.Provider {
	t.Helper()
	p, err := identity.New(s).Of(name)
	require.NoError(t, err)
	return p
}

func google(t *testing.T, issuer string) identity.Provider {
	t.Helper()
	return provider(t, account.ProviderGoogle, identity.Settings{GoogleIssuer: issuer, GoogleClientID: "client"})
}

func github(t *testing.T, api string) identity.Provider {
	t.Helper()
	return provider(t, account.ProviderGitHub, identity.Settings{GitHubAPIURL: api, GitHubClientID: "client", GitHubClientSecret: "s"})
}

func TestUnsetProvidersAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []account.Provider{account.ProviderGoogle, account.ProviderApple, account.ProviderGitHub} {
		_, err := identity.New(identity.Settings{}).Of(name)
		require.ErrorIs(t, err, account.ErrProviderNotConfigured)
	}
}

func TestGoogle_OwnerOfAnAccessToken(t *testing.T) {
	t.Parallel()
	m, token := issuer(t)
	p := google(t, m.Issuer())
	got, err := p.Owner(t.Context(), token)
	require.NoError(t, err)
	want := mockoidc.DefaultUser()
	require.Equal(t, identity.Identity{Subject: want.Subject, Email: want.Email, EmailVerified: true, Name: "Jane Doe"}, got)
	_, err = p.Owner(t.Context(), "ya29.of-nobody")
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
}

func TestAuthorizeURLs(t *testing.T) {
	t.Parallel()
	m, _ := issuer(t)
	for name, one := range map[string]struct {
		provider identity.Provider
		page     string
	}{
		"google": {google(t, m.Issuer()), m.AuthorizationEndpoint()},
		"apple": {
			provider(t, account.ProviderApple, identity.Settings{AppleIssuer: m.Issuer(), AppleClientID: "client"}), m.AuthorizationEndpoint(),
		},
		"github":            {github(t, "https://api.github.com"), "https://github.com/login/oauth/authorize"},
		"github enterprise": {github(t, "https://git.example.com/api/v3"), "https://git.example.com/login/oauth/authorize"},
	} {
		got, err := one.provider.AuthorizeURL(t.Context(), "https://app.example.com/back", "st&te")
		require.NoError(t, err, name)
		page, query, _ := strings.Cut(got, "?")
		require.Equal(t, one.page, page, name)
		q, err := url.ParseQuery(query)
		require.NoError(t, err)
		require.Equal(t, "client", q.Get("client_id"))
		require.Equal(t, "https://app.example.com/back", q.Get("redirect_uri"))
		require.Equal(t, "st&te", q.Get("state"))
		require.Equal(t, "code", q.Get("response_type"))
	}
}

// fake serves fixed answers and counts what it was asked.
func fake(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	asked := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s, asked
}

func TestGitHub_OwnerOfAnAccessToken(t *testing.T) {
	t.Parallel()
	server, _ := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/user" || r.Header.Get("Authorization") != "Bearer "+secretToken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":583231,"login":"octocat","email":"o@example.com","name":null,"avatar_url":"https://a.example/1"}`)
	})
	p := github(t, server.URL+"/")
	got, err := p.Owner(t.Context(), secretToken)
	require.NoError(t, err)
	require.Equal(t, identity.Identity{Subject: "583231", Email: "o@example.com", Name: "octocat", AvatarURL: "https://a.example/1"}, got)
	_, err = p.Owner(t.Context(), "gho_other")
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
}

func TestEmailVerifiedIsTakenLiterally(t *testing.T) {
	t.Parallel()
	for literal, want := range map[string]bool{`true`: true, `"true"`: true, `false`: false, `"yes"`: false, `1`: false, `null`: false} {
		server, _ := fakeIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"sub":"1","email":"a@example.com","email_verified":%s}`, literal)
		})
		got, err := google(t, server.URL).Owner(t.Context(), secretToken)
		require.NoError(t, err)
		require.Equal(t, want, got.EmailVerified, literal)
	}
}

// fakeIssuer publishes endpoints of its own, of which handler is the one that tells names.
func fakeIssuer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	discovered := &atomic.Int32{}
	var server *httptest.Server
	server, _ = fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			handler(w, r)
			return
		}
		discovered.Add(1)
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"userinfo_endpoint":%q,"jwks_uri":%q}`,
			server.URL, server.URL+"/authorize", server.URL+"/userinfo", server.URL+"/keys")
	})
	return server, discovered
}

func TestDiscoveryHappensOnFirstUseAndOnce(t *testing.T) {
	t.Parallel()
	server, discovered := fakeIssuer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"sub":"1"}`) })
	p := google(t, server.URL)
	require.Zero(t, discovered.Load())
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := p.Owner(t.Context(), secretToken); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, discovered.Load())
}

func TestDiscoveryIsTriedAgain(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	var server *httptest.Server
	server, _ = fake(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"jwks_uri":%q}`, server.URL, server.URL+"/authorize", server.URL+"/keys")
	})
	p := google(t, server.URL)
	_, err := p.AuthorizeURL(t.Context(), "https://app.example.com", "s")
	require.ErrorIs(t, err, account.ErrUnavailable)
	down.Store(false)
	_, err = p.AuthorizeURL(t.Context(), "https://app.example.com", "s")
	require.NoError(t, err)
}

// OAU-13: what a provider does costs a bounded time and memory, and leads nowhere else.
func TestProvidersThatMisbehave(t *testing.T) {
	t.Parallel()
	elsewhere, visits := fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":1,"sub":"1"}`) })
	for name, handler := range map[string]http.HandlerFunc{
		"redirects":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"fails":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"is busy":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"is no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) },
		"never stops": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("x", 10<<20))
		},
		"sleeps": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, _ := fake(t, handler)
			started := time.Now()
			for kind, p := range map[string]identity.Provider{"discovery": google(t, plain.URL), "github": github(t, plain.URL)} {
				_, err := p.Owner(t.Context(), secretToken)
				require.ErrorIs(t, err, account.ErrUnavailable, kind)
				require.NotContains(t, fmt.Sprint(err, errors.Unwrap(err)), secretToken)
			}
			require.Less(t, time.Since(started), 6*time.Second)
		})
	}
	t.Cleanup(func() { require.Zero(t, visits.Load(), "a redirect was followed") })
}

func TestAnswersThatNameNobody(t *testing.T) {
	t.Parallel()
	nobody := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) }
	server, _ := fakeIssuer(t, nobody)
	_, err := google(t, server.URL).Owner(t.Context(), secretToken)
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
	plain, _ := fake(t, nobody)
	_, err = github(t, plain.URL).Owner(t.Context(), secretToken)
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
}
