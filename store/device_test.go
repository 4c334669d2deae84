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

const (
	deviceTTL  = 30 * 24 * time.Hour
	codeLife   = 21 * time.Minute
	factorLife = 5 * time.Minute
)

func phone(id string) account.ClientDevice {
	return account.ClientDevice{ID: id, Name: new("iPhone 15 Pro"), Platform: new("IOS")}
}

// trust makes a trusted device whose token hash is the name of its id.
func (w world) trust(t *testing.T, accountID uuid.UUID, client account.ClientDevice) account.TrustedDevice {
	t.Helper()
	id := uuid.New()
	d, err := w.TrustDevice(t.Context(), store.Trust{
		ID: id, AccountID: accountID, TokenHash: tokenOf(id), Client: client, TTL: deviceTTL, Most: 3,
	})
	require.NoError(t, err)
	return d
}

func tokenOf(id uuid.UUID) []byte { return []byte(id.String()) }

// enter signs in and returns the session and what it owes.
func (w world) enter(t *testing.T, accountID uuid.UUID, deviceHash []byte, client account.ClientDevice) (account.Session, account.SecondStep) {
	t.Helper()
	id := uuid.New()
	s, step, err := w.OpenSession(t.Context(), store.NewSession{
		ID: id, AccountID: accountID, Method: "password", TTL: sessionTTL, Client: client, RefreshHash: tokenOf(id), RefreshIdle: refreshIdle,
	}, store.Gate{DeviceHash: deviceHash, StepHash: []byte("step/" + id.String()), CodeLife: codeLife, FactorLife: factorLife})
	require.NoError(t, err)
	return s, step
}

// Design D7: when a second step is due.
func TestSecondStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.newcomer(t, "eve@example.com")
	step := func(accountID uuid.UUID, deviceHash []byte, client account.ClientDevice) account.SecondStep {
		session, step := w.enter(t, accountID, deviceHash, client)
		want := account.SessionActive
		if step != account.StepNone {
			want = account.SessionPending
			require.Equal(t, codeLife, session.ExpiresAt.Sub(session.CreatedAt))
		} else {
			require.Equal(t, sessionTTL, session.ExpiresAt.Sub(session.CreatedAt))
		}
		require.Equal(t, want, session.State)
		p, err := w.PrincipalBySession(t.Context(), session.ID)
		require.NoError(t, err)
		require.Equal(t, want, p.Session.State)
		return step
	}
	none := account.ClientDevice{}
	require.Equal(t, account.StepNone, step(ada.AccountID, nil, none), "documented requests never see a challenge")
	require.Equal(t, account.StepDevice, step(ada.AccountID, []byte("anything"), none), "a device that is trusted no more is known by its token")
	require.Equal(t, account.StepDevice, step(ada.AccountID, nil, phone("a")), "the client names its device")
	require.Equal(t, account.StepNone, step(eve.AccountID, nil, phone("a")), "an unverified account binds nothing")

	first := w.trust(t, ada.AccountID, phone("a"))
	require.Equal(t, account.StepDevice, step(ada.AccountID, nil, none), "the account has a trusted device")
	require.Equal(t, account.StepDevice, step(ada.AccountID, []byte("forged"), none))
	require.Equal(t, account.StepNone, step(ada.AccountID, tokenOf(first.ID), none))
	require.Equal(t, account.StepNone, step(ada.AccountID, tokenOf(first.ID), phone("b")), "the token is the trust, not the name")
	require.Equal(t, account.StepNone, step(eve.AccountID, tokenOf(first.ID), none), "the token of another account is nothing here")

	w.exec(t, `UPDATE accounts SET two_factor_enabled = true WHERE id = $1`, ada.AccountID)
	require.Equal(t, account.StepDevice, step(ada.AccountID, nil, none))
	require.Equal(t, account.StepNone, step(ada.AccountID, tokenOf(first.ID), none), "it skips the second factor")
	for name, end := range map[string]string{
		"expired": `UPDATE devices SET expires_at = now() WHERE id = $1`,
		"revoked": `UPDATE devices SET revoked_at = now() WHERE id = $1`,
	} {
		d := w.trust(t, ada.AccountID, phone(name))
		require.Equal(t, account.StepNone, step(ada.AccountID, tokenOf(d.ID), none))
		w.exec(t, end, d.ID)
		require.Equal(t, account.StepDevice, step(ada.AccountID, tokenOf(d.ID), none), name)
	}
}

func TestPendingSessionsAreLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	session, step := w.enter(t, ada.AccountID, nil, phone("a"))
	require.Equal(t, account.StepDevice, step)
	w.exec(t, `UPDATE sessions SET auth_time = now() - interval '1 hour' WHERE id = $1`, session.ID)

	rotation := store.Rotation{Hash: tokenOf(session.ID), Successor: []byte("next"), Grace: refreshGrace, Idle: refreshIdle}
	_, err := w.RotateRefresh(t.Context(), rotation)
	require.ErrorIs(t, err, account.ErrNotFound, "the refresh token of a pending session is inert")
	listed, err := w.Sessions(t.Context(), ada.AccountID, uuid.Nil, 10)
	require.NoError(t, err)
	require.NotContains(t, ids(listed), session.ID, "nobody is signed in there yet")
	require.Equal(t, 1, w.count(t, `login_history WHERE outcome = 'second_step' AND account_id = $1`, ada.AccountID))

	lift := store.Lift{AccountID: ada.AccountID, SessionID: session.ID, Method: "device_otp", TTL: sessionTTL}
	stranger := lift
	stranger.AccountID = eve.AccountID
	require.ErrorIs(t, w.LiftSession(t.Context(), stranger), account.ErrNotFound)
	require.NoError(t, w.LiftSession(t.Context(), lift))
	require.NoError(t, w.LiftSession(t.Context(), lift), "once more changes nothing")
	p, err := w.PrincipalBySession(t.Context(), session.ID)
	require.NoError(t, err)
	require.Equal(t, account.SessionActive, p.Session.State)
	require.Equal(t, sessionTTL, p.Session.ExpiresAt.Sub(p.Session.CreatedAt))
	require.WithinDuration(t, p.Session.CreatedAt, p.Session.AuthTime, time.Minute)
	require.NotNil(t, p.Session.FactorAt)
	require.Equal(t, phone("a"), p.Session.Client)
	require.Equal(t, 1, w.count(t, `login_history WHERE outcome = 'succeeded' AND method = 'device_otp' AND account_id = $1`, ada.AccountID))
	_, err = w.RotateRefresh(t.Context(), rotation)
	require.NoError(t, err, "with the second step the token works")

	ended, _ := w.enter(t, ada.AccountID, nil, phone("a"))
	w.exec(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, ended.ID)
	lift.SessionID = ended.ID
	require.ErrorIs(t, w.LiftSession(t.Context(), lift), account.ErrNotFound, "a pending session dies with its time")
	weak, _ := w.enter(t, ada.AccountID, nil, phone("a"))
	w.exec(t, `UPDATE sessions SET auth_time = 'epoch' WHERE id = $1`, weak.ID)
	lift.SessionID = weak.ID
	require.NoError(t, w.LiftSession(t.Context(), lift))
	require.Equal(t, 1, w.count(t, `sessions WHERE id = $1 AND auth_time = 'epoch'`, weak.ID), "a first step that was not enough stays so")
}

func TestTrustedDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	d := w.trust(t, ada.AccountID, phone("a"))
	require.Equal(t, phone("a"), d.Client)
	require.Equal(t, deviceTTL, d.ExpiresAt.Sub(d.CreatedAt))
	again, err := w.TrustDevice(t.Context(), store.Trust{ID: d.ID, AccountID: ada.AccountID, TokenHash: tokenOf(d.ID), Client: phone("a"), TTL: time.Hour, Most: 3})
	require.NoError(t, err)
	require.Equal(t, d, again)
	found, err := w.TrustedDevice(t.Context(), ada.AccountID, tokenOf(d.ID))
	require.NoError(t, err)
	require.Equal(t, d, found)
	_, err = w.TrustedDevice(t.Context(), eve.AccountID, tokenOf(d.ID))
	require.ErrorIs(t, err, account.ErrNotFound, "MFA-11: bound to its account")

	nameless := w.trust(t, ada.AccountID, account.ClientDevice{})
	require.Equal(t, nameless.ID.String(), nameless.Client.ID)
	renewed := w.trust(t, ada.AccountID, phone("a"))
	require.ElementsMatch(t, []uuid.UUID{nameless.ID, renewed.ID}, w.devices(t, ada.AccountID), "one trust for one name")
	w.exec(t, `UPDATE devices SET last_used_at = now() - interval '1 day' WHERE id = $1`, nameless.ID)
	b, c := w.trust(t, ada.AccountID, phone("b")), w.trust(t, ada.AccountID, phone("c"))
	require.Equal(t, []uuid.UUID{c.ID, b.ID, renewed.ID}, w.devices(t, ada.AccountID), "the one unused for longest made room")

	require.ErrorIs(t, w.RevokeDevice(t.Context(), eve.AccountID, b.ID), account.ErrNotFound, "MFA-15")
	require.NoError(t, w.RevokeDevice(t.Context(), ada.AccountID, b.ID))
	require.ErrorIs(t, w.RevokeDevice(t.Context(), ada.AccountID, b.ID), account.ErrNotFound)
	require.NoError(t, w.EnableTwoFactor(t.Context(), ada.AccountID, ada.SessionID))
	require.Empty(t, w.devices(t, ada.AccountID))
	w.exec(t, `UPDATE accounts SET is_locked = true WHERE id = $1`, ada.AccountID)
	_, err = w.TrustDevice(t.Context(), store.Trust{ID: uuid.New(), AccountID: ada.AccountID, TokenHash: []byte("x"), TTL: time.Hour, Most: 3})
	require.ErrorIs(t, err, account.ErrNotFound)
}

func (w world) devices(t *testing.T, accountID uuid.UUID) []uuid.UUID {
	t.Helper()
	list, err := w.Devices(t.Context(), accountID)
	require.NoError(t, err)
	found := []uuid.UUID{}
	for _, d := range list {
		found = append(found, d.ID)
	}
	return found
}

// MFA-11: the trust dies with the password, and with the account.
func TestMFA11_TrustDiesWithThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	w.trust(t, ada.AccountID, phone("a"))
	pending, _ := w.enter(t, ada.AccountID, nil, phone("b"))
	hash, err := w.PasswordOf(t.Context(), ada.AccountID)
	require.NoError(t, err)
	require.NoError(t, w.ChangePassword(t.Context(), store.PasswordChange{
		AccountID: ada.AccountID, Before: hash, After: "new", Keep: &ada.SessionID,
	}))
	require.Empty(t, w.devices(t, ada.AccountID))
	_, err = w.PrincipalBySession(t.Context(), pending.ID)
	require.ErrorIs(t, err, account.ErrNotFound)

	w.trust(t, ada.AccountID, phone("a"))
	_, err = w.CloseAccount(t.Context(), store.NewClosure{ID: uuid.New(), AccountID: ada.AccountID, TokenHash: []byte("undo"), Grace: time.Hour})
	require.NoError(t, err)
	require.Empty(t, w.devices(t, ada.AccountID))
}

func TestTrustDeviceRace_OneTrustForOneName(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds {
		ada := w.member(t, fmt.Sprintf("ada%d@example.com", round))
		errs := race(crowd, func(i int) error {
			id := uuid.New()
			_, err := w.TrustDevice(t.Context(), store.Trust{
				ID: id, AccountID: ada.AccountID, TokenHash: tokenOf(id), Client: phone(fmt.Sprint(i % 2)), TTL: deviceTTL, Most: 3,
			})
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Len(t, w.devices(t, ada.AccountID), 2)
	}
}

// Logins, revocations and a change of password at the same moment: once the change is made no trusted device is left, and no
// login enters by one.
func TestDeviceRace_NoTrustOutlivesThePassword(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds {
		ada := w.member(t, fmt.Sprintf("ada%d@example.com", round))
		d := w.trust(t, ada.AccountID, phone("a"))
		hash, err := w.PasswordOf(t.Context(), ada.AccountID)
		require.NoError(t, err)
		errs := race(crowd, func(i int) error {
			if i == crowd/2 {
				return w.ChangePassword(t.Context(), store.PasswordChange{AccountID: ada.AccountID, Before: hash, After: "new"})
			}
			id := uuid.New()
			_, _, err := w.OpenSession(t.Context(), store.NewSession{ID: id, AccountID: ada.AccountID, Method: "password", TTL: sessionTTL},
				store.Gate{DeviceHash: tokenOf(d.ID), StepHash: tokenOf(id), CodeLife: codeLife, FactorLife: factorLife})
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Empty(t, w.devices(t, ada.AccountID))
		require.Zero(t, w.count(t, `sessions WHERE account_id = $1 AND state = 'active' AND revoked_at IS NULL`, ada.AccountID),
			"who came before has been signed out, who came later owes the step")
	}
}

// 100 proofs of one second step: one lifts, and it is one success.
func TestLiftRace(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	ada := w.member(t, "ada@example.com")
	for range *rounds {
		session, _ := w.enter(t, ada.AccountID, nil, phone("a"))
		before := w.count(t, `login_history WHERE method = 'device_otp'`)
		errs := race(crowd, func(int) error {
			return w.LiftSession(t.Context(), store.Lift{AccountID: ada.AccountID, SessionID: session.ID, Method: "device_otp", TTL: sessionTTL})
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, before+1, w.count(t, `login_history WHERE method = 'device_otp'`))
	}
}
