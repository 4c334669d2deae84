package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/api/openapi/spectest"
)

func protected(t *testing.T) []spectest.Operation {
	t.Helper()
	var operations []spectest.Operation
	for _, o := range contract.Operations() {
		if len(*o.Security) > 0 && !optional(o) {
			operations = append(operations, o)
		}
	}
	require.NotEmpty(t, operations)
	return operations
}

// optional reports whether an operation serves requests without a credential as well.
func optional(o spectest.Operation) bool {
	return slices.ContainsFunc(*o.Security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
}

func takesKeys(o spectest.Operation) bool { return o.Dialect == "authv1" }

func TestCredentials(t *testing.T) {
	t.Parallel()
	for _, o := range protected(t) {
		keyStatus := http.StatusUnauthorized
		if takesKeys(o) {
			keyStatus = successOf(o)
		}
		for name, one := range map[string]struct {
			headers []string
			status  int
		}{
			"none":               {nil, 401},
			"token":              {[]string{bearer, "Bearer " + goodToken}, successOf(o)},
			"token, lower case":  {[]string{bearer, "bearer " + goodToken}, successOf(o)},
			"wrong token":        {[]string{bearer, "Bearer x"}, 401},
			"no token":           {[]string{bearer, "Bearer "}, 401},
			"bare token":         {[]string{bearer, goodToken}, 401},
			"basic":              {[]string{bearer, "Basic " + goodToken}, 401},
			"API key":            {[]string{"X-API-Key", goodKey}, keyStatus},
			"bearer API key":     {[]string{bearer, "Bearer " + goodKey}, keyStatus},
			"wrong API key":      {[]string{"X-API-Key", "x"}, 401},
			"two credentials":    {[]string{bearer, "Bearer " + goodToken, "X-API-Key", goodKey}, 401},
			"two tokens":         {[]string{bearer, "Bearer " + goodToken, bearer, "Bearer " + goodToken}, 401},
			"basic beside a key": {[]string{bearer, "Basic x", "X-API-Key", goodKey}, 401},
		} {
			t.Run(o.OperationID+"/"+name, func(t *testing.T) {
				t.Parallel()
				app := newApp(t)
				got := app.send(t, o.Method, pathOf(o), exampleOf(t, o), one.headers...)
				require.Equal(t, one.status, got.Status, got.Body)
				if one.status == 401 {
					requireFailure(t, o.Dialect, 401, got)
					require.Empty(t, app.core.called())
					require.Empty(t, app.core.addresses, "limited before the credential was judged")
				}
			})
		}
	}
}

func TestPublicRoutesJudgeNoCredential(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", login, loginBody, bearer, "Basic nonsense", "X-API-Key", "nonsense")
	require.Equal(t, 200, got.Status)
	require.Empty(t, app.core.shown)
	require.Nil(t, app.core.called()[0].by.Principal)
}

func TestPendingSessions(t *testing.T) {
	t.Parallel()
	for _, o := range protected(t) {
		app := newApp(t)
		app.core.principal.Session.State = account.SessionPending
		got := app.good(t, o)
		if o.OperationID == "logout" || o.OperationID == "verifyMfa" {
			require.Equal(t, 200, got.Status)
			continue
		}
		if code := requireFailure(t, o.Dialect, 403, got); code != "" {
			require.Equal(t, "mfa_required", code)
		}
		require.Empty(t, app.core.called())
	}
}

func TestScopesOfKeys(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		key    account.APIKey
		status int
	}{
		"read":    {account.APIKey{Scopes: []account.Scope{account.ScopeRead}}, 200},
		"write":   {account.APIKey{Scopes: []account.Scope{account.ScopeWrite}}, 403},
		"none":    {account.APIKey{}, 403},
		"service": {account.APIKey{Service: true, Scopes: []account.Scope{account.ScopeRead}}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.core.principal.Session, app.core.principal.APIKey = nil, &one.key
			got := app.send(t, "GET", "/api/v1/auth/me", "", "X-API-Key", goodKey)
			require.Equal(t, one.status, got.Status)
			if one.status == 403 {
				require.Equal(t, "insufficient_scope", requireFailure(t, "authv1", 403, got))
			}
		})
	}
}

// Everything is wrong at once; each answer is that of the first judgement left (contract conventions 6).
func TestOrderOfJudgement(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.limitFails = account.ErrTooManyRequests
	app.core.principal.Session.State = account.SessionPending
	send := func(headers ...string) int {
		return app.send(t, "GET", "/api/v1/auth/me", "[", append([]string{"Content-Type", "text/plain"}, headers...)...).Status
	}
	require.Equal(t, 401, send())
	require.Equal(t, 403, send(bearer, "Bearer "+goodToken))
	app.core.principal.Session.State = account.SessionActive
	require.Equal(t, 429, send(bearer, "Bearer "+goodToken))
	app.core.limitFails = nil
	require.Equal(t, 415, send(bearer, "Bearer "+goodToken))
	require.Equal(t, 400, send(bearer, "Bearer "+goodToken, "Content-Type", "application/json"))
	require.Empty(t, app.core.called())
}

func TestLimitsAnswerInTheDialect(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		app := newApp(t)
		app.core.limitFails = account.ErrTooManyRequests.After(90_500_000_000)
		got := app.good(t, o)
		requireFailure(t, o.Dialect, 429, got)
		require.Equal(t, "91", got.Header.Get("Retry-After"))
		require.Empty(t, app.core.called())
	}
}

func TestLimiterFailureIsNotAPass(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.limitFails = http.ErrServerClosed
	require.Equal(t, 500, app.send(t, "POST", login, loginBody).Status)
	require.Empty(t, app.core.called())
}

func TestDocumentedSentenceOfALogin(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.fails = account.ErrInvalidCredentials
	require.Contains(t, app.send(t, "POST", login, loginBody).Body, "Invalid email or password")
	body := strings.Replace(loginBody, "email", "username", 1)
	require.Contains(t, app.send(t, "POST", "/v1/users/authenticate", body).Body, "Invalid username or password")
}
