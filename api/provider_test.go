package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const accountProviders, linkedAccounts = "/api/v1/auth/account-providers", "/api/v1/auth/linked-accounts"

func TestProviders(t *testing.T) {
	t.Parallel()
	got := newApp(t).send(t, "GET", accountProviders, "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `[
		{"provider":"google","provider_account_id":"google_user_id_123","type":"oauth","scope":"email profile",
			"expires_at":1640995200,"created_at":"2026-05-19T10:30:45Z"},
		{"provider":"github","provider_account_id":"42","type":"oauth","scope":null,"expires_at":null,
			"created_at":"2026-05-19T10:30:45Z"}]`, got.Body)

	got = newApp(t).send(t, "GET", linkedAccounts, "", "X-API-Key", goodKey)
	require.JSONEq(t, `{"primary_method":"google","has_password":true,"accounts":[
		{"provider":"google","provider_email":"user@gmail.example","display_name":"John Doe",
			"avatar_url":"https://cdn.example.com/a.png","linked_at":"2026-05-19T10:30:45Z"},
		{"provider":"github","provider_email":null,"display_name":null,"avatar_url":null,"linked_at":"2026-05-19T10:30:45Z"}]}`,
		got.Body)
}

func TestConnectProvider(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", accountProviders, `{"provider":"google","provider_account_id":"google_user_id_123","type":"oauth",
		"access_token":"google_access_token","refresh_token":"google_refresh_token","expires_at":1640995200,
		"scope":"email profile"}`, bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"provider":"google","provider_account_id":"google_user_id_123","type":"oauth","scope":"email profile",
		"expires_at":1640995200,"created_at":"2026-05-19T10:30:45Z"}`, got.Body)
	require.NotContains(t, got.Body, "token")
	calls := app.core.called()
	require.Len(t, calls, 1)
	require.Equal(t, core.ConnectProviderInput{
		Provider: "google", Subject: "google_user_id_123", Type: "oauth", AccessToken: "google_access_token",
		ExpiresAt: new(int64(1640995200)), Scope: new("email profile"),
	}, calls[0].in)
}

func TestDisconnectProvider(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		accountProviders: `{"message":"Provider disconnected"}`,
		linkedAccounts:   `{"message":"Account unlinked","remaining_methods":2}`,
	} {
		app := newApp(t)
		got := app.send(t, "DELETE", path+"/git%20hub", "", bearer, "Bearer "+goodToken)
		require.JSONEq(t, want, got.Body)
		require.Equal(t, core.DisconnectProviderInput{Provider: "git hub"}, app.core.called()[0].in)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", linkedAccounts+"/initiate", `{"provider":"google"}`, bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"auth_url":"https://accounts.example.com/?state=s","state":"s"}`, got.Body)
	for _, path := range []string{"/callback", "/complete"} {
		app := newApp(t)
		got := app.send(t, "POST", linkedAccounts+path, `{"state":"s","provider":"github","provider_account_id":"42",
			"provider_email":"a@example.com","display_name":"Ann","avatar_url":"https://a.example/1"}`, bearer, "Bearer "+goodToken)
		require.JSONEq(t, `{"status":"ok","provider":"github"}`, got.Body)
		require.Equal(t, core.CompleteLinkInput{
			State: "s", Provider: "github", Subject: "42", Email: new("a@example.com"), DisplayName: new("Ann"),
			AvatarURL: new("https://a.example/1"),
		}, app.core.called()[0].in)
	}
}

func assertion(secret, body, nonce string, at time.Time, encode func([]byte) string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s.%s", at.Unix(), nonce, body)
	return fmt.Sprintf("t=%d,n=%s,sig=%s", at.Unix(), nonce, encode(mac.Sum(nil)))
}

// security.md section 6: what a service key signs is good for a minute, once, and for this body.
func TestAssertions(t *testing.T) {
	t.Parallel()
	const path, body = linkedAccounts + "/complete", `{"state":"s","provider":"github","provider_account_id":"42"}`
	app := newApp(t)
	app.core.principal = account.Principal{APIKey: &account.APIKey{ID: accountID, Service: true}}
	try := func(header string) (int, bool) {
		headers := []string{"X-API-Key", goodKey}
		if header != "" {
			headers = append(headers, "X-Assertion", header)
		}
		before := len(app.core.called())
		got := app.send(t, "POST", path, body, headers...)
		calls := app.core.called()
		return got.Status, len(calls) > before && calls[len(calls)-1].by.Asserted
	}
	good := assertion(goodKey, body, "1", moment, hex.EncodeToString)
	for name, one := range map[string]struct {
		header   string
		status   int
		asserted bool
	}{
		"none":          {"", 200, false},
		"base64":        {assertion(goodKey, body, "b1", moment, base64.StdEncoding.EncodeToString), 200, true},
		"base64url":     {assertion(goodKey, body, "b2", moment, base64.RawURLEncoding.EncodeToString), 200, true},
		"59 s old":      {assertion(goodKey, body, "o1", moment.Add(-59*time.Second), hex.EncodeToString), 200, true},
		"62 s old":      {assertion(goodKey, body, "o2", moment.Add(-62*time.Second), hex.EncodeToString), 401, false},
		"62 s early":    {assertion(goodKey, body, "o3", moment.Add(62*time.Second), hex.EncodeToString), 401, false},
		"another key":   {assertion("x", body, "k", moment, hex.EncodeToString), 401, false},
		"another body":  {assertion(goodKey, body+" ", "y", moment, hex.EncodeToString), 401, false},
		"no nonce":      {assertion(goodKey, body, "", moment, hex.EncodeToString), 401, false},
		"no signature":  {"t=1,n=2", 401, false},
		"empty parts":   {"t=,n=,sig=", 401, false},
		"nonsense":      {"nonsense", 401, false},
		"one more part": {good + ",x=1", 401, false},
	} {
		status, asserted := try(one.header)
		require.Equal(t, one.status, status, name)
		require.Equal(t, one.asserted, asserted, name)
	}
	status, asserted := try(good)
	require.Equal(t, 200, status)
	require.True(t, asserted)
	status, _ = try(good)
	require.Equal(t, 401, status, "it was used")
}

// A service key is no account: it reaches the routes that name it and no other.
func TestServiceKeysReachTheirRoutesAlone(t *testing.T) {
	t.Parallel()
	for _, o := range protected(t) {
		if o.Dialect != "authv1" {
			continue
		}
		app := newApp(t)
		app.core.principal = account.Principal{APIKey: &account.APIKey{ID: accountID, Service: true}}
		got := app.send(t, o.Method, pathOf(o), exampleOf(t, o), "X-API-Key", goodKey)
		want := 403
		switch o.OperationID {
		case "linkAccountCallback", "completeAccountLink", "oauthSignin":
			want = 200
		}
		require.Equal(t, want, got.Status, o.OperationID)
	}
}
