package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// owing is a login of an account that awaits its code; the code has reached the provider.
func (w world) owing(t *testing.T, accountID uuid.UUID) uuid.UUID {
	t.Helper()
	session, step := w.enter(t, accountID, nil, phone("login"))
	require.Equal(t, account.StepDevice, step)
	id := session.ID
	_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: account.PurposeDevice, Subject: []byte("device/" + id.String()), AccountID: &accountID,
		Channel: account.ChannelEmail, Destination: "ada@example.com", CodeTTL: codeTTL,
	})
	require.NoError(t, err)
	_, err = w.StoreCode(t.Context(), id, codeHash(id), nil)
	require.NoError(t, err)
	_, err = w.MarkCodeSent(t.Context(), id, codeTTL, linkTTL)
	require.NoError(t, err)
	return id
}

func stepOf(session uuid.UUID) []byte { return []byte("step/" + session.String()) }

func guessOfLogin(key string) store.Guess {
	return store.Guess{Purpose: account.PurposeDevice, Tries: 5, Lease: 10 * time.Second, ProofKey: key}
}

func verified() store.VerifiedDevice {
	id := uuid.New()
	return store.VerifiedDevice{
		DeviceID: id, TokenHash: tokenOf(id), DeviceTTL: deviceTTL, Most: 20,
		RefreshHash: []byte("refresh/" + id.String()), RefreshIdle: refreshIdle, SessionTTL: sessionTTL,
		Told: toldOf(id),
	}
}

func TestVerifyDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	id := w.owing(t, ada.AccountID)
	login, err := w.LoginByStep(t.Context(), stepOf(id), "")
	require.NoError(t, err)
	require.Equal(t, store.PendingLogin{SessionID: id, AccountID: ada.AccountID}, login)
	_, err = w.VerifyDevice(t.Context(), id, verified())
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")

	require.NoError(t, w.Prove(t.Context(), id, guessOfLogin("key"), store.Proof{Device: phone("laptop")}))
	v := verified()
	done, err := w.VerifyDevice(t.Context(), id, v)
	require.NoError(t, err)
	require.Equal(t, store.ChallengeResult{AccountID: ada.AccountID, SessionID: id, DeviceID: v.DeviceID}, done)
	again, err := w.VerifyDevice(t.Context(), id, verified())
	require.NoError(t, err)
	require.Equal(t, done, again)
	w.requireTold(t, ada.AccountID, v.DeviceID)
	p, err := w.PrincipalBySession(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, account.SessionActive, p.Session.State)
	require.Equal(t, phone("laptop"), p.Session.Client, "it is called as the proof says")
	require.Equal(t, []uuid.UUID{v.DeviceID}, w.devices(t, ada.AccountID))
	_, err = w.RotateRefresh(t.Context(), store.Rotation{Hash: tokenOf(id), Successor: []byte("x"), Grace: refreshGrace, Idle: refreshIdle})
	require.ErrorIs(t, err, account.ErrNotFound, "the token of the first step is gone, and its use is no theft")
	_, err = w.RotateRefresh(t.Context(), store.Rotation{Hash: v.RefreshHash, Successor: []byte("y"), Grace: refreshGrace, Idle: refreshIdle})
	require.NoError(t, err)

	_, err = w.LoginByStep(t.Context(), stepOf(id), "")
	require.ErrorIs(t, err, account.ErrNotFound, "single use")
	_, err = w.LoginByStep(t.Context(), stepOf(id), "another key")
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.LoginByStep(t.Context(), stepOf(id), "key")
	require.NoError(t, err, "the request that used it may be repeated")
}

func TestLoginsThatNoCodeFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, end := range map[string]string{
		"expired code":    `UPDATE challenges SET code_expires_at = now() WHERE id = $1`,
		"expired session": `UPDATE sessions SET expires_at = now() WHERE id = $1`,
		"revoked session": `UPDATE sessions SET revoked_at = now() WHERE id = $1`,
		"locked account":  `UPDATE accounts SET is_locked = true WHERE id = (SELECT account_id FROM sessions WHERE id = $1)`,
		"an app meanwhile": `INSERT INTO totp_factors (account_id, secret, confirmed_at)
			SELECT account_id, 'sealed', now() FROM sessions WHERE id = $1`,
		"another factor meanwhile": `UPDATE sessions SET state = 'active', factor_at = now() WHERE id = $1`,
	} {
		owner := w.member(t, fmt.Sprintf("%s@example.com", uuid.NewString()))
		id := w.owing(t, owner.AccountID)
		require.NoError(t, w.Prove(t.Context(), id, guessOfLogin(""), store.Proof{Device: phone("laptop")}))
		w.exec(t, end, id)
		if name != "an app meanwhile" {
			_, err := w.LoginByStep(t.Context(), stepOf(id), "")
			require.ErrorIs(t, err, account.ErrNotFound, name)
		}
		if name != "expired code" { // a code proven in its last second counts
			_, err := w.VerifyDevice(t.Context(), id, verified())
			require.ErrorIs(t, err, account.ErrInvalidCode, name)
			require.Empty(t, w.devices(t, owner.AccountID), name)
			require.Zero(t, w.count(t, `challenges WHERE id = $1 AND consumed_at IS NOT NULL`, id), name)
		}
	}
}

// 100 proofs of one login, while its password is changed: at most one device is trusted, and none after the change.
func TestVerifyDeviceRace(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds {
		ada := w.member(t, fmt.Sprintf("ada%d@example.com", round))
		id := w.owing(t, ada.AccountID)
		proofs := race(crowd, func(int) error {
			return w.Prove(t.Context(), id, guessOfLogin(""), store.Proof{Device: phone("laptop")})
		})
		require.Equal(t, 1, winners(t, proofs, account.ErrNotFound))
		errs := race(crowd, func(int) error {
			_, err := w.VerifyDevice(t.Context(), id, verified())
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Len(t, w.devices(t, ada.AccountID), 1)
		require.Equal(t, 1, w.count(t, `refresh_tokens WHERE session_id = $1`, id))

		id = w.owing(t, ada.AccountID)
		require.NoError(t, w.Prove(t.Context(), id, guessOfLogin(""), store.Proof{Device: phone("tablet")}))
		hash, err := w.PasswordOf(t.Context(), ada.AccountID)
		require.NoError(t, err)
		errs = race(2, func(i int) error {
			if i == 0 {
				return w.ChangePassword(t.Context(), store.PasswordChange{AccountID: ada.AccountID, Before: hash, After: "new"})
			}
			_, err := w.VerifyDevice(t.Context(), id, verified())
			return err
		})
		winners(t, errs, account.ErrInvalidCode)
		require.Empty(t, w.devices(t, ada.AccountID), "whoever came first")
	}
}

func TestTakeQuotaOnceRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quotas := []account.Quota{{Max: 3, Per: time.Hour}}
	for round := range *rounds {
		key := fmt.Appendf(nil, "key%d", round)
		errs := race(crowd, func(i int) error {
			return w.TakeQuotaOnce(t.Context(), fmt.Appendf(nil, "occasion%d/%d", round, i%10), key, quotas)
		})
		won := winners(t, errs, account.ErrTooManyRequests)
		require.Equal(t, 30, won, "ten each of three occasions")
		require.Equal(t, 3, one[int](t, w, `SELECT cardinality(hits) FROM quotas WHERE key = $1`, key))
	}
}
