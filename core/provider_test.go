package core

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestConnectProviderInput(t *testing.T) {
	t.Parallel()
	good := ConnectProviderInput{Provider: "github", Subject: "42", AccessToken: "gho_x", ExpiresAt: new(int64(1640995200)), Scope: new("email")}
	provider, err := good.validate()
	require.NoError(t, err)
	require.Equal(t, account.ProviderGitHub, provider)
	for name, change := range map[string]func(*ConnectProviderInput){
		"provider":            func(in *ConnectProviderInput) { in.Provider = "GOOGLE" },
		"provider ":           func(in *ConnectProviderInput) { in.Provider = "apple" },
		"provider  ":          func(in *ConnectProviderInput) { in.Provider = "" },
		"provider_account_id": func(in *ConnectProviderInput) { in.Subject = strings.Repeat("x", 256) },
		"type":                func(in *ConnectProviderInput) { in.Type = "saml" },
		"access_token":        func(in *ConnectProviderInput) { in.AccessToken = "" },
		"access_token ":       func(in *ConnectProviderInput) { in.AccessToken = "a b" },
		"expires_at":          func(in *ConnectProviderInput) { in.ExpiresAt = new(int64(1 << 60)) },
		"scope":               func(in *ConnectProviderInput) { in.Scope = new("a\nb") },
	} {
		in := good
		change(&in)
		_, err := in.validate()
		var fault *account.Error
		require.ErrorAs(t, err, &fault)
		require.Len(t, fault.Fields, 1)
		require.Equal(t, strings.TrimSpace(name), fault.Fields[0].Name)
	}
	_, err = ConnectProviderInput{}.validate()
	var all *account.Error
	require.ErrorAs(t, err, &all)
	require.Len(t, all.Fields, 3, "all faults at once")
}
