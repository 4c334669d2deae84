package core

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/templates"
)

func TestCreateAPIKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	read := CreateAPIKeyInput{Name: " ci ", Scopes: []string{"account:read", "account:read"}}
	k, err := w.CreateAPIKey(t.Context(), by, read)
	require.NoError(t, err)
	require.Equal(t, "ci", k.Name)
	require.Equal(t, []account.Scope{account.ScopeRead}, k.Scopes)
	require.True(t, strings.HasPrefix(k.Secret, "ghk_"))

	strong := CreateAPIKeyInput{Name: "admin", Scopes: []string{"account:security"}}
	s, err := w.CreateAPIKey(t.Context(), by, strong)
	require.NoError(t, err)
	key := w.caller(t, s.Secret)
	_, err = w.CreateAPIKey(t.Context(), key, strong)
	require.ErrorIs(t, err, account.ErrInsufficientScope, "no key begets its like")
	_, err = w.CreateAPIKey(t.Context(), key, read)
	require.NoError(t, err)
	by.Principal.Session.ReadAt = by.Principal.Session.AuthTime.Add(w.Policy.StepUpAge)
	_, err = w.CreateAPIKey(t.Context(), by, strong)
	require.ErrorIs(t, err, account.ErrReauthenticationRequired)
	_, err = w.CreateAPIKey(t.Context(), by, read)
	require.NoError(t, err)

	notices, err := w.Store.OwedNotices(t.Context(), 0, 1000)
	require.NoError(t, err)
	require.Len(t, notices, 4, "each key is told")
	require.Equal(t, templates.APIKeyCreated, notices[0].Template)

	by.Principal.Account.EmailVerified = false
	_, err = w.CreateAPIKey(t.Context(), by, read)
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
}

func TestCreateAPIKeyNamesEveryFault(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		in     CreateAPIKeyInput
		fields []string
	}{
		"nothing":       {CreateAPIKeyInput{}, []string{"name", "scopes"}},
		"blank":         {CreateAPIKeyInput{Name: " ", Scopes: []string{"account:read"}}, []string{"name"}},
		"long":          {CreateAPIKeyInput{Name: strings.Repeat("x", 101), Scopes: []string{"account:read"}}, []string{"name"}},
		"control":       {CreateAPIKeyInput{Name: "a\nb", Scopes: []string{"account:read"}}, []string{"name"}},
		"unknown scope": {CreateAPIKeyInput{Name: "x", Scopes: []string{"account:read", "admin", "*"}}, []string{"scopes"}},
	} {
		_, err := one.in.validate()
		var fields []string
		for _, f := range account.AsError(err).Fields {
			fields = append(fields, f.Name)
		}
		require.Equal(t, one.fields, fields, name)
	}
}

func TestRevokeAPIKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	w.member(t, "eve@example.com")
	_, ada := w.login(t, "ada@example.com")
	_, eve := w.login(t, "eve@example.com")
	k, err := w.CreateAPIKey(t.Context(), ada, CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:read"}})
	require.NoError(t, err)
	for _, id := range []string{"x", "", uuid.NewString(), "{" + k.ID.String() + "}", strings.ReplaceAll(k.ID.String(), "-", "")} {
		_, err = w.RevokeAPIKey(t.Context(), ada, RevokeAPIKeyInput{ID: id})
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	_, err = w.RevokeAPIKey(t.Context(), eve, RevokeAPIKeyInput{ID: k.ID.String()})
	require.ErrorIs(t, err, account.ErrNotFound)

	key := w.caller(t, k.Secret)
	require.Equal(t, account.SessionByKey, key.Principal.Session.Method)
	require.Equal(t, "192.0.2.9", key.Principal.Session.IP)
	require.Equal(t, key.Principal.Session.ID, w.caller(t, k.Secret).Principal.Session.ID)
	listed, err := w.APIKeys(t.Context(), ada, None{})
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.WithinDuration(t, w.clock.Now(), *listed[0].LastUsedAt, time.Minute)

	_, err = w.RevokeAPIKey(t.Context(), ada, RevokeAPIKeyInput{ID: k.ID.String()})
	require.NoError(t, err)
	w.requireDead(t, k.Secret)
	listed, err = w.APIKeys(t.Context(), ada, None{})
	require.NoError(t, err)
	require.Empty(t, listed)
}
