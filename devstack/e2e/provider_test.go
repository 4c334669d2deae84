//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

const (
	pathProviders = "/api/v1/auth/account-providers"
	pathLinked    = "/api/v1/auth/linked-accounts"
)

// person is somebody at the local OpenID provider.
type person struct{ *mockoidc.MockUser }

func (p person) Userinfo([]string) ([]byte, error) {
	return json.Marshal(map[string]any{"sub": p.Subject, "email": p.Email, "email_verified": true})
}

// outside are a local OpenID provider and a local GitHub, which name whoever a token names.
type outside struct {
	oidc   *mockoidc.MockOIDC
	github *httptest.Server
	down   atomic.Bool
}

func startOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{}
	var err error
	o.oidc, err = mockoidc.Run()
	require.NoError(t, err)
	t.Cleanup(func() { _ = o.oidc.Shutdown() })
	o.github = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer gho_"))
		switch {
		case o.down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path != "/user" || err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = fmt.Fprintf(w, `{"id":%d,"login":"octocat"}`, id)
		}
	}))
	t.Cleanup(o.github.Close)
	return o
}

func (o *outside) settings(extra ...string) map[string]string {
	return quick(append([]string{
		"GATEHOUSE_GOOGLE_ISSUER", o.oidc.Issuer(), "GATEHOUSE_GOOGLE_CLIENT_ID", o.oidc.ClientID,
		"GATEHOUSE_GOOGLE_CLIENT_SECRET", o.oidc.ClientSecret,
		"GATEHOUSE_GITHUB_API_URL", o.github.URL, "GATEHOUSE_GITHUB_CLIENT_ID", "client",
	}, extra...)...)
}

// googleToken signs somebody in at the OpenID provider and returns the access token.
func (o *outside) googleToken(t testing.TB, subject, email string) string {
	t.Helper()
	o.oidc.QueueUser(person{&mockoidc.MockUser{Subject: subject, Email: email}})
	o.oidc.QueueCode(subject)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	do := func(method, address string, form url.Values) *http.Response {
		body := strings.NewReader("")
		if method == http.MethodPost {
			body = strings.NewReader(form.Encode())
		} else {
			address += "?" + form.Encode()
		}
		request, err := http.NewRequestWithContext(t.Context(), method, address, body)
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got, err := client.Do(request)
		require.NoError(t, err)
		t.Cleanup(func() { _ = got.Body.Close() })
		return got
	}
	do(http.MethodGet, o.oidc.AuthorizationEndpoint(), url.Values{
		"client_id": {o.oidc.ClientID}, "response_type": {"code"}, "scope": {"openid email"}, "state": {"x"},
		"redirect_uri": {"http://127.0.0.1:1/back"},
	})
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	got := do(http.MethodPost, o.oidc.TokenEndpoint(), url.Values{
		"client_id": {o.oidc.ClientID}, "client_secret": {o.oidc.ClientSecret}, "grant_type": {"authorization_code"}, "code": {subject},
	})
	require.NoError(t, json.NewDecoder(got.Body).Decode(&tokens))
	require.NotEmpty(t, tokens.AccessToken)
	return tokens.AccessToken
}

func (a answer) list(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	require.NoError(t, json.Unmarshal(a.Body, &out), "%s", a.Body)
	return out
}

// A06, A07, A08, C09, C13: an owner links two outside accounts and takes them away again.
func TestProviders_OAU05_OAU11(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: o.settings()})
	db, c := openDatabase(t, s), newClient(s.BaseURL)
	email, other := newEmail(), newEmail()
	mine, theirs := c.signUp(t, email), c.signUp(t, other)
	connect := func(token, provider, subject, access string) answer {
		return c.send(t, call{Path: pathProviders, Token: token, Body: fields{
			"provider": provider, "provider_account_id": subject, "type": "oauth", "access_token": access, "expires_at": 1640995200,
		}})
	}
	refused := func(code string, got answer) {
		t.Helper()
		require.Equal(t, code, got.text(t, "error"), "%s", got.Body)
	}

	// OAU-05: what the client says of itself counts for nothing.
	google := o.googleToken(t, "sub-1", email)
	refused("invalid_provider_token", connect(mine, "google", "the-victims-id", google))
	refused("invalid_provider_token", connect(mine, "google", "sub-1", "ya29.nonsense"))
	refused("validation_error", connect(mine, "google", "sub-1", ""))
	refused("email_conflict", connect(theirs, "google", "sub-1", google))
	require.Zero(t, db.number(t, `SELECT count(*) FROM linked_providers`))

	got := connect(mine, "google", "sub-1", google)
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	require.NotContains(t, string(got.Body), google)
	refused("provider_already_connected", connect(mine, "google", "sub-1", google))
	require.Equal(t, http.StatusOK, connect(mine, "github", "7", "gho_7").Status)
	refused("provider_already_connected", connect(theirs, "github", "7", "gho_7"))
	o.down.Store(true)
	require.Equal(t, http.StatusServiceUnavailable, connect(theirs, "github", "8", "gho_8").Status)
	c.want(t, http.StatusOK, call{Path: pathMe, Token: theirs})
	o.down.Store(false)

	links := c.want(t, http.StatusOK, call{Path: pathProviders, Token: mine}).list(t)
	require.Len(t, links, 2)
	require.Equal(t, "sub-1", links[0]["provider_account_id"])
	linked := c.want(t, http.StatusOK, call{Path: pathLinked, Token: mine}).object(t)
	require.Len(t, linked["accounts"], 2)
	require.Equal(t, true, linked["has_password"])
	require.Empty(t, c.want(t, http.StatusOK, call{Path: pathProviders, Token: theirs}).list(t))
	testkit.Eventually(t, patience, func() bool { return len(c.inbox(t, email)) >= 3 }, "the owner is told of both")

	// D13: what opens an account is changed by whoever has signed in just now.
	fresh := `UPDATE sessions SET auth_time = now() - $1::interval FROM accounts a WHERE a.id = account_id AND a.email = $2`
	_, err := db.Exec(t.Context(), fresh, "11 minutes", email)
	require.NoError(t, err)
	refused("reauthentication_required", connect(mine, "google", "sub-1", google))
	refused("reauthentication_required", c.send(t, call{Method: http.MethodDelete, Path: pathProviders + "/google", Token: mine}))
	_, err = db.Exec(t.Context(), fresh, "0 minutes", email)
	require.NoError(t, err)

	refused("not_found", c.send(t, call{Method: http.MethodDelete, Path: pathProviders + "/apple", Token: mine}))
	refused("not_found", c.send(t, call{Method: http.MethodDelete, Path: pathProviders + "/google", Token: theirs}))
	c.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathProviders + "/google", Token: mine})
	left := c.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathLinked + "/github", Token: mine}).object(t)
	require.InDelta(t, 1, left["remaining_methods"], 0)

	// OAU-11: however many are taken away at once, one way in is left.
	_, err = db.Exec(t.Context(), `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, connect(mine, "google", "sub-1", google).Status)
	require.Equal(t, http.StatusOK, connect(mine, "github", "7", "gho_7").Status)
	atOnce(50, func(i int) {
		path := []string{pathProviders + "/google", pathLinked + "/github"}[i%2]
		if _, err := c.try(t.Context(), call{Method: http.MethodDelete, Path: path, Token: mine}); err != nil {
			t.Error(err)
		}
	})
	require.Equal(t, 1, db.number(t, `SELECT count(*) FROM linked_providers`))
}

// A provider that is not set up is refused by name; PRE-03: before the address is proven nothing is linked.
func TestProvidersThatAreRefused_PRE03(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c := newClient(s.BaseURL)
	body := fields{"provider": "google", "provider_account_id": "1", "access_token": "x"}
	got := c.want(t, http.StatusBadRequest, call{Path: pathProviders, Token: c.signUp(t, newEmail()), Body: body})
	require.Equal(t, "provider_not_configured", got.text(t, "error"))
	email := newEmail()
	registered := c.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{
		"username": "u" + email[5:20], "email": email, "password": password,
	}})
	got = c.want(t, http.StatusForbidden, call{Path: pathProviders, Token: registered.text(t, "token"), Body: body})
	require.Equal(t, "email_not_verified", got.text(t, "error"))
}

// C12, C10, C11: a link from its state to its callback, and every callback that is none (OAU-07).
func TestProviderLink_OAU07(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: o.settings("GATEHOUSE_LINK_REDIRECT_URL", "https://app.example.com/linked")})
	db, c := openDatabase(t, s), newClient(s.BaseURL)
	email := newEmail()
	mine, theirs := c.signUp(t, email), c.signUp(t, newEmail())
	service := strings.TrimSpace(s.Command(t, nil, "keys", "create", "--service", "--name", "test"))
	begin := func() string {
		got := c.want(t, http.StatusOK, call{Path: pathLinked + "/initiate", Token: mine, Body: fields{"provider": "google"}})
		page, err := url.Parse(got.text(t, "auth_url"))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(page.String(), o.oidc.AuthorizationEndpoint()), page)
		require.Equal(t, got.text(t, "state"), page.Query().Get("state"))
		require.Equal(t, "https://app.example.com/linked", page.Query().Get("redirect_uri"))
		return got.text(t, "state")
	}
	back := func(path, token, state, provider, subject string) call {
		return call{Path: pathLinked + path, Token: token, Body: fields{
			"state": state, "provider": provider, "provider_account_id": subject, "provider_email": "ann@gmail.example",
		}}
	}
	refused := func(status int, code string, got answer) {
		t.Helper()
		require.Equal(t, status, got.Status, "%s", got.Body)
		require.Equal(t, code, got.text(t, "error"))
	}
	refused(400, "unsupported_provider", c.send(t, call{Path: pathLinked + "/initiate", Token: mine, Body: fields{"provider": "example_provider"}}))
	refused(400, "provider_not_configured", c.send(t, call{Path: pathLinked + "/initiate", Token: mine, Body: fields{"provider": "apple"}}))

	state := begin()
	refused(401, "unauthorized", c.send(t, back("/complete", "", state, "google", "sub-1")))
	for _, path := range []string{"/callback", "/complete"} {
		refused(400, "invalid_state", c.send(t, back(path, theirs, state, "google", "sub-1")))
		refused(400, "invalid_state", c.send(t, back(path, service, "guessed", "google", "sub-1")))
		refused(400, "invalid_state", c.send(t, back(path, service, state, "github", "sub-1")))
		refused(400, "unsupported_provider", c.send(t, back(path, mine, state, "example_provider", "sub-1")))
	}
	require.Equal(t, "ok", c.want(t, 200, back("/callback", mine, state, "google", "sub-1")).text(t, "status"))
	refused(400, "invalid_state", c.send(t, back("/callback", mine, state, "google", "sub-1")))
	linked := c.want(t, 200, call{Path: pathLinked, Token: mine}).object(t)
	require.Len(t, linked["accounts"], 1)
	testkit.Eventually(t, patience, func() bool { return len(c.inbox(t, email)) >= 2 }, "the owner is told")
	refused(409, "provider_already_connected", c.send(t, back("/complete", service, begin(), "google", "sub-2")))

	// A hundred callbacks with one state, by the owner's session and by the service.
	c.want(t, 200, call{Method: http.MethodDelete, Path: pathLinked + "/google", Token: mine})
	state = begin()
	var won atomic.Int32
	atOnce(crowd, func(i int) {
		got, err := c.persist(t.Context(), back("/complete", []string{service, mine}[i%2], state, "google", "sub-"+strconv.Itoa(i)))
		switch {
		case err != nil:
			t.Error(err)
		case got.ok():
			won.Add(1)
		case got.Status != http.StatusBadRequest:
			t.Errorf("%d %s", got.Status, got.Body)
		}
	})
	require.EqualValues(t, 1, won.Load())
	require.Equal(t, 1, db.number(t, `SELECT count(*) FROM linked_providers`))
}

// C17: a backend signs people in by what the provider calls them, and never by an address.
func TestOAuthSignin(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c := newClient(s.BaseURL)
	service := strings.TrimSpace(s.Command(t, nil, "keys", "create", "--service", "--name", "test"))
	try := func(token, email, subject string) answer {
		return c.send(t, call{Path: "/api/v1/auth/oauth-signin", Token: token, Body: fields{
			"email": email, "provider": "google", "provider_account_id": subject, "name": "Ann",
		}})
	}
	owner, ann := newEmail(), newEmail()
	member := c.signUp(t, owner)
	require.Equal(t, http.StatusForbidden, try(member, ann, "1").Status)
	require.Equal(t, http.StatusUnauthorized, try("", ann, "1").Status)
	first := try(service, ann, "1")
	require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
	c.want(t, http.StatusOK, call{Path: pathMe, Token: first.text(t, "session_token")})
	require.Equal(t, first.text(t, "id"), try(service, newEmail(), "1").text(t, "id"))
	got := try(service, owner, "2")
	require.Equal(t, http.StatusConflict, got.Status)
	require.Equal(t, "account_exists", got.text(t, "error"))
	testkit.Eventually(t, patience, func() bool { return len(c.inbox(t, owner)) >= 3 }, "the owner is told")
}
