package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func TestDeactivateAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com", named("ada"))
	other := w.member(t, "bob@example.com")
	second := w.session(t, signed.AccountID)
	require.NoError(t, w.storeKey(t, account.APIKey{ID: uuid.New(), AccountID: &signed.AccountID, Name: "ci"}, []byte("key")))
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end)
		VALUES ('sub', $1, 'premium_monthly', 'active', now(), now() + interval '1 month')`, signed.AccountID)
	w.sent(t, account.PurposeReset, "ada@example.com", &signed.AccountID)
	cred, err := w.CredentialsOf(t.Context(), "ada@example.com", "")
	require.NoError(t, err)
	const kept = `SELECT a.email || a.password_hash || a.created_at FROM accounts a WHERE id = $1`
	before := one[string](t, w, kept, signed.AccountID)

	require.NoError(t, w.DeactivateAccount(t.Context(), signed.AccountID, "a break"))

	for _, session := range []uuid.UUID{signed.SessionID, second} {
		_, err := w.PrincipalBySession(t.Context(), session)
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	require.Zero(t, w.count(t, `sessions WHERE account_id = $1 AND revoked_at IS NULL`, signed.AccountID))
	require.Zero(t, w.count(t, `api_keys WHERE revoked_at IS NULL`))
	require.Zero(t, w.count(t, `refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE account_id = $1)`, signed.AccountID))
	require.Zero(t, w.count(t, `challenges WHERE account_id = $1 AND consumed_at IS NULL AND superseded_at IS NULL`, signed.AccountID))
	require.Equal(t, "active", one[string](t, w, `SELECT status FROM subscriptions`), "its own flow pauses it")
	require.Equal(t, before, one[string](t, w, kept, signed.AccountID), "nothing is lost")
	require.True(t, one[bool](t, w, `
		SELECT is_locked AND NOT is_active AND deactivation_reason = 'a break' AND deactivated_at > now() - interval '1 minute'
		FROM accounts WHERE id = $1`, signed.AccountID))
	_, err = w.CredentialsOf(t.Context(), "ada@example.com", "")
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.RecoverableAccount(t.Context(), "ada@example.com", 0)
	require.ErrorIs(t, err, account.ErrNotFound)
	owner, err := w.OwnerOf(t.Context(), "ada@example.com")
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, owner.AccountID, "the address stays taken")
	require.ErrorIs(t, w.DeactivateAccount(t.Context(), signed.AccountID, ""), account.ErrNotFound, "it is already")
	_, err = w.byPassword(t, cred)
	require.ErrorIs(t, err, account.ErrNotFound, "a login that compared the password before makes no session")
	_, err = w.PrincipalBySession(t.Context(), other.SessionID)
	require.NoError(t, err, "nobody else is touched")
	_, err = w.DeactivatedAccount(t.Context(), "bob@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestReactivateAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	_, err := w.ReactivateAccount(t.Context(), signed.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound, "it is not deactivated")
	w.exec(t, `UPDATE accounts SET is_locked = true`)
	_, err = w.ReactivateAccount(t.Context(), signed.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound, "nor opens it what others have locked")
	w.exec(t, `UPDATE accounts SET is_locked = false`)

	require.NoError(t, w.DeactivateAccount(t.Context(), signed.AccountID, ""))
	late := w.session(t, signed.AccountID) // a login that was under way
	for _, name := range []string{"ada@example.com", signed.AccountID.String()} {
		found, err := w.DeactivatedAccount(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, signed.AccountID, found)
	}
	verified, err := w.ReactivateAccount(t.Context(), signed.AccountID)
	require.NoError(t, err)
	require.True(t, verified)
	for _, session := range []uuid.UUID{signed.SessionID, late} {
		_, err := w.PrincipalBySession(t.Context(), session)
		require.ErrorIs(t, err, account.ErrNotFound, "nobody is signed in")
	}
	_, err = w.CredentialsOf(t.Context(), "ada@example.com", "")
	require.NoError(t, err)
	_, err = w.PrincipalBySession(t.Context(), w.session(t, signed.AccountID))
	require.NoError(t, err)

	require.NoError(t, w.DeactivateAccount(t.Context(), signed.AccountID, ""))
	w.close(t, signed.AccountID)
	_, err = w.ReactivateAccount(t.Context(), signed.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound, "closed for good")
}

// Whatever happens to an account at the moment of its deactivation, nothing of it works afterwards, and nothing waits for
// something that waits for it.
func TestRace_DeactivateAccount(t *testing.T) {
	t.Parallel()
	for range *rounds {
		w := impatient(t, newWorld(t))
		signed := w.member(t, "ada@example.com")
		deactivations := make([]error, crowd)
		ch := w.sent(t, account.PurposeReset, "ada@example.com", &signed.AccountID)
		w.prove(t, ch, store.Proof{PasswordHash: "new"})
		errs := race(crowd, func(i int) error {
			switch i % 5 {
			case 0:
				_, err := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: signed.AccountID, Method: "password", TTL: time.Hour})
				return err
			case 1:
				return w.storeKey(t, account.APIKey{ID: uuid.New(), AccountID: &signed.AccountID, Name: "ci"}, []byte(uuid.NewString()))
			case 2:
				_, err := w.ResetPassword(t.Context(), ch.ID, bonus, toldOf(ch.ID))
				return err
			default:
				deactivations[i] = w.DeactivateAccount(t.Context(), signed.AccountID, "")
				return deactivations[i]
			}
		})
		winners(t, errs, account.ErrNotFound, account.ErrInvalidCode)
		won := 0
		for i := range deactivations {
			if i%5 > 2 && deactivations[i] == nil {
				won++
			}
		}
		require.Equal(t, 1, won)
		ids := one[[]uuid.UUID](t, w, `SELECT array_agg(id) FROM sessions`)
		for _, id := range ids {
			_, err := w.PrincipalBySession(t.Context(), id)
			require.ErrorIs(t, err, account.ErrNotFound)
		}
		_, err := w.ReactivateAccount(t.Context(), signed.AccountID)
		require.NoError(t, err)
		require.Zero(t, w.count(t, `sessions WHERE revoked_at IS NULL`))
		require.Zero(t, w.count(t, `api_keys WHERE revoked_at IS NULL`))
		w.requireInvariants(t)
	}
}
