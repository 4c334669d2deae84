package identity_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

func codes(t *testing.T, s identity.Settings) identity.CodeProvider {
	t.Helper()
	p, err := identity.New(s).Google()
	require.NoError(t, err)
	return p
}

func settingsOf(m *mockoidc.MockOIDC) identity.Settings {
	return identity.Settings{
		GoogleIssuer: m.Issuer(), GoogleClientID: m.ClientID, GoogleClientSecret: m.ClientSecret, GoogleRedirectURL: "https://app.example.com/back",
	}
}

// codeOf has somebody come back from the page of the OpenID provider with a code.
func codeOf(t *testing.T, m *mockoidc.MockOIDC, page string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil)
	require.NoError(t, err)
	answer, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	back, err := answer.Location()
	require.NoError(t, err)
	require.Equal(t, "app.example.com", back.Host)
	require.NotEmpty(t, back.Query().Get("code"))
	return back.Query().Get("code")
}

const verifier = "a-code-verifier-of-at-least-forty-three-characters"

func TestGoogle_CodeExchange(t *testing.T) {
	t.Parallel()
	m, _ := issuer(t)
	p := codes(t, settingsOf(m))
	challenge, err := mockoidc.GenerateCodeChallenge("S256", verifier)
	require.NoError(t, err)
	page, err := p.SignInURL(t.Context(), "st&te", challenge)
	require.NoError(t, err)
	u, err := url.Parse(page)
	require.NoError(t, err)
	require.Equal(t, "st&te", u.Query().Get("state"))
	require.Equal(t, challenge, u.Query().Get("code_challenge"))
	require.Equal(t, "https://app.example.com/back", u.Query().Get("redirect_uri"))

	want := mockoidc.DefaultUser()
	got, err := p.Exchange(t.Context(), codeOf(t, m, page), verifier)
	require.NoError(t, err)
	require.Equal(t, identity.Identity{Subject: want.Subject, Email: want.Email, EmailVerified: true}, got.Identity)
	for name, wrong := range map[string]string{"no verifier": "", "another verifier": verifier + "x"} {
		_, err = p.Exchange(t.Context(), codeOf(t, m, page), wrong)
		require.ErrorIs(t, err, account.ErrInvalidProviderToken, name)
	}
	bare, err := p.SignInURL(t.Context(), "state", "")
	require.NoError(t, err)
	code := codeOf(t, m, bare)
	_, err = p.Exchange(t.Context(), code, "")
	require.NoError(t, err)
	_, err = p.Exchange(t.Context(), code, "")
	require.ErrorIs(t, err, account.ErrInvalidProviderToken, "a code serves once")
	_, err = p.Exchange(t.Context(), "guessed", "")
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
}

func TestGoogle_CodesNeedAnAddressOfOurs(t *testing.T) {
	t.Parallel()
	_, err := identity.New(identity.Settings{}).Google()
	require.ErrorIs(t, err, account.ErrProviderNotConfigured)
	m, _ := issuer(t)
	for _, redirect := range []string{"", "postmessage"} {
		s := settingsOf(m)
		s.GoogleRedirectURL = redirect
		_, err := codes(t, s).SignInURL(t.Context(), "state", "")
		require.ErrorIs(t, err, account.ErrProviderNotConfigured)
	}
	s := settingsOf(m)
	s.GoogleClientSecret = "another"
	_, err = codes(t, s).Exchange(t.Context(), "code", "")
	require.ErrorIs(t, err, account.ErrUnavailable, "that is for operators to mend")
}

// A token that the exchange returns is judged like any other.
func TestGoogle_CodeExchangeTrustsNoAnswer(t *testing.T) {
	t.Parallel()
	m, _ := issuer(t)
	var answer string
	var form url.Values
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "openid-configuration"):
			_, _ = w.Write([]byte(`{"issuer":"http://` + r.Host + `","authorization_endpoint":"http://` + r.Host + `/a","token_endpoint":"http://` +
				r.Host + `/t","jwks_uri":"` + m.JWKSEndpoint() + `"}`))
		default:
			_ = r.ParseForm()
			form = r.PostForm
			if strings.HasPrefix(answer, "!") {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = w.Write([]byte(answer))
		}
	}))
	t.Cleanup(front.Close)
	s := settingsOf(m)
	s.GoogleIssuer = front.URL
	p := codes(t, s)
	for said, want := range map[string]*account.Error{
		`{"id_token":"` + signed(t, m, func(jwt.MapClaims) {}) + `"}`: account.ErrInvalidProviderToken, // of another issuer
		`{"id_token":"e30.e30.e30"}`:                                  account.ErrInvalidProviderToken,
		`{}`:                                                          account.ErrUnavailable,
		`<html>`:                                                      account.ErrUnavailable,
		`!{"error":"server_error"}`:                                   account.ErrUnavailable,
	} {
		answer = said
		_, err := p.Exchange(t.Context(), "secret-code", "")
		require.ErrorIs(t, err, want, said)
		require.NotContains(t, err.Error(), "secret-code")
	}
	require.Equal(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {"secret-code"}, "redirect_uri": {"https://app.example.com/back"},
		"client_id": {m.ClientID}, "client_secret": {m.ClientSecret},
	}, form)
}
