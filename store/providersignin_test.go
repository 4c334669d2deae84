package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func signInOf(l account.LinkedProvider, email string) store.ProviderSignIn {
	return store.ProviderSignIn{
		Link: l, Email: email, Vouched: true, Bonus: bonus,
		Session: store.NewSession{ID: uuid.New(), Method: "google", TTL: sessionTTL},
	}
}

func TestSignInByProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made, err := w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
	require.NoError(t, err)
	require.Equal(t, "google", one[string](t, w, `SELECT primary_provider FROM accounts WHERE id = $1`, made.AccountID))
	again, err := w.SignInByProvider(t.Context(), signInOf(google("1"), "other@example.com"))
	require.NoError(t, err)
	require.Equal(t, made.AccountID, again.AccountID, "the pair alone identifies")
	require.Equal(t, []bool{true, false}, []bool{made.Created, again.Created})
	require.Equal(t, 1, w.count(t, "accounts"))
	require.Equal(t, 2, w.count(t, "sessions"))
	w.requireInvariants(t)

	owner, err := w.SignInByProvider(t.Context(), signInOf(github("1"), ada))
	require.ErrorIs(t, err, account.ErrAccountExists, "an address opens nothing (OAU-09)")
	require.Equal(t, made.AccountID, owner.AccountID)
	unvouched := signInOf(google("2"), "new@example.com")
	unvouched.Vouched = false
	_, err = w.SignInByProvider(t.Context(), unvouched)
	require.ErrorIs(t, err, account.ErrEmailNotVerified, "PRE-05")

	squatter := w.newcomer(t, "victim@example.com")
	victim, err := w.SignInByProvider(t.Context(), signInOf(google("3"), "victim@example.com"))
	require.NoError(t, err)
	require.NotEqual(t, squatter.AccountID, victim.AccountID, "PRE-01")
	_, err = w.PrincipalBySession(t.Context(), squatter.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)

	w.exec(t, `UPDATE accounts SET is_active = false WHERE id = $1`, made.AccountID)
	_, err = w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
	require.ErrorIs(t, err, account.ErrUnauthorized)
}

// A sign-up that is open for the address ends when a provider vouches for it.
func TestSignInByProvider_EndsTheSignUpOfItsAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(t, account.SignupByCode, ada)
	other := w.park(t, account.SignupByCode, "other@example.com")
	_, err := w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{other.ID}, one[[]uuid.UUID](t, w, `SELECT array_agg(id) FROM signup_attempts WHERE kind = 'code' AND closed_at IS NULL`))
	w.requireInvariants(t)
}

func TestRace_SignInByProvider_MakesOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		subject := uuid.NewString()
		errs := race(crowd, func(int) error {
			_, err := w.SignInByProvider(t.Context(), signInOf(google(subject), subject+"@example.com"))
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, 1, w.count(t, `accounts WHERE email = $1`, subject+"@example.com"))
	}
	w.requireInvariants(t)
}

// Who signs in by a link while it is taken away is not let in once that was answered.
func TestRace_SignInByProvider_UnlinkedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	w.link(t, owner, google("1"))
	signedIn := make(chan error, 1)
	require.NoError(t, w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		if _, err := tx.UnlinkProvider(ctx, owner, account.ProviderGoogle, nil); err != nil {
			return err
		}
		go func() {
			_, err := w.SignInByProvider(t.Context(), signInOf(google("1"), ada))
			signedIn <- err
		}()
		require.Eventually(t, func() bool {
			return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		}, 10*time.Second, time.Millisecond)
		return nil
	}))
	require.ErrorIs(t, <-signedIn, account.ErrAccountExists, "the address alone opens nothing")
	require.Zero(t, w.count(t, `sessions WHERE method = 'google'`))
}

// What a backend asserts is less than what the provider says: an administrator has to authenticate anew (security.md section 6).
func TestSignInByProvider_Asserted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fresh := func(asserted bool) bool {
		in := signInOf(google("1"), ada)
		in.Asserted, in.MarketingOptIn = asserted, true
		_, err := w.SignInByProvider(t.Context(), in)
		require.NoError(t, err)
		return one[bool](t, w, `SELECT auth_time > 'epoch' FROM sessions WHERE id = $1`, in.Session.ID)
	}
	require.True(t, fresh(true), "nobody special")
	require.Equal(t, 1, w.count(t, "accounts WHERE marketing_opt_in"))
	w.exec(t, `UPDATE accounts SET roles = '{user,admin}', marketing_opt_in = false`)
	require.False(t, fresh(true))
	require.True(t, fresh(false))
	require.Zero(t, w.count(t, "accounts WHERE marketing_opt_in"), "a returning person's wish stays")
}

// PRE-09: whoever comes first makes the account, by whichever way; with it come one bonus and no orphans.
func TestPRE09_RaceOfEverySignUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		email, subject := fmt.Sprintf("user%d@example.com", round), fmt.Sprint("subject ", round)
		_, ch := w.proven(t, email)
		registration := w.park(t, account.SignupByRegister, email, named(fmt.Sprint("user", round)))
		errs := race(crowd, func(i int) error {
			var err error
			switch i % 3 {
			case 0:
				_, err = w.SignInByProvider(t.Context(), signInOf(google(subject), email))
			case 1:
				_, err = w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
			default:
				_, err = w.Register(t.Context(), store.Registration{Attempt: registration.ID, SessionTTL: sessionTTL, Bonus: bonus})
			}
			return err
		})
		winners(t, errs, account.ErrAccountExists, account.ErrEmailExists, account.ErrNotFound, account.ErrInvalidCode)
		require.Equal(t, 1, w.count(t, "accounts WHERE email = $1", email))
		require.Equal(t, 1, w.count(t, "accounts WHERE email = $1 AND email_verified_at IS NOT NULL", email))
		w.requireInvariants(t)
	}
}
