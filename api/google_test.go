package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	googlePath  = "/v1/auth/google"
	googleBegin = googlePath + "/authorize"
)

func TestSignInByGoogle(t *testing.T) {
	t.Parallel()
	app := newApp(t, withOrigins)
	fields := `"userId":"550e8400-e29b-41d4-a716-446655440000","username":"user123","email":"user@example.com","token":"access",`
	got := app.send(t, "POST", googlePath, `{"code":"new","marketingOptInState":true}`)
	require.JSONEq(t, `{`+fields+`"message":"Registration successful"}`, got.Body)
	got = app.send(t, "POST", googlePath, `{"code":"known","codeVerifier":"v","state":"gst_1"}`,
		"Origin", goodOrigin, "Cookie", "__Host-google-state=gst_1", "X-Device-Id", "d", "X-Device-Token", "t")
	require.JSONEq(t, `{`+fields+`"message":"Login successful"}`, got.Body)
	cookie, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, "__Host-google-state", cookie.Name)
	require.Empty(t, cookie.Value, "a state serves once")
	app.send(t, "POST", googlePath, `{"code":"known","state":"gst_1"}`, "Origin", "https://evil.example", "Cookie", "__Host-google-state=gst_1")
	calls := app.core.called()
	require.Equal(t, core.GoogleInput{Code: "new", MarketingOptIn: true}, calls[0].in)
	require.Equal(t, core.GoogleInput{
		Code: "known", CodeVerifier: new("v"), State: new("gst_1"), StateCookie: "gst_1", Device: core.ShownDevice{ID: "d", Token: "t"},
	}, calls[1].in)
	require.Equal(t, core.GoogleInput{Code: "known", State: new("gst_1")}, calls[2].in)
	for _, one := range []struct {
		fails   *account.Error
		status  int
		message string
	}{
		{account.ErrInvalidCredentials, 401, "Invalid authorization code"},
		{account.ErrIdentityAlreadyUsed, 400, "Username or email already exists"},
		{account.ErrProviderNotConfigured, 400, "This provider is not set up here"},
		{account.ErrEmailNotVerified, 403, "Verify your email address first."},
	} {
		app.core.fails = one.fails
		got := app.send(t, "POST", googlePath, `{"code":"new"}`)
		require.Equal(t, one.fails.Code, requireFailure(t, "usersv1", one.status, got))
		require.Equal(t, one.message, got.json(t)["message"])
	}
}

func TestBeginGoogle(t *testing.T) {
	t.Parallel()
	app := newApp(t, withOrigins)
	got := app.send(t, "POST", googleBegin, `{"codeChallenge":"c"}`, "Origin", goodOrigin)
	require.JSONEq(t, `{"authUrl":"https://accounts.google.com/o?state=gst_1","state":"gst_1","expiresAt":"2026-05-19T10:40:45Z"}`, got.Body)
	cookie, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, "__Host-google-state", cookie.Name)
	require.Equal(t, "gst_1", cookie.Value)
	require.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode)
	require.Equal(t, moment.Add(10*time.Minute).Unix(), cookie.Expires.Unix())
	require.Equal(t, core.BeginGoogleInput{CodeChallenge: new("c")}, app.core.called()[0].in)
	require.Empty(t, app.send(t, "POST", googleBegin, "").Header.Get("Set-Cookie"))
}
