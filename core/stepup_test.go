package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

type fixedClock time.Time

func (c fixedClock) Now() time.Time { return time.Time(c) }

func TestRequireFresh(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// The clock of this machine is off: it is not asked.
	c := &Core{Deps: Deps{Clock: fixedClock(now.Add(-time.Hour)), Policy: account.Policy{StepUpAge: 10 * time.Minute}}}
	session := func(age time.Duration) *account.Principal {
		return &account.Principal{Session: &account.Session{AuthTime: now.Add(-age), ReadAt: now}}
	}
	guarded := func(age time.Duration, shown *time.Time) *account.Principal {
		p := session(age)
		p.Account.TwoFactor, p.Session.FactorAt = true, shown
		return p
	}
	key := func(scopes ...account.Scope) *account.Principal {
		return &account.Principal{APIKey: &account.APIKey{Scopes: scopes}, Session: &account.Session{AuthTime: now}}
	}
	for name, test := range map[string]struct {
		by   *account.Principal
		want error
	}{
		"just signed in":          {session(0), nil},
		"almost too long":         {session(10*time.Minute - time.Second), nil},
		"too long":                {session(10 * time.Minute), account.ErrReauthenticationRequired},
		"lost its step-up":        {session(50 * 365 * 24 * time.Hour), account.ErrReauthenticationRequired},
		"its factor just shown":   {guarded(0, new(now.Add(-9*time.Minute))), nil},
		"its factor never shown":  {guarded(0, nil), account.ErrReauthenticationRequired},
		"its factor shown before": {guarded(0, new(now.Add(-10*time.Minute))), account.ErrReauthenticationRequired},
		"only its factor shown":   {guarded(time.Hour, new(now)), account.ErrReauthenticationRequired},
		"a strong key":            {key(account.ScopeRead, account.ScopeSecurity), nil},
		"a weak key":              {key(account.ScopeRead, account.ScopeWrite), account.ErrInsufficientScope},
		"nothing":                 {&account.Principal{}, account.ErrUnauthorized},
		"nobody":                  {nil, account.ErrUnauthorized},
	} {
		require.ErrorIs(t, c.requireFresh(account.Caller{Principal: test.by}), test.want, name)
	}
}

func TestRequireVerified(t *testing.T) {
	t.Parallel()
	c := &Core{}
	require.ErrorIs(t, c.requireVerified(account.Caller{}), account.ErrUnauthorized)
	require.ErrorIs(t, c.requireVerified(account.Caller{Principal: &account.Principal{}}), account.ErrEmailNotVerified)
	unproven := &account.Principal{Account: account.Account{ID: uuid.New(), Email: new("ann@example.com")}}
	require.ErrorIs(t, c.requireVerified(account.Caller{Principal: unproven}), account.ErrEmailNotVerified)
	unlinked := &account.Principal{Account: account.Account{ID: uuid.New()}}
	require.NoError(t, c.requireVerified(account.Caller{Principal: unlinked}), "its address was proven before it was taken away")
	verified := &account.Principal{Account: account.Account{EmailVerified: true}}
	require.NoError(t, c.requireVerified(account.Caller{Principal: verified}))
}

// RST-03: a request that was on its way when the owner ended its session leaves nothing behind that opens the account.
func TestRST03_RequestsOfEndedSessionsBindNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.SendsPerHour, w.Policy.SendsPerDay, w.Policy.CodeTTL = 5, 10, 10*time.Minute
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	owner := by.Principal.Account.ID
	_, err := w.Store.LinkProvider(t.Context(), owner, account.LinkedProvider{Provider: account.ProviderGitHub, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	key, err := w.CreateAPIKey(t.Context(), by, CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:security"}})
	require.NoError(t, err)
	ofKey, err := w.Authenticate(t.Context(), Credential{APIKey: key.Secret, AllowKeys: true})
	require.NoError(t, err)
	_, err = w.RevokeAPIKey(t.Context(), by, RevokeAPIKeyInput{ID: key.ID.String()})
	require.NoError(t, err)
	require.NoError(t, w.Store.RevokeSession(t.Context(), owner, by.Principal.Session.ID, "password_reset"))
	bare := by
	bare.Principal = new(*by.Principal)
	bare.Principal.Account.HasPassword = false

	for name, try := range map[string]func() error{
		"a key": func() error {
			_, err := w.CreateAPIKey(t.Context(), by, CreateAPIKeyInput{Name: "x", Scopes: []string{"account:read"}})
			return err
		},
		"a key by a key": func() error {
			_, err := w.CreateAPIKey(t.Context(), account.Caller{Principal: &ofKey}, CreateAPIKeyInput{Name: "x", Scopes: []string{"account:read"}})
			return err
		},
		"a provider": func() error {
			_, err := w.bindProvider(t.Context(), by, account.LinkedProvider{Provider: account.ProviderGoogle}, identity.Identity{Subject: "2"})
			return err
		},
		"no provider": func() error {
			_, err := w.DisconnectProvider(t.Context(), by, DisconnectProviderInput{Provider: "github"})
			return err
		},
		"a password": func() error { return w.addPassword(t.Context(), bare, "another-long-phrase") },
		"an email": func() error {
			_, err := w.requestEmailChange(t.Context(), by, "eve@example.com", false)
			return err
		},
		"no email": func() error {
			_, err := w.UnlinkEmail(t.Context(), by, None{})
			return err
		},
	} {
		require.ErrorIs(t, try(), account.ErrUnauthorized, name)
	}
	_, err = w.Store.OpenEmailChangeOf(t.Context(), owner)
	require.ErrorIs(t, err, account.ErrNotFound)
	links, err := w.Store.LinkedProviders(t.Context(), owner)
	require.NoError(t, err)
	require.Len(t, links, 1)
	keys, err := w.Store.APIKeys(t.Context(), owner)
	require.NoError(t, err)
	require.Empty(t, keys)
}
