package core

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

// app is an authenticator app: it shows the code of a moment.
func (w world) app(t *testing.T, key string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(key, at)
	require.NoError(t, err)
	return code
}

// guarded is a member with an authenticator app in use, whose code of this moment is used up.
func (w world) guarded(t *testing.T, email string) (SignIn, MFASetup) {
	t.Helper()
	w.member(t, email)
	in, by := w.login(t, email)
	setup, err := w.SetupMFA(t.Context(), by, None{})
	require.NoError(t, err)
	got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: w.app(t, setup.Secret, w.clock.Now())})
	require.NoError(t, err)
	require.Equal(t, MFAVerified{Valid: true}, got)
	return in, setup
}

func TestMFA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, setup := w.guarded(t, "ann@example.com")
	by := w.caller(t, in.AccessToken)
	require.True(t, by.Principal.Account.TwoFactor)
	require.Regexp(t, `^otpauth://totp/Gatehouse:ann@example.com\?.*secret=`+setup.Secret, setup.URL)
	require.Len(t, setup.BackupCodes, 10)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(setup.BackupCodes))), 10)
	valid := func(code string) bool {
		got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: code})
		require.NoError(t, err)
		return got.Valid
	}
	now := w.clock.Now()
	require.False(t, valid(w.app(t, setup.Secret, now)), "MFA-03: used")
	require.False(t, valid(w.app(t, setup.Secret, now.Add(-30*time.Second))), "MFA-03: before the used one")
	require.True(t, valid(" "+w.app(t, setup.Secret, now.Add(30*time.Second))+" "), "one step ahead")
	w.clock.ahead = time.Minute
	require.True(t, valid(w.app(t, setup.Secret, now.Add(time.Minute))))
	require.False(t, valid("12345"))
	require.False(t, valid(strings.Repeat("7", 1000)))
	require.True(t, valid(setup.BackupCodes[0]))
	require.False(t, valid(setup.BackupCodes[0]), "once")
	require.True(t, valid(strings.ToLower(strings.ReplaceAll(setup.BackupCodes[1], "-", ""))), "as it is typed")
	_, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: " "})
	require.ErrorIs(t, err, account.ErrInvalid)

	// MFA-05: an app in use is not replaced, and nothing of a new one is shown.
	refused, err := w.SetupMFA(t.Context(), by, None{})
	require.ErrorIs(t, err, account.ErrTwoFactorEnabled)
	require.Zero(t, refused)
	// MFA-09: what is kept opens under the account's name alone, and is no secret.
	f, err := w.Store.FactorOf(t.Context(), by.Principal.Account.ID)
	require.NoError(t, err)
	require.NotContains(t, string(f.Sealed), setup.Secret)
}

func TestSetupMFA_OfANamelessAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	in, by := w.login(t, "ann@example.com")
	id := by.Principal.Account.ID
	_, err := w.Store.LinkProvider(t.Context(), id, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	require.NoError(t, w.Store.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, time.Hour))
	by = w.caller(t, in.AccessToken)
	require.Empty(t, by.Principal.Account.DisplayUsername())
	setup, err := w.SetupMFA(t.Context(), by, None{})
	require.NoError(t, err)
	require.Contains(t, setup.URL, "otpauth://totp/Gatehouse:"+id.String()+"?")
	got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: w.app(t, setup.Secret, w.clock.Now())})
	require.NoError(t, err)
	require.True(t, got.Valid)
}

func TestMFA_WrongCodesWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, setup := w.guarded(t, "ann@example.com")
	by := w.caller(t, in.AccessToken)
	w.clock.ahead = time.Minute
	for range 5 {
		got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: "not a code"})
		require.NoError(t, err)
		require.Equal(t, MFAVerified{}, got)
	}
	for _, code := range []string{w.app(t, setup.Secret, w.clock.Now()), setup.BackupCodes[0], "not a code"} {
		got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: code, RememberDevice: true})
		require.ErrorIs(t, err, account.ErrTooManyRequests)
		require.InDelta(t, 15*time.Minute, account.AsError(err).RetryAfter, float64(time.Minute))
		require.Zero(t, got)
	}
}

func TestMFA_RememberedDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, setup := w.guarded(t, "ann@example.com")
	by := w.caller(t, in.AccessToken)
	by.Principal.Session.Client = account.ClientDevice{ID: "my-laptop"}
	w.clock.ahead = time.Minute
	wrong, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: "wrong", RememberDevice: true})
	require.NoError(t, err)
	require.Equal(t, MFAVerified{}, wrong)
	got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: w.app(t, setup.Secret, w.clock.Now()), RememberDevice: true})
	require.NoError(t, err)
	require.True(t, got.Valid)
	require.True(t, secret.IsDeviceToken(got.DeviceToken))
	require.InDelta(t, 30*24*time.Hour, time.Until(*got.ExpiresAt), float64(time.Minute))
	devices, err := w.Store.Devices(t.Context(), by.Principal.Account.ID)
	require.NoError(t, err)
	require.Len(t, devices, 1)
	require.Equal(t, "my-laptop", devices[0].Client.ID)
}

func TestTwoFactorSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	in, by := w.login(t, "ann@example.com")
	on := func(password string) error {
		_, err := w.EnableTwoFactor(t.Context(), by, TwoFactorInput{Password: password})
		by = w.caller(t, in.AccessToken)
		return err
	}
	off := func(password string) error {
		_, err := w.DisableTwoFactor(t.Context(), by, TwoFactorInput{Password: password})
		by = w.caller(t, in.AccessToken)
		return err
	}
	require.ErrorIs(t, on(""), account.ErrInvalid)
	require.ErrorIs(t, off(" "), account.ErrInvalid)
	require.ErrorIs(t, off("wrong"), account.ErrInvalidPassword, "password, then state")
	require.ErrorIs(t, off(ownPassword), account.ErrTwoFactorNotEnabled)
	require.ErrorIs(t, on("wrong"), account.ErrInvalidPassword)
	require.NoError(t, on(ownPassword))
	require.True(t, by.Principal.Account.TwoFactor)
	require.ErrorIs(t, on("wrong"), account.ErrInvalidPassword)
	require.ErrorIs(t, on(ownPassword), account.ErrTwoFactorEnabled)

	// An app takes the place of the mailed codes.
	setup, err := w.SetupMFA(t.Context(), by, None{})
	require.NoError(t, err)
	_, err = w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: w.app(t, setup.Secret, w.clock.Now())})
	require.NoError(t, err)

	// The factor must have been shown lately.
	by.Principal.Session.FactorAt = new(by.Principal.Session.ReadAt.Add(-10 * time.Minute))
	require.ErrorIs(t, off(ownPassword), account.ErrReauthenticationRequired)
	require.True(t, by.Principal.Account.TwoFactor)
	_, err = w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: setup.BackupCodes[0]})
	require.NoError(t, err)
	by = w.caller(t, in.AccessToken)
	require.NoError(t, off(ownPassword))
	require.False(t, by.Principal.Account.TwoFactor)
	got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: setup.BackupCodes[1]})
	require.NoError(t, err)
	require.False(t, got.Valid, "the backup codes went with the app")
	_, err = w.SetupMFA(t.Context(), by, None{})
	require.NoError(t, err)
}

func TestReauthenticateByApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, setup := w.guarded(t, "ann@example.com")
	by := w.caller(t, in.AccessToken)
	owner, session, err := current(by)
	require.NoError(t, err)
	w.clock.ahead = time.Minute
	var otherwise error = account.ErrInvalidOTP
	show := func(code string) error {
		use := store.FactorUse{AccountID: owner, Session: session, SessionTTL: time.Hour, Fresh: true}
		return w.byApp(t.Context(), account.Caller{}, use, code, func() error { return otherwise })
	}
	code := w.app(t, setup.Secret, w.clock.Now())
	require.NoError(t, show(code))
	require.ErrorIs(t, show(code), account.ErrInvalidOTP, "used")
	otherwise = nil
	for range 10 {
		require.NoError(t, show("000000"), "a code of the other kind, which costs the app nothing")
	}
	otherwise = account.ErrInvalidOTP
	for range 5 {
		require.ErrorIs(t, show("000000"), account.ErrInvalidOTP)
	}
	w.clock.ahead = 2 * time.Minute
	require.ErrorIs(t, show(w.app(t, setup.Secret, w.clock.Now())), account.ErrTooManyRequests, "it guards the app like B11")
	otherwise = nil
	require.NoError(t, show("000000"), "the other kind goes on")
	otherwise = account.ErrUnavailable
	require.ErrorIs(t, show("000000"), account.ErrUnavailable)

	// An app that waits for its first code proves nothing here.
	w.member(t, "bob@example.com")
	_, bob := w.login(t, "bob@example.com")
	waiting, err := w.SetupMFA(t.Context(), bob, None{})
	require.NoError(t, err)
	owner, session, err = current(bob)
	require.NoError(t, err)
	otherwise = account.ErrInvalidOTP
	for range 6 {
		require.ErrorIs(t, show(w.app(t, waiting.Secret, w.clock.Now())), account.ErrInvalidOTP)
	}
}

func TestMFA03_Race_OneOfAHundred(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, setup := w.guarded(t, "ann@example.com")
	by := w.caller(t, in.AccessToken)
	w.clock.ahead = time.Minute
	for _, code := range []string{w.app(t, setup.Secret, w.clock.Now()), setup.BackupCodes[0]} {
		var valid, failed atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: code})
				switch {
				case err != nil:
					failed.Add(1)
				case got.Valid:
					valid.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, valid.Load())
		require.Zero(t, failed.Load(), "whoever knows the code guesses nothing")
	}
}
