package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

var (
	sealed     = []byte("sealed secret")
	backupHash = []byte("hash of a backup code")
)

func (w world) beginFactor(t *testing.T, id uuid.UUID) {
	t.Helper()
	require.NoError(t, w.BeginFactor(t.Context(), store.NewFactor{
		AccountID: id, Sealed: sealed, BackupHashes: [][]byte{append([]byte(id.String()), backupHash...)}, TTL: 10 * time.Minute,
	}))
}

func backupOf(id uuid.UUID) []byte { return append([]byte(id.String()), backupHash...) }

// withApp is a member who has an authenticator app in use, whose last code was of step 100.
func (w world) withApp(t *testing.T, email string) account.Session {
	t.Helper()
	me := w.member(t, email)
	w.beginFactor(t, me.AccountID)
	_, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 100))
	require.NoError(t, err)
	w.exec(t, `UPDATE sessions SET factor_at = NULL, auth_time = now() - interval '1 hour' WHERE id = $1`, me.SessionID)
	return account.Session{ID: me.SessionID, AccountID: me.AccountID}
}

func stepUse(id, session uuid.UUID, step int64) store.FactorUse {
	return store.FactorUse{AccountID: id, Session: session, SessionTTL: sessionTTL, Sealed: sealed, Step: step, Confirm: true}
}

func (w world) twoFactor(t *testing.T, id uuid.UUID) bool {
	t.Helper()
	return one[bool](t, w, `SELECT two_factor_enabled FROM accounts WHERE id = $1`, id)
}

func (w world) shownFactor(t *testing.T, session uuid.UUID) bool {
	t.Helper()
	p, err := w.PrincipalBySession(t.Context(), session)
	require.NoError(t, err)
	return p.Session.FactorAt != nil && time.Since(*p.Session.FactorAt) < time.Minute
}

func TestSetUpFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	_, err := w.FactorOf(t.Context(), me.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound)

	w.beginFactor(t, me.AccountID)
	require.False(t, w.twoFactor(t, me.AccountID), "an app that waits locks nobody out")
	f, err := w.FactorOf(t.Context(), me.AccountID)
	require.NoError(t, err)
	require.Equal(t, store.Factor{Sealed: sealed}, f)
	found, err := w.HasBackupCode(t.Context(), me.AccountID, backupOf(me.AccountID))
	require.NoError(t, err)
	require.False(t, found, "its backup codes do not count yet")
	_, err = w.ShowFactor(t.Context(), store.FactorUse{AccountID: me.AccountID, Session: me.SessionID, BackupHash: backupOf(me.AccountID)})
	require.ErrorIs(t, err, account.ErrInvalidCode)

	unconfirmed := stepUse(me.AccountID, me.SessionID, 100)
	unconfirmed.Confirm = false
	_, err = w.ShowFactor(t.Context(), unconfirmed)
	require.ErrorIs(t, err, account.ErrInvalidCode, "a pending session sets up nothing")
	replaced := stepUse(me.AccountID, me.SessionID, 100)
	replaced.Sealed = []byte("the secret before")
	_, err = w.ShowFactor(t.Context(), replaced)
	require.ErrorIs(t, err, account.ErrInvalidCode)
	require.False(t, w.shownFactor(t, me.SessionID))

	shown, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 100))
	require.NoError(t, err)
	require.True(t, shown.Enabled)
	require.True(t, w.twoFactor(t, me.AccountID))
	require.True(t, w.shownFactor(t, me.SessionID))
	f, err = w.FactorOf(t.Context(), me.AccountID)
	require.NoError(t, err)
	require.Equal(t, store.Factor{Sealed: sealed, Confirmed: true, LastStep: 100}, f)

	require.ErrorIs(t, w.BeginFactor(t.Context(), store.NewFactor{AccountID: me.AccountID, Sealed: []byte("x"), TTL: time.Minute}),
		account.ErrTwoFactorEnabled)
	shown, err = w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 101))
	require.NoError(t, err)
	require.False(t, shown.Enabled)
	w.requireInvariants(t)
}

func TestMFA07_PendingFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	w.beginFactor(t, me.AccountID)
	// The newest counts alone, with its own codes.
	require.NoError(t, w.BeginFactor(t.Context(), store.NewFactor{
		AccountID: me.AccountID, Sealed: []byte("newer"), BackupHashes: [][]byte{[]byte("newer")}, TTL: 10 * time.Minute,
	}))
	require.Equal(t, 1, w.count(t, "backup_codes"))
	_, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 100))
	require.ErrorIs(t, err, account.ErrInvalidCode)
	// It waits ten minutes.
	w.exec(t, `UPDATE totp_factors SET expires_at = now()`)
	_, err = w.FactorOf(t.Context(), me.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound)
	use := stepUse(me.AccountID, me.SessionID, 100)
	use.Sealed = []byte("newer")
	_, err = w.ShowFactor(t.Context(), use)
	require.ErrorIs(t, err, account.ErrInvalidCode)
	require.False(t, w.twoFactor(t, me.AccountID))
	w.exec(t, `UPDATE totp_factors SET expires_at = now() - interval '25 hours'`)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Zero(t, w.count(t, "totp_factors")+w.count(t, "backup_codes"))
}

func TestMFA03_StepsIncrease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	for _, one := range []struct {
		step int64
		want error
	}{{100, account.ErrInvalidCode}, {99, account.ErrInvalidCode}, {102, nil}, {101, account.ErrInvalidCode}, {102, account.ErrInvalidCode}, {103, nil}} {
		_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, one.step))
		require.ErrorIs(t, err, one.want, one.step)
	}
	other := w.withApp(t, "eve@example.com")
	_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, other.ID, 104))
	require.ErrorIs(t, err, account.ErrNotFound, "a session of somebody else")
	f, err := w.FactorOf(t.Context(), s.AccountID)
	require.NoError(t, err)
	require.EqualValues(t, 103, f.LastStep, "a refused code is not used up")
	require.False(t, w.shownFactor(t, other.ID))
}

func TestMFA03_Race_SameCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	for round := range int64(*rounds) {
		errs := race(crowd, func(int) error {
			_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 200+round))
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrInvalidCode))
	}
}

func TestBackupCodeCountsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	other := w.withApp(t, "eve@example.com")
	found, err := w.HasBackupCode(t.Context(), s.AccountID, backupOf(s.AccountID))
	require.NoError(t, err)
	require.True(t, found)
	_, err = w.ShowFactor(t.Context(), store.FactorUse{AccountID: other.AccountID, Session: other.ID, BackupHash: backupOf(s.AccountID)})
	require.ErrorIs(t, err, account.ErrInvalidCode, "a code of somebody else")
	errs := race(crowd, func(int) error {
		_, err := w.ShowFactor(t.Context(), store.FactorUse{AccountID: s.AccountID, Session: s.ID, BackupHash: backupOf(s.AccountID)})
		return err
	})
	require.Equal(t, 1, winners(t, errs, account.ErrInvalidCode))
	require.True(t, w.shownFactor(t, s.ID))
	found, err = w.HasBackupCode(t.Context(), s.AccountID, backupOf(s.AccountID))
	require.NoError(t, err)
	require.True(t, found, "whoever shows it again does not guess")
	_, err = w.FactorOf(t.Context(), s.AccountID)
	require.NoError(t, err)
}

func TestWrongCodesLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	failed := func() {
		_, err := w.FactorFailed(t.Context(), s.AccountID, 5, 15*time.Minute)
		require.NoError(t, err)
	}
	for range 4 {
		failed()
	}
	_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 101))
	require.NoError(t, err, "a right one starts the count anew")
	for range 5 {
		_, err := w.FactorOf(t.Context(), s.AccountID)
		require.NoError(t, err)
		failed()
	}
	_, err = w.FactorOf(t.Context(), s.AccountID)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	require.InDelta(t, 15*time.Minute, account.AsError(err).RetryAfter, float64(10*time.Second))
	failed() // one that was compared at the same moment
	_, err = w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 102))
	require.ErrorIs(t, err, account.ErrInvalidCode, "the right code, too, has to wait")
	_, err = w.ShowFactor(t.Context(), store.FactorUse{AccountID: s.AccountID, Session: s.ID, BackupHash: backupOf(s.AccountID)})
	require.ErrorIs(t, err, account.ErrInvalidCode)
	w.exec(t, `UPDATE totp_factors SET locked_until = now()`)
	_, err = w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 102))
	require.NoError(t, err)
}

func TestMFA_Race_GuessesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		email := uuid.NewString() + "@example.com"
		s := w.withApp(t, email)
		// Every guess passed the look before; what any of them may tell is decided one by one.
		errs := race(crowd, func(i int) error {
			if i == crowd-1 {
				_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 101))
				return err
			}
			_, err := w.FactorFailed(t.Context(), s.AccountID, 5, time.Hour)
			return err
		})
		require.LessOrEqual(t, winners(t, errs[crowd-1:], account.ErrInvalidCode), 1)
		_, err := w.FactorOf(t.Context(), s.AccountID)
		require.ErrorIs(t, err, account.ErrTooManyRequests)
	}
}

func TestFactorEndsASecondStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	open := func(deviceHash []byte) (account.Session, account.SecondStep) {
		session, step, err := w.OpenSession(t.Context(), store.NewSession{
			ID: uuid.New(), AccountID: s.AccountID, Method: "password", TTL: sessionTTL,
		}, store.Gate{DeviceHash: deviceHash, StepHash: []byte("step"), CodeLife: 10 * time.Minute, FactorLife: 5 * time.Minute})
		require.NoError(t, err)
		return session, step
	}
	pending, step := open(nil)
	require.Equal(t, account.StepFactor, step, "no code is mailed where there is an app")
	require.Equal(t, account.SessionPending, pending.State)

	use := stepUse(s.AccountID, pending.ID, 101)
	use.Trust = &store.Trust{ID: uuid.New(), AccountID: s.AccountID, TokenHash: []byte("token"), TTL: time.Hour, Most: 20}
	shown, err := w.ShowFactor(t.Context(), use)
	require.NoError(t, err)
	require.Equal(t, use.Trust.ID, shown.Device.ID)
	require.InDelta(t, time.Hour, time.Until(shown.Device.ExpiresAt), float64(10*time.Second))
	p, err := w.PrincipalBySession(t.Context(), pending.ID)
	require.NoError(t, err)
	require.Equal(t, account.SessionActive, p.Session.State)
	require.True(t, w.shownFactor(t, pending.ID))
	require.InDelta(t, sessionTTL, time.Until(p.Session.ExpiresAt), float64(time.Minute))
	require.Equal(t, 1, w.count(t, "login_history WHERE method = 'totp' AND outcome = 'succeeded'"))

	trusted, step := open([]byte("token"))
	require.Equal(t, account.StepNone, step)
	require.False(t, w.shownFactor(t, trusted.ID), "the device stands for the factor at the door, and no further")

	// A refused code remembers nothing.
	use.Trust = &store.Trust{ID: uuid.New(), AccountID: s.AccountID, TokenHash: []byte("other"), TTL: time.Hour, Most: 20}
	_, err = w.ShowFactor(t.Context(), use)
	require.ErrorIs(t, err, account.ErrInvalidCode)
	require.Equal(t, 1, w.count(t, "devices WHERE revoked_at IS NULL"))

	// MFA-11: device tokens die with a change of the factor.
	require.NoError(t, w.DisableTwoFactor(t.Context(), s.AccountID))
	require.Zero(t, w.count(t, "devices WHERE revoked_at IS NULL"))
}

func TestMFA11_DevicesEndWithTheFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	trust := func(token string) {
		_, err := w.TrustDevice(t.Context(), store.Trust{
			ID: uuid.New(), AccountID: me.AccountID, TokenHash: []byte(token), TTL: time.Hour, Most: 20,
		})
		require.NoError(t, err)
		require.Equal(t, 1, w.count(t, "devices WHERE revoked_at IS NULL"))
	}
	trust("before two-factor authentication")
	require.NoError(t, w.EnableTwoFactor(t.Context(), me.AccountID, me.SessionID))
	require.Zero(t, w.count(t, "devices WHERE revoked_at IS NULL"))
	trust("by a mailed code")
	w.beginFactor(t, me.AccountID)
	require.Equal(t, 1, w.count(t, "devices WHERE revoked_at IS NULL"), "an app that waits changes nothing")
	_, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 1))
	require.NoError(t, err)
	require.Zero(t, w.count(t, "devices WHERE revoked_at IS NULL"))
}

func TestEnableTwoFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	errs := race(crowd, func(int) error { return w.EnableTwoFactor(t.Context(), me.AccountID, me.SessionID) })
	require.Equal(t, 1, winners(t, errs, account.ErrTwoFactorEnabled))
	require.True(t, w.twoFactor(t, me.AccountID))
	require.True(t, w.shownFactor(t, me.SessionID))

	// An app can still be set up: it takes the place of the email.
	w.beginFactor(t, me.AccountID)
	shown, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 1))
	require.NoError(t, err)
	require.True(t, shown.Enabled)

	unproven := w.newcomer(t, "new@example.com")
	require.ErrorIs(t, w.EnableTwoFactor(t.Context(), unproven.AccountID, unproven.SessionID), account.ErrNoSecondFactor)
	require.ErrorIs(t, w.EnableTwoFactor(t.Context(), uuid.New(), me.SessionID), account.ErrNotFound)
}

func TestDisableTwoFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	errs := race(crowd, func(int) error { return w.DisableTwoFactor(t.Context(), s.AccountID) })
	require.Equal(t, 1, winners(t, errs, account.ErrTwoFactorNotEnabled))
	require.False(t, w.twoFactor(t, s.AccountID))
	require.Zero(t, w.count(t, "totp_factors")+w.count(t, "backup_codes"))
	_, err := w.ShowFactor(t.Context(), stepUse(s.AccountID, s.ID, 500))
	require.ErrorIs(t, err, account.ErrInvalidCode)
	w.beginFactor(t, s.AccountID)
}

func TestRST_ResetLeavesTheFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.withApp(t, ada)
	link := w.resetLink(t, ada, s.AccountID)
	w.prove(t, link, store.Proof{PasswordHash: "new hash"})
	require.NoError(t, w.reset(t.Context(), link.ID))
	require.True(t, w.twoFactor(t, s.AccountID))
	f, err := w.FactorOf(t.Context(), s.AccountID)
	require.NoError(t, err)
	require.True(t, f.Confirmed)
	require.Equal(t, 1, w.count(t, "backup_codes WHERE used_at IS NULL"))
}

func TestEmailStaysWhileItIsTheSecondFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	w.linkGoogle(t, me.AccountID, "1")
	require.NoError(t, w.EnableTwoFactor(t.Context(), me.AccountID, me.SessionID))
	unlink := func() error { return w.UnlinkEmail(t.Context(), uuid.New(), me.AccountID, time.Hour, grace) }
	require.ErrorIs(t, unlink(), account.ErrNoSecondFactor)
	w.beginFactor(t, me.AccountID)
	require.ErrorIs(t, unlink(), account.ErrNoSecondFactor, "an app that waits is none")
	_, err := w.ShowFactor(t.Context(), stepUse(me.AccountID, me.SessionID, 1))
	require.NoError(t, err)
	require.NoError(t, unlink())
	require.NoError(t, w.DisableTwoFactor(t.Context(), me.AccountID))
	require.ErrorIs(t, w.EnableTwoFactor(t.Context(), me.AccountID, me.SessionID), account.ErrNoSecondFactor)
}
