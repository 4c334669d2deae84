package core

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// deviceWorld is a world with a member and the policy of devices.
func deviceWorld(t *testing.T) (world, account.Caller) {
	t.Helper()
	w := newWorld(t)
	w.Policy.CodeTTL, w.Policy.CodeTries, w.Policy.ProofLease = 10*time.Minute, 5, 10*time.Second
	w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay = 10, 20
	w.Policy.SendGap, w.Policy.SendsPerHour, w.Policy.SendsPerDay = time.Minute, 5, 10
	w.Policy.DeviceTTL, w.Policy.TrustedDevices, w.Policy.PendingTTL = 30*24*time.Hour, 20, 5*time.Minute
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	return w, by
}

// trusted makes a trusted device and returns it with its token.
func (w world) trusted(t *testing.T, by account.Caller, name string) (account.TrustedDevice, string) {
	t.Helper()
	trust, token := w.newTrust(by.Principal.Account.ID, account.ClientDevice{ID: name})
	d, err := w.Store.TrustDevice(t.Context(), trust)
	require.NoError(t, err)
	return d, token
}

func (w world) enter(t *testing.T, password string, device ShownDevice) (SignIn, error) {
	t.Helper()
	return w.Login(t.Context(), client, LoginInput{Identifier: "ada@example.com", Password: password, Device: device})
}

// LOG-03: what others guess does not keep a trusted device waiting; what is guessed on it does.
func TestLOG03_TrustedDevicesDoNotWaitForStrangers(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	_, token := w.trusted(t, by, "laptop")
	for range w.Policy.LoginFreeFailures {
		_, err := w.enter(t, "wrong", ShownDevice{})
		require.ErrorIs(t, err, account.ErrInvalidCredentials)
	}
	_, err := w.enter(t, ownPassword, ShownDevice{})
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	_, err = w.enter(t, ownPassword, ShownDevice{Token: "ghd_forged"})
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	in, err := w.enter(t, ownPassword, ShownDevice{Token: token})
	require.NoError(t, err)
	require.Equal(t, account.StepNone, in.SecondStep)
	_, err = w.enter(t, ownPassword, ShownDevice{})
	require.ErrorIs(t, err, account.ErrTooManyRequests, "the owner's success does not help the strangers")
	for range w.Policy.LoginFreeFailures {
		_, err := w.enter(t, "wrong", ShownDevice{Token: token})
		require.ErrorIs(t, err, account.ErrInvalidCredentials)
	}
	_, err = w.enter(t, ownPassword, ShownDevice{Token: token})
	require.ErrorIs(t, err, account.ErrTooManyRequests)
}

func TestDeviceTokensAreTakenFromEitherHeader(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	d, token := w.trusted(t, by, "laptop")
	for _, shown := range []ShownDevice{{Token: token}, {ID: "another-name", Token: token}, {ID: token}} {
		in, err := w.enter(t, ownPassword, shown)
		require.NoError(t, err)
		require.Equal(t, account.StepNone, in.SecondStep)
		require.Empty(t, in.StepToken)
		require.Equal(t, account.SessionActive, in.Principal.Session.State)
		require.Equal(t, d.Client, in.Principal.Session.Client, "the session is called as the device")
	}
	for _, id := range []string{strings.Repeat("x", 201), "a\nb"} {
		_, err := w.enter(t, ownPassword, ShownDevice{ID: id})
		require.ErrorIs(t, err, account.ErrInvalid)
	}
	// A challenge is due, and nobody can be asked to send it: nothing is let in.
	for _, shown := range []ShownDevice{{}, {ID: "new"}, {Token: token + "x"}, {Token: token[:len(token)-1]}, {Token: strings.Repeat("ghd_", 100)}} {
		_, err := w.enter(t, ownPassword, shown)
		require.Equal(t, account.Unavailable, account.AsError(err).Kind, "%v", err)
	}
	w.Policy.SendGap = time.Microsecond
	for n := range w.Policy.SendsPerHour {
		_, err := w.enter(t, ownPassword, ShownDevice{ID: "new"})
		want := account.Unavailable
		if n == w.Policy.SendsPerHour-1 {
			want = account.TooMany
		}
		require.Equal(t, want, account.AsError(err).Kind, "five codes an hour: %v", err)
	}
}

// A thief who knows the password uses up what an account may be sent and may try for unknown devices: with another password that
// counts no more.
func TestForgive_OwnersDoNotWaitForAThief(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	w.Policy.SendGap = time.Microsecond
	owner, email := by.Principal.Account.ID, "ada@example.com"
	tries := func() error {
		return w.Store.TakeQuota(t.Context(), w.guessQuota(account.PurposeDevice, owner.String()), w.Policy.GuessQuotas())
	}
	login := func(password string) error {
		_, err := w.Login(t.Context(), client, LoginInput{Identifier: email, Password: password, Device: ShownDevice{ID: "new"}})
		return err
	}
	for range w.Policy.SendsPerHour {
		_ = login(ownPassword)
	}
	require.ErrorIs(t, login(ownPassword), account.ErrTooManyRequests)
	for range w.Policy.CodeTriesPerHour {
		require.NoError(t, tries())
	}
	require.ErrorIs(t, tries(), account.ErrTooManyRequests)
	const next = "another whole sentence 9"
	_, err := w.ChangePassword(t.Context(), by, ChangePasswordInput{Current: ownPassword, New: next})
	require.NoError(t, err)
	require.Equal(t, account.Unavailable, account.AsError(login(next)).Kind, "a code is due again, which no flow sends here")
	require.ErrorIs(t, tries(), account.ErrTooManyRequests, "a password that is known opens no new guesses at mailed codes")
	for range w.Policy.LoginFreeFailures {
		_ = login("wrong")
	}
	require.ErrorIs(t, login(next), account.ErrTooManyRequests)
	w.forgive(t.Context(), owner, &email, nil, w.guessQuota(account.PurposeDevice, owner.String()))
	require.Equal(t, account.Unavailable, account.AsError(login(next)).Kind)
	require.NoError(t, tries(), "the mailbox does")
	w.forgive(t.Context(), owner, nil, new("")) // an account without an address
}

// A password that is set is answered as set, though what it ends cannot be ended now.
func TestChangePassword_IsAnsweredOnceItIsSet(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	quota := func(ctx context.Context, s *store.Store) error {
		return s.TakeQuota(ctx, w.sendKey(account.PurposeDevice, "ada@example.com"), w.Policy.GuessQuotas())
	}
	require.NoError(t, quota(t.Context(), w.Store))
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- w.Store.InTx(context.WithoutCancel(t.Context()), func(ctx context.Context, tx *store.Store) error {
			err := quota(ctx, tx)
			close(held)
			<-free
			return err
		})
	}()
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 2*refundTime)
	defer cancel()
	const next = "another whole sentence 9"
	_, err := w.ChangePassword(ctx, by, ChangePasswordInput{Current: ownPassword, New: next})
	close(free)
	require.NoError(t, err)
	require.NoError(t, <-done)
}

func TestDevices(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	d, _ := w.trusted(t, by, "laptop")
	list, err := w.Devices(t.Context(), by, DevicesInput{Current: "laptop"})
	require.NoError(t, err)
	require.Equal(t, DeviceList{Devices: []account.TrustedDevice{d}, Current: "laptop"}, list)
	for _, id := range []string{"", "x", "'; --", d.ID.URN(), strings.ReplaceAll(d.ID.String(), "-", "")} {
		_, err = w.RevokeDevice(t.Context(), by, RevokeDeviceInput{ID: id})
		require.ErrorIs(t, err, account.ErrInvalid)
	}
	_, err = w.RevokeDevice(t.Context(), by, RevokeDeviceInput{ID: uuid.NewString()})
	require.ErrorIs(t, err, account.ErrNotFound)
	w.member(t, "eve@example.com")
	_, eve := w.login(t, "eve@example.com")
	_, err = w.RevokeDevice(t.Context(), eve, RevokeDeviceInput{ID: d.ID.String()})
	require.ErrorIs(t, err, account.ErrNotFound, "MFA-15")
	_, err = w.RevokeDevice(t.Context(), by, RevokeDeviceInput{ID: d.ID.String()})
	require.NoError(t, err)
	list, err = w.Devices(t.Context(), by, DevicesInput{})
	require.NoError(t, err)
	require.Empty(t, list.Devices)

	d, _ = w.trusted(t, by, "laptop")
	_, err = w.Logout(t.Context(), by, None{})
	require.NoError(t, err)
	_, err = w.RevokeDevice(t.Context(), by, RevokeDeviceInput{ID: d.ID.String()})
	require.ErrorIs(t, err, account.ErrUnauthorized, "its session has ended on the way")
}

// pendingLogin is a login that awaits its code, without the flow that would send it.
func (w world) pendingLogin(t *testing.T, by account.Caller) (token string, id uuid.UUID) {
	t.Helper()
	id = uuid.New()
	owner := by.Principal.Account.ID
	_, step, err := w.Store.OpenSession(t.Context(), store.NewSession{
		ID: id, AccountID: owner, Method: "password", TTL: w.Policy.SessionTTL, Client: account.ClientDevice{ID: "new"},
	}, w.gate(ShownDevice{}, id))
	require.NoError(t, err)
	require.Equal(t, account.StepDevice, step)
	_, err = w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: account.PurposeDevice, Subject: w.Keys.Subject(string(account.PurposeDevice), id.String()),
		AccountID: &owner, Channel: account.ChannelEmail, Destination: "ada@example.com", CodeTTL: w.Policy.CodeTTL,
	})
	require.NoError(t, err)
	_, err = w.Store.StoreCode(t.Context(), id, w.Keys.CodeHash(id, w.Keys.Code(id)), nil)
	require.NoError(t, err)
	return w.Keys.StepToken(id), id
}

func TestVerifyDeviceInput(t *testing.T) {
	t.Parallel()
	w, by := deviceWorld(t)
	_, err := w.VerifyDevice(t.Context(), client, VerifyDeviceInput{Device: account.ClientDevice{Name: new(strings.Repeat("x", 201)), Platform: new("a\nb")}})
	require.Len(t, account.AsError(err).Fields, 5, "all faults together")
	for _, code := range []string{"12345", "abcdef", "1234567", "１２３４５６"} {
		_, err := w.VerifyDevice(t.Context(), client, VerifyDeviceInput{Token: "dvt_x", Code: code, Device: account.ClientDevice{ID: "a"}})
		require.ErrorIs(t, err, account.ErrInvalid, code)
	}
	try := func(token, code string) error {
		_, err := w.VerifyDevice(t.Context(), client, VerifyDeviceInput{Token: token, Code: code, Device: account.ClientDevice{ID: "a"}})
		return err
	}
	token, id := w.pendingLogin(t, by)
	other, _ := w.pendingLogin(t, by)
	right := w.Keys.Code(id)
	require.ErrorIs(t, try("dvt_unknown", right), account.ErrInvalidToken)
	require.ErrorIs(t, try(other, right), account.ErrInvalidOTP, "MFA-13: the code of another login")
	wrong := "000000"
	if right == wrong {
		wrong = "000001"
	}
	for range w.Policy.CodeTries {
		require.ErrorIs(t, try(token, wrong), account.ErrInvalidOTP)
	}
	require.ErrorIs(t, try(token, right), account.ErrInvalidOTP, "five guesses, and no more")
	for range 3 {
		require.ErrorIs(t, try(token, right), account.ErrInvalidOTP)
	}
	again, id := w.pendingLogin(t, by)
	require.ErrorIs(t, try(again, w.Keys.Code(id)), account.ErrTooManyRequests, "another login brings no more guesses")
}
