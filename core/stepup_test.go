package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

type fixedClock time.Time

func (c fixedClock) Now() time.Time { return time.Time(c) }

func TestRequireFresh(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &Core{Deps: Deps{Clock: fixedClock(now), Policy: account.Policy{StepUpAge: 10 * time.Minute}}}
	session := func(age time.Duration) *account.Principal {
		return &account.Principal{Session: &account.Session{AuthTime: now.Add(-age)}}
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
