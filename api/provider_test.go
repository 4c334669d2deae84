package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"
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
