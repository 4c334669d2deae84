package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
