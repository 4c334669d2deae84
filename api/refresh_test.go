package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/config"
)

const (
	refreshPath   = "/v1/users/refresh-token"
	refreshHeader = "sk-refresh-token"
	hostCookie    = "__Host-sk-refresh-token="
	ownOrigin     = "http://localhost:8080"
	goodOrigin    = "https://app.example.com"
)

func withOrigins(c *config.Config) { c.AllowedOrigins = []string{goodOrigin + "/"} }

func TestRefresh(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", refreshPath, "", refreshHeader, "ghr_1")
	require.JSONEq(t, `{"token":"access","accessToken":"access","refreshToken":"refresh","expires":"2026-05-19T10:40:45Z",
		"expiresAt":"2026-05-19T10:40:45Z"}`, got.Body)
	require.Equal(t, core.RefreshInput{Token: "ghr_1"}, app.core.called()[0].in)
	require.Empty(t, got.Header.Get("Set-Cookie"))
	for e, message := range map[*account.Error]string{
		account.ErrInvalidToken: "Invalid or expired refresh token", account.ErrAmbiguousCredentials: "Send one credential, not two.",
	} {
		app.core.fails = e
		got = app.send(t, "POST", refreshPath, "")
		require.Equal(t, e.Code, requireFailure(t, "usersv1", 401, got))
		require.Equal(t, message, got.json(t)["message"])
	}
	got = app.send(t, "POST", refreshPath, "", refreshHeader, "a", refreshHeader, "b")
	require.Equal(t, "invalid_request", requireFailure(t, "usersv1", 400, got))
}

// SES-11: a cookie is believed only from a page of an origin that may use it.
func TestSES11_RefreshCookie(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		origin, cookie string
		taken          string
	}{
		"allowed origin":     {goodOrigin, hostCookie + "ghr_1", "ghr_1"},
		"own origin":         {ownOrigin, hostCookie + "ghr_1", "ghr_1"},
		"plain name":         {goodOrigin, "other=x; sk-refresh-token=ghr_2", "ghr_2"},
		"ours before theirs": {goodOrigin, "sk-refresh-token=ghr_2; " + hostCookie + "ghr_1", "ghr_1"},
		"twice":              {goodOrigin, hostCookie + "ghr_1; " + hostCookie + "ghr_2", ""},
		"no origin":          {"", hostCookie + "ghr_1", ""},
		"null":               {"null", hostCookie + "ghr_1", ""},
		"foreign":            {"https://evil.example", hostCookie + "ghr_1", ""},
		"suffix":             {goodOrigin + ".evil.example", hostCookie + "ghr_1", ""},
		"subdomain":          {"https://x.app.example.com", hostCookie + "ghr_1", ""},
		"other scheme":       {"http://app.example.com", hostCookie + "ghr_1", ""},
		"other port":         {goodOrigin + ":444", hostCookie + "ghr_1", ""},
		"other case":         {strings.ToUpper(goodOrigin), hostCookie + "ghr_1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, withOrigins)
			got := app.send(t, "POST", refreshPath, "", "Origin", one.origin, "Cookie", one.cookie)
			require.Equal(t, core.RefreshInput{Cookie: one.taken}, app.core.called()[0].in)
			trusted := one.origin == goodOrigin || one.origin == ownOrigin
			require.Equal(t, trusted, got.Header.Get("Set-Cookie") != "", got.Header.Get("Set-Cookie"))
		})
	}
	app := newApp(t, withOrigins)
	app.send(t, "POST", refreshPath, "", "Origin", goodOrigin, "Origin", "https://evil.example", "Cookie", hostCookie+"ghr_1")
	app.send(t, "POST", refreshPath, "", "Origin", goodOrigin, "Cookie", hostCookie+"ghr_1", refreshHeader, "ghr_2")
	require.Equal(t, core.RefreshInput{}, app.core.called()[0].in, "two origins are none")
	require.Equal(t, core.RefreshInput{Token: "ghr_2", Cookie: "ghr_1"}, app.core.called()[1].in)
}

func TestPagesGetTheRefreshTokenAsACookie(t *testing.T) {
	t.Parallel()
	app := newApp(t, withOrigins)
	for path, body := range map[string]string{refreshPath: "", "/v1/users/authenticate": `{"username":"a","password":"b"}`} {
		cookie, err := http.ParseSetCookie(app.send(t, "POST", path, body, "Origin", goodOrigin).Header.Get("Set-Cookie"))
		require.NoError(t, err)
		require.Equal(t, "__Host-sk-refresh-token", cookie.Name)
		require.Equal(t, "refresh", cookie.Value)
		require.Equal(t, "/", cookie.Path)
		require.Empty(t, cookie.Domain)
		require.True(t, cookie.Secure)
		require.True(t, cookie.HttpOnly)
		require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
		require.Equal(t, moment.AddDate(0, 0, 30).Unix(), cookie.Expires.Unix(), "with its session")
	}
	got := app.send(t, "POST", "/v1/users/logout", "", bearer, "Bearer "+goodToken, "Origin", goodOrigin)
	cookie, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, "__Host-sk-refresh-token", cookie.Name)
	require.Empty(t, cookie.Value)
	require.True(t, cookie.Expires.Before(moment))
	app.core.fails = account.ErrInvalidToken
	require.Empty(t, app.send(t, "POST", refreshPath, "", "Origin", goodOrigin).Header.Get("Set-Cookie"))
	preflight := app.send(t, "OPTIONS", refreshPath, "", "Origin", goodOrigin, "Access-Control-Request-Method", "POST")
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), refreshHeader)
}

func TestPasswordsOfDocumentB(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	require.Equal(t, 204, app.send(t, "POST", "/v1/users/reset-password", `{"email":"Ada@Example.com"}`).Status)
	require.Equal(t, 204, app.send(t, "PUT", "/v1/users/update-password", `{"token":"t","password":"b"}`).Status)
	got := app.send(t, "PUT", "/v1/users/passwords", `{"currentPassword":"a","newPassword":"b"}`, bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"message":"Password changed"}`, got.Body)
	calls := app.core.called()
	require.Equal(t, core.ForgotPasswordInput{Email: "Ada@Example.com"}, calls[0].in)
	require.Equal(t, core.ResetPasswordInput{Token: "t", New: "b", NewField: "password"}, calls[1].in)
	require.Equal(t, core.ChangePasswordInput{Current: "a", New: "b"}, calls[2].in)
	for _, one := range []struct {
		path, body string
		fails      *account.Error
		status     int
		code       string
		message    string
	}{
		{"passwords", `{"currentPassword":"a","newPassword":"b"}`, account.ErrInvalidPassword, 401, "invalid_credentials", "Current password is incorrect"},
		{"update-password", `{"token":"t","password":"b"}`, account.ErrInvalidToken, 400, "invalid_token", "Invalid or expired token"},
	} {
		app.core.fails = one.fails
		got := app.send(t, "PUT", "/v1/users/"+one.path, one.body, bearer, "Bearer "+goodToken)
		require.Equal(t, one.code, requireFailure(t, "usersv1", one.status, got))
		require.Equal(t, one.message, got.json(t)["message"])
	}
}
