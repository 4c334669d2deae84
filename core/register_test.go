package core

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const contestedMail = "ann@example.com"

// register registers contestedMail, as far as it gets without Temporal.
func (w world) register(t *testing.T, password string) error {
	t.Helper()
	_, err := w.Register(t.Context(), client, RegisterInput{Username: contestedMail, Email: contestedMail, Password: password})
	return err
}

// requireOpened proves contestedMail, and wants the token and the password of its first registration to be good from then on, or
// good for nothing.
func (w world) requireOpened(t *testing.T, attempt uuid.UUID, open bool) {
	t.Helper()
	made := w.made(t, attempt)
	told, err := w.registered(t.Context(), contestedMail, nil, made.SessionID)
	require.NoError(t, err)
	w.proveAddress(t, contestedMail, made.AccountID)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: contestedMail, Password: ownPassword})
	if open {
		require.NoError(t, err)
		w.caller(t, told.Token)
		return
	}
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
	w.requireDead(t, told.Token)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: contestedMail, Password: nextPassword})
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
}

// PRE-06: where a second registration of an address seems to succeed, its password and the first one's open nothing, unless they
// are the same.
func TestHidden_PRE06_RegisteredByTwoPasswords(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]struct {
		password string
		open     bool
	}{
		"another password": {nextPassword, false}, "the same": {ownPassword, true},
	} {
		t.Run(name+", later", func(t *testing.T) {
			t.Parallel()
			w, first := newHidden(t), uuid.New()
			w.squatter(t, first, contestedMail)
			err := w.register(t, second.password)
			require.Equal(t, account.Unavailable, account.AsError(err).Kind, "the code is sent again, by the flow of the account")
			require.NoError(t, w.register(t, second.password), "and not too often")
			w.requireOpened(t, first, second.open)
		})
		t.Run(name+", at the same moment", func(t *testing.T) {
			t.Parallel()
			w, first := newHidden(t), uuid.New()
			w.parked(t, first, contestedMail)
			require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeEmail, contestedMail), w.Policy.SendQuotas()))
			require.NoError(t, w.register(t, second.password))
			w.requireOpened(t, first, second.open)
		})
		t.Run(name+", while no worker comes", func(t *testing.T) {
			t.Parallel()
			w, first := newHidden(t), uuid.New()
			w.parked(t, first, contestedMail)
			require.Error(t, w.register(t, second.password))
			parked := w.unbegun(t)
			require.Len(t, parked, 2, "whichever a worker takes first")
			for _, a := range parked {
				attempt, err := w.Store.Signup(t.Context(), a.ID)
				require.NoError(t, err)
				require.Equal(t, second.open, !attempt.Contested)
			}
			w.requireOpened(t, first, second.open)
		})
	}
}

// Whoever is told that the address is taken contests nothing.
func TestRegister_RefusedContestsNothing(t *testing.T) {
	t.Parallel()
	w, first := newHidden(t), uuid.New()
	w.Policy.Enumeration = account.EnumerationDocumented
	w.squatter(t, first, contestedMail)
	require.ErrorIs(t, w.register(t, nextPassword), account.ErrIdentityAlreadyUsed)
	w.requireOpened(t, first, true)
}

// Whoever is refused because another registration was counted must find that one: there is no charge without it.
func TestRegister_IsParkedWithItsCharge(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	const refused = "bob\x00@example.com"
	require.Error(t, w.parkRegistration(t.Context(), client, RegisterInput{Password: ownPassword}, uuid.New(), refused, nil))
	used, err := w.Store.QuotaUsed(t.Context(), w.sendKey(account.PurposeEmail, refused), account.Quota{Per: time.Hour})
	require.NoError(t, err)
	require.False(t, used)
}

func TestHidden_PRE06_Race_RegisteredByTwoPasswords(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	for round := range 5 {
		email := fmt.Sprintf("ann%d@example.com", round)
		errs := make([]error, 6)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				password := []string{ownPassword, nextPassword}[i%2]
				_, errs[i] = w.Register(t.Context(), client, RegisterInput{Username: email, Email: email, Password: password})
			})
		}
		all.Wait()
		for _, err := range errs {
			require.True(t, err == nil || account.AsError(err).Kind == account.Unavailable, "%v", err)
		}
	}
	parked := w.unbegun(t)
	require.Len(t, parked, 5)
	for _, a := range parked {
		attempt, err := w.Store.Signup(t.Context(), a.ID)
		require.NoError(t, err)
		require.True(t, attempt.Contested)
	}
}

// Whoever has looked before the first registration was parked, and waits for its charge, looks again.
func TestHidden_PRE06_RegisteredWhileAnotherIsParked(t *testing.T) {
	t.Parallel()
	w, first := newHidden(t), uuid.New()
	second := make(chan error, 1)
	err := w.Store.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		if err := tx.TakeQuota(ctx, w.sendKey(account.PurposeEmail, contestedMail), w.Policy.SendQuotas()); err != nil {
			return err
		}
		go func() { second <- w.register(t, nextPassword) }()
		steady := 0 // it keeps its connection once it waits
		testkit.Eventually(t, 10*time.Second, func() bool {
			steady++
			if w.Store.PoolUse().InUse < 2 {
				steady = 0
			}
			return steady > 20
		}, "it to wait for the charge")
		_, _, err := tx.OpenSignup(ctx, account.SignupAttempt{ID: first, Kind: account.SignupByRegister, Email: contestedMail, PasswordHash: w.hash(t)}, time.Hour)
		return err
	})
	require.NoError(t, err)
	require.NoError(t, <-second)
	w.requireOpened(t, first, false)
}
