package account_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestCatalogueIsFitForStrangers(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for name, e := range account.Catalogue() {
		require.Equal(t, name, e.Code)
		require.Regexp(t, code, name)
		require.NotEmpty(t, e.Message, name)
		require.Empty(t, e.Fields, name)
		require.NoError(t, e.Unwrap(), "%s: a template has no cause", name)
		got, ok := account.Lookup(name)
		require.True(t, ok)
		require.Equal(t, e, got)
	}
	_, ok := account.Lookup("no_such_code")
	require.False(t, ok)
}

func TestErrorsAreCopied(t *testing.T) {
	t.Parallel()
	cause := errors.New("row of ada@example.com")
	e := account.ErrInvalid.On("email", "is required")
	first, second := e.On("name", "is required"), e.On("code", "is required")
	require.Empty(t, account.ErrInvalid.Fields)
	require.Equal(t, "name", first.Fields[1].Name, "a second copy does not write into the first")
	require.Equal(t, "code", second.Fields[1].Name)
	changed := account.ErrTooManyRequests.Because(cause).After(time.Minute).Saying("Slow down.").Running("42")
	require.Equal(t, time.Minute, changed.RetryAfter)
	require.Equal(t, "42", changed.Operation)
	require.Equal(t, account.TooMany, changed.Kind)
	require.Zero(t, account.ErrTooManyRequests.RetryAfter)
	template, _ := account.Lookup(account.ErrTooManyRequests.Code)
	template.Message = "changed"
	require.NotEqual(t, "changed", account.ErrTooManyRequests.Message)
	account.Catalogue()["internal"].Message = "changed"
	require.NotEqual(t, "changed", account.ErrInternal.Message)
}

func TestErrorsAreToldByTheirCode(t *testing.T) {
	t.Parallel()
	cause := errors.New("row of ada@example.com")
	e := fmt.Errorf("signing up: %w", account.ErrInvalidCode.Because(cause).On("code", "x"))
	require.ErrorIs(t, e, account.ErrInvalidCode)
	require.NotErrorIs(t, e, account.ErrInvalidToken)
	require.ErrorIs(t, e, cause, "the cause is there for the log")
	require.NotContains(t, e.Error(), "ada@example.com", "and is not told")

	require.Nil(t, account.AsError(nil))
	require.Equal(t, "invalid_code", account.AsError(e).Code)
	unknown := account.AsError(io.ErrUnexpectedEOF)
	require.Equal(t, account.Internal, unknown.Kind)
	require.ErrorIs(t, unknown, io.ErrUnexpectedEOF)
	require.Equal(t, account.Internal, account.AsError(context.DeadlineExceeded).Kind)

	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "error", account.ErrInternal.Because(cause))
	require.NotContains(t, log.String(), "ada@example.com")
}

// Who is an administrator is told to a full session alone.
func TestPrincipal_Roles(t *testing.T) {
	t.Parallel()
	admin := account.Account{Roles: []string{"user", account.RoleAdmin}}
	full, pending := &account.Session{State: account.SessionActive}, &account.Session{State: account.SessionPending}
	shown := account.Principal{Account: admin, Session: full}
	require.Equal(t, admin.Roles, shown.Roles())
	require.True(t, shown.Admin())
	require.False(t, account.Principal{Account: account.Account{Roles: []string{"administrator"}}, Session: full}.Admin())
	for name, p := range map[string]account.Principal{
		"a second step is due":   {Account: admin, Session: pending},
		"an API key":             {Account: admin, Session: full, APIKey: &account.APIKey{Scopes: account.Scopes()}},
		"an API key never used":  {Account: admin, APIKey: &account.APIKey{}},
		"nobody has signed in":   {Account: admin},
		"a state of other times": {Account: admin, Session: &account.Session{}},
	} {
		require.Equal(t, []string{"user"}, p.Roles(), name)
		require.False(t, p.Admin(), name)
	}
}

func TestWhatACallerMayDo(t *testing.T) {
	t.Parallel()
	session := account.Principal{Session: &account.Session{}}
	key := account.Principal{APIKey: &account.APIKey{Scopes: []account.Scope{account.ScopeRead}}}
	for _, scope := range []account.Scope{account.ScopeRead, account.ScopeWrite, account.ScopeSecurity} {
		require.True(t, session.Can(scope))
		require.Equal(t, scope == account.ScopeRead, key.Can(scope))
	}
	require.False(t, account.Principal{APIKey: &account.APIKey{}}.Can(account.ScopeRead))

	email, name := "ada@example.com", "ada"
	require.Equal(t, "ada", account.Account{Email: &email, Username: &name}.DisplayUsername())
	require.Equal(t, email, account.Account{Email: &email}.DisplayUsername())
	require.Empty(t, account.Account{}.DisplayUsername())
	require.Equal(t, time.UTC, account.SystemClock{}.Now().Location())
}
