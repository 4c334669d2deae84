package api_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const sessionsPath = "/api/v1/auth/sessions"

// X03: A and C share the path; the credential says which of them is spoken.
func TestSessionListHasTheShapeOfItsCredential(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	list := `[{"session_id":"` + sessionID.String() + `","user_id":"` + accountID.String() + `","device_info":"Chrome 120.0 on macOS",
		"ip_address":"192.168.1.100","user_agent":"` + chromeOnMac + `","created_at":"` + created + `",
		"last_active":"2026-05-19T10:31:45Z","expires_at":"2026-06-18T10:30:45Z","is_current":true},
		{"session_id":"` + accountID.String() + `","user_id":"` + accountID.String() + `","device_info":"My phone",
		"ip_address":"192.168.1.100","user_agent":"` + chromeOnMac + `","created_at":"` + created + `",
		"last_active":"2026-05-19T10:31:45Z","expires_at":"2026-06-18T10:30:45Z","is_current":false}]`
	for _, credential := range []string{goodToken, goodKey} {
		require.JSONEq(t, list, app.send(t, "GET", sessionsPath, "", bearer, "Bearer "+credential).Body)
	}
	object := app.send(t, "GET", sessionsPath, "", "X-API-Key", goodKey)
	require.JSONEq(t, `{"status":"ok","sessions":`+list+`}`, object.Body)
}

func TestValidateSession(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	status := `"is_valid":true,"session_info":{"session_id":"` + sessionID.String() + `","user_id":"` + accountID.String() + `",
		"device_info":"Chrome 120.0 on macOS","created_at":"` + created + `","last_active":"2026-05-19T10:31:45Z",
		"expires_at":"2026-06-18T10:30:45Z","is_current":true},
		"user":{"id":"` + accountID.String() + `","email":"user@example.com","full_name":"John Doe","is_verified":true},
		"expires_in":90,"needs_refresh":true}`
	got := app.send(t, "GET", "/api/v1/auth/session/validate", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{`+status, got.Body)
	got = app.send(t, "GET", "/api/v1/auth/sessions/validate", "", "X-API-Key", goodKey)
	require.JSONEq(t, `{"status":"ok",`+status, got.Body)
}

func TestRevokingSessions(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func(method, path, body string) string {
		return app.send(t, method, path, body, bearer, "Bearer "+goodToken).Body
	}
	require.JSONEq(t, `{"message":"Sessions revoked successfully","revoked_count":2}`,
		send("POST", sessionsPath+"/revoke", `{"session_id":"sess_1","revoke_all_others":false}`))
	send("POST", sessionsPath+"/revoke", `{"revoke_all_others":true}`)
	require.JSONEq(t, `{"status":"ok","revoked_count":3}`, send("DELETE", sessionsPath, ""))
	require.JSONEq(t, `{"status":"ok"}`, send("DELETE", sessionsPath+"/sess_2", ""))
	require.JSONEq(t, `{"status":"ok","last_active":"`+created+`"}`, send("PATCH", sessionsPath+"/sess_3/activity", ""))
	calls := app.core.called()
	require.Equal(t, core.RevokeSessionsInput{ID: "sess_1"}, calls[0].in)
	require.Equal(t, core.RevokeSessionsInput{AllOthers: true}, calls[1].in)
	require.Equal(t, "RevokeAllSessions", calls[2].operation)
	require.Equal(t, "EndSession", calls[3].operation)
	require.Equal(t, core.SessionInput{ID: "sess_2"}, calls[3].in)
	require.Equal(t, core.SessionInput{ID: "sess_3"}, calls[4].in)

	app.core.fails = account.ErrNotFound
	for _, one := range [][2]string{{"DELETE", sessionsPath + "/x"}, {"PATCH", sessionsPath + "/x/activity"}, {"POST", sessionsPath + "/revoke"}} {
		got := app.send(t, one[0], one[1], `{"session_id":"x"}`, bearer, "Bearer "+goodToken)
		require.Equal(t, "not_found", requireFailure(t, "authv1", 404, got))
		require.Equal(t, "Session not found", got.json(t)["message"])
	}
}

func TestDeviceInfo(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const path = sessionsPath + "/update-device-info"
	got := app.send(t, "POST", path, "", bearer, "Bearer "+goodToken, "User-Agent", chromeOnMac)
	require.JSONEq(t, `{"message":"Device information updated successfully","device_info":"Chrome 120.0 on macOS"}`, got.Body)
	app.send(t, "POST", path, `{"device_info":"My laptop"}`, bearer, "Bearer "+goodToken)
	calls := app.core.called()
	require.Equal(t, core.DescribeDeviceInput{}, calls[0].in)
	require.Equal(t, chromeOnMac, calls[0].by.UserAgent)
	require.Equal(t, core.DescribeDeviceInput{Label: new("My laptop")}, calls[1].in)
}

func TestLoginHistory(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const path = "/api/v1/auth/login-history"
	attempt := `{"id":"` + sessionID.String() + `","method":"password","ip_address":"192.168.1.100","user_agent":"curl/8",
		"created_at":"` + created + `",`
	got := app.send(t, "GET", path+"?limit=7", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"status":"ok","history":[`+attempt+`"success":true,"outcome":"succeeded","location":"Berlin, Germany"},`+
		attempt+`"success":false,"outcome":"wrong_password","location":null}]}`, got.Body)
	app.send(t, "GET", path, "", bearer, "Bearer "+goodToken)
	calls := app.core.called()
	require.Equal(t, core.LoginHistoryInput{Limit: new(int64(7))}, calls[0].in)
	require.Equal(t, core.LoginHistoryInput{}, calls[1].in)
	for _, query := range []string{"limit=x", "limit=", "limit=1.5", "limit=1&limit=2", "limit=99999999999999999999"} {
		got := app.send(t, "GET", path+"?"+query, "", bearer, "Bearer "+goodToken)
		require.Equal(t, "validation_error", requireFailure(t, "authv1", 422, got), query)
		require.Contains(t, got.json(t)["fields"], "limit")
	}
	require.Len(t, app.core.called(), 2)
}

func TestAPIKeyRoutes(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const path = "/api/v1/auth/api-keys"
	key := `"id":"` + sessionID.String() + `","name":"ci","scopes":["account:read"],"created_at":"` + created + `"`
	got := app.send(t, "POST", path, `{"name":"ci","scopes":["account:read","account:write"]}`, bearer, "Bearer "+goodToken)
	require.Equal(t, 201, got.Status)
	require.JSONEq(t, `{`+key+`,"key":"ghk_secret"}`, got.Body)
	got = app.send(t, "GET", path, "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `[{`+key+`,"last_used_at":"`+created+`"}]`, got.Body)
	got = app.send(t, "DELETE", path+"/x", "", bearer, "Bearer "+goodToken)
	require.Equal(t, 204, got.Status)
	require.Empty(t, got.Body)
	calls := app.core.called()
	require.Equal(t, core.CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:read", "account:write"}}, calls[0].in)
	require.Equal(t, core.RevokeAPIKeyInput{ID: "x"}, calls[2].in)

	for _, scopes := range []string{`"account:read"`, `[1]`, `[null]`, `[["account:read"]]`, `["` + strings.Repeat(`x","`, 32) + `x"]`, `["\u0000"]`} {
		got := app.send(t, "POST", path, `{"name":"ci","scopes":`+scopes+`}`, bearer, "Bearer "+goodToken)
		require.Equal(t, "validation_error", requireFailure(t, "authv1", 422, got), scopes)
		require.Contains(t, got.json(t)["fields"], "scopes")
	}
	app.core.fails = account.ErrNotFound
	got = app.send(t, "DELETE", path+"/x", "", bearer, "Bearer "+goodToken)
	require.Equal(t, "API key not found", got.json(t)["message"])
}

// A key without account:security reaches sessions and no keys (conventions 9).
func TestScopesOfSessionAndKeyRoutes(t *testing.T) {
	t.Parallel()
	for path, scope := range map[string]account.Scope{
		"GET " + sessionsPath: account.ScopeRead, "GET /api/v1/auth/session/validate": account.ScopeRead,
		"GET " + sessionsPath + "/validate": account.ScopeRead, "GET /api/v1/auth/login-history": account.ScopeRead,
		"DELETE " + sessionsPath: account.ScopeWrite, "DELETE " + sessionsPath + "/x": account.ScopeWrite,
		"PATCH " + sessionsPath + "/x/activity": account.ScopeWrite, "POST " + sessionsPath + "/revoke": account.ScopeWrite,
		"POST " + sessionsPath + "/update-device-info": account.ScopeWrite,
		"GET /api/v1/auth/api-keys":                    account.ScopeSecurity, "DELETE /api/v1/auth/api-keys/x": account.ScopeSecurity,
		"POST /api/v1/auth/api-keys": account.ScopeSecurity,
	} {
		for _, carried := range account.Scopes() {
			app := newApp(t)
			app.core.principal.APIKey = &account.APIKey{Scopes: []account.Scope{carried}}
			method, target, _ := strings.Cut(path, " ")
			body := ""
			if method == "POST" {
				body = `{"name":"x","scopes":["account:read"]}`
			}
			got := app.send(t, method, target, body, "X-API-Key", goodKey)
			if carried == scope {
				require.Less(t, got.Status, 300, path)
				continue
			}
			require.Equal(t, "insufficient_scope", requireFailure(t, "authv1", 403, got), "%s %s", path, carried)
		}
	}
}
