package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const closeAccount = "/api/v1/auth/account"

func TestCloseAccount(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]core.CloseAccountInput{
		"": {}, `{}`: {}, `{"password":"p"}`: {Password: "p"}, `{"confirm":true}`: {Confirm: true},
		`{"password":"p","confirm":false}`: {Password: "p"},
	} {
		app := newApp(t)
		got := app.send(t, "DELETE", closeAccount, body, bearer, "Bearer "+goodToken)
		require.Equal(t, 200, got.Status, got.Body)
		require.JSONEq(t, `{"status":"ok"}`, got.Body)
		require.Equal(t, want, app.core.called()[0].in, body)
	}
}

func TestCloseAccount_Refused(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*account.Error{
		`403 {"error":"invalid_password","message":"Password is incorrect"}`:                       account.ErrInvalidPassword,
		`400 {"error":"confirmation_required","message":"Confirmation required"}`:                  account.ErrConfirmationRequired,
		`403 {"error":"reauthentication_required","message":"Sign in again to do this."}`:          account.ErrReauthenticationRequired,
		`429 {"error":"too_many_requests","message":"Too many requests. Please try again later."}`: account.ErrTooManyRequests,
	} {
		app := newApp(t)
		app.core.fails = e
		got := app.send(t, "DELETE", closeAccount, `{"password":"p"}`, bearer, "Bearer "+goodToken)
		require.Equal(t, want[:3], itoa(got.Status))
		require.JSONEq(t, want[4:], got.Body)
	}
}

func TestCloseAccount_AKeyNeedsItsScope(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.principal.APIKey = &account.APIKey{Scopes: []account.Scope{account.ScopeRead, account.ScopeWrite}}
	got := app.send(t, "DELETE", closeAccount, `{"confirm":true}`, "X-API-Key", goodKey)
	require.Equal(t, "insufficient_scope", requireFailure(t, "authv1", 403, got))
	require.Empty(t, app.core.called())
}

func TestUndoClosure(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", closeAccount+"/undo-closure", `{"token":"t"}`)
	require.JSONEq(t, `{"status":"ok","message":"Your account is open again. Please sign in."}`, got.Body)
	require.Equal(t, core.UndoClosureInput{Token: "t"}, app.core.called()[0].in)

	for code, e := range map[string]*account.Error{"email_exists": account.ErrEmailExists, "username_taken": account.ErrUsernameTaken} {
		app := newApp(t)
		app.core.fails = e
		got := app.send(t, "POST", closeAccount+"/undo-closure", `{"token":"t"}`)
		require.Equal(t, code, requireFailure(t, "authv1", 409, got))
	}
}
