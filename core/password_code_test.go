package core

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const nextPassword = "another-long-phrase"

// guarded is a world in which codes can be asked for and guessed.
func guarded(t *testing.T) world {
	t.Helper()
	w := newWorld(t)
	p := &w.Policy
	p.CodeTTL, p.CodeTries, p.CodeTriesPerHour, p.CodeTriesPerDay, p.ProofLease = 10*time.Minute, 5, 10, 20, 10*time.Second
	p.SendGap, p.SendsPerHour, p.SendsPerDay, p.ContactAge = time.Minute, 5, 10, 24*time.Hour
	p.GuessesLoseStepUp, p.GuessesEndSession = 5, 10
	return w
}

// code is a live code of a session, as its flow would have made it.
func (w world) code(t *testing.T, by account.Caller) (challenge uuid.UUID, code string) {
	t.Helper()
	owner, session, err := current(by)
	require.NoError(t, err)
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposePasswordChange, Subject: w.Keys.Subject(string(account.PurposePasswordChange), owner.String()),
		AccountID: &owner, SessionID: &session, Channel: account.ChannelEmail, Destination: "ada@example.com", CodeTTL: time.Hour,
	}
	_, err = w.Store.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	code = w.Keys.Code(n.ID)
	_, err = w.Store.StoreCode(t.Context(), n.ID, w.Keys.CodeHash(n.ID, code), nil)
	require.NoError(t, err)
	return n.ID, code
}

func otherThan(code string) string {
	return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)
}

func requireFields(t *testing.T, err error, want map[string]string) {
	t.Helper()
	var e *account.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, account.ErrInvalid.Code, e.Code)
	got := map[string]string{}
	for _, f := range e.Fields {
		got[f.Name] = f.Message
	}
	require.Equal(t, want, got)
}

func TestNewPasswordsAreJudgedBeforeAnySecret(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	challenge, code := w.code(t, by)
	temp := w.Keys.TempToken(account.PurposePasswordChange, challenge)
	differ := NewPassword{New: nextPassword, Confirm: nextPassword + "x"}
	for _, do := range []func() error{
		func() error {
			_, err := w.ReplacePassword(t.Context(), by, ReplacePasswordInput{Current: "wrong", NewPassword: differ})
			return err
		},
		func() error {
			_, err := w.ReplacePassword(t.Context(), by, ReplacePasswordInput{OTP: code, NewPassword: differ})
			return err
		},
		func() error {
			_, err := w.ChangePasswordByCode(t.Context(), by, ChangePasswordByCodeInput{TempToken: temp, OTP: code, NewPassword: differ})
			return err
		},
		func() error { _, err := w.SetPassword(t.Context(), by, differ); return err },
	} {
		for range 12 {
			require.ErrorIs(t, do(), account.ErrPasswordMismatch)
		}
	}
	live, err := w.Store.LiveChallenge(t.Context(), account.PurposePasswordChange, w.passwordGuess(by, by.Principal.Account.ID, by.Principal.Session.ID).Subject)
	require.NoError(t, err)
	require.Zero(t, live.Attempts)

	_, err = w.ReplacePassword(t.Context(), by, ReplacePasswordInput{OTP: "12345", NewPassword: NewPassword{New: "short", Confirm: " "}})
	requireFields(t, err, map[string]string{
		"otp": "must be exactly 6 characters", "new_password": "Password must be at least 8 characters", "confirm_password": "must not be blank",
	})
	_, err = w.ChangePasswordByCode(t.Context(), by, ChangePasswordByCodeInput{})
	requireFields(t, err, map[string]string{
		"temp_token": "must not be blank", "otp": "is required", "new_password": "is required", "confirm_password": "must not be blank",
	})
	_, err = w.SetPassword(t.Context(), by, NewPassword{New: "ada@example.com", Confirm: "ada@example.com"})
	requireFields(t, err, map[string]string{"new_password": "must not be your email or name"})
	// Composed or decomposed is the same password, typed twice.
	require.NoError(t, NewPassword{New: "cafe\u0301-for-everyone", Confirm: "caf\u00e9-for-everyone"}.settled(account.ErrInvalid))
}

// Neither a proof nor a new sign-in would help who has a password already.
func TestAddPassword_ExistingOneIsToldFirst(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	for name, change := range map[string]func(p *account.Principal){
		"fresh":        func(*account.Principal) {},
		"stale":        func(p *account.Principal) { p.Session.AuthTime = time.Time{} },
		"not verified": func(p *account.Principal) { p.Account.EmailVerified = false },
	} {
		p := *by.Principal
		p.Session = new(*p.Session)
		change(&p)
		caller := account.Caller{Principal: &p}
		_, err := w.AddPassword(t.Context(), caller, AddPasswordInput{Password: "another-long-phrase"})
		require.ErrorIs(t, err, account.ErrPasswordExists, name)
		_, err = w.SetPassword(t.Context(), caller, NewPassword{New: "another-long-phrase", Confirm: "another-long-phrase"})
		require.ErrorIs(t, err, account.ErrPasswordExists, name)
	}
}

func TestReplacePasswordByTheCurrentOne(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	other, _ := w.login(t, "ada@example.com")
	mine, by := w.login(t, "ada@example.com")
	pair := NewPassword{New: nextPassword, Confirm: nextPassword}
	_, err := w.ReplacePassword(t.Context(), by, ReplacePasswordInput{Current: "wrong", NewPassword: pair})
	require.ErrorIs(t, err, account.ErrInvalidPassword)
	challenge, _ := w.code(t, by)
	set, err := w.ReplacePassword(t.Context(), by, ReplacePasswordInput{Current: ownPassword, OTP: "000000", NewPassword: pair})
	require.NoError(t, err, "where both are given the current password counts")
	require.True(t, set.HadPassword)
	w.requireDead(t, other.AccessToken)
	w.caller(t, mine.AccessToken)
	_, err = w.ChangePasswordByCode(t.Context(), by, ChangePasswordByCodeInput{
		TempToken: w.Keys.TempToken(account.PurposePasswordChange, challenge), OTP: w.Keys.Code(challenge), NewPassword: pair,
	})
	require.ErrorIs(t, err, account.ErrInvalidToken, "an open code dies with the password")
}

func TestSES13_WrongCodesCountAgainstTheSession(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	_, code := w.code(t, by)
	for range 5 {
		_, err := w.SignOutAll(t.Context(), by, OwnerProof{OTP: otherThan(code)})
		require.ErrorIs(t, err, account.ErrInvalidOTP)
	}
	again := w.caller(t, in.AccessToken)
	require.ErrorIs(t, w.requireFresh(again), account.ErrReauthenticationRequired)
	_, err := w.Reauthenticate(t.Context(), by, OwnerProof{OTP: code})
	require.ErrorIs(t, err, account.ErrInvalidOTP, "OTP-01: the right one, too late")
	_, err = w.Reauthenticate(t.Context(), by, OwnerProof{Password: ownPassword})
	require.NoError(t, err)
	require.NoError(t, w.requireFresh(w.caller(t, in.AccessToken)))
	for range 4 {
		_, err := w.SignOutAll(t.Context(), by, OwnerProof{OTP: otherThan(code)})
		require.ErrorIs(t, err, account.ErrInvalidOTP)
	}
	_, err = w.SignOutAll(t.Context(), by, OwnerProof{OTP: code})
	require.ErrorIs(t, err, account.ErrTooManyRequests, "ten an hour, whatever they are for")
}

// Temporal is away: the right code is proven, and the change is owed to whoever repeats it.
func TestRightCodeWithoutTemporalChangesNothing(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	_, code := w.code(t, by)
	_, err := w.SignOutAll(t.Context(), by, OwnerProof{OTP: code})
	require.Equal(t, account.Unavailable, account.AsError(err).Kind, "%v", err)
	w.caller(t, in.AccessToken)
	_, err = w.SendPasswordCode(t.Context(), by, SendPasswordCodeInput{Channel: "EMAIL"})
	require.Equal(t, account.Unavailable, account.AsError(err).Kind, "%v", err)
	_, err = w.SendPasswordCode(t.Context(), by, SendPasswordCodeInput{Channel: "SMS"})
	require.ErrorIs(t, err, account.ErrNoVerifiedPhone)
	_, err = w.SendPasswordCode(t.Context(), by, SendPasswordCodeInput{Channel: "sms"})
	requireFields(t, err, map[string]string{"channel": "must be one of SMS, WHATSAPP, EMAIL, SMS_AND_WHATSAPP"})
}

func TestMarkedSessions(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	w.member(t, "eve@example.com")
	_, first := w.login(t, "ada@example.com")
	_, second := w.login(t, "ada@example.com")
	_, foreign := w.login(t, "eve@example.com")
	id := first.Principal.Session.ID.String()
	got, err := w.MarkedSessions(t.Context(), second, MarkedSessionsInput{Mark: &id})
	require.NoError(t, err)
	require.Equal(t, first.Principal.Session.ID, got.Marked.ID, "what the client says, and not its token")
	require.Equal(t, first.Principal.Session.ID, got.Sessions[0].ID)
	require.Equal(t, new("Berlin, Germany"), got.Sessions[0].Location)
	upper := strings.ToUpper(id)
	got, err = w.MarkedSessions(t.Context(), second, MarkedSessionsInput{Mark: &upper})
	require.NoError(t, err)
	require.NotNil(t, got.Marked)
	none := foreign.Principal.Session.ID.String()
	for _, mark := range []*string{nil, &none} {
		got, err = w.MarkedSessions(t.Context(), second, MarkedSessionsInput{Mark: mark})
		require.NoError(t, err)
		require.Nil(t, got.Marked)
		require.NotEmpty(t, got.Sessions)
	}
	for _, odd := range []string{"x", strings.ReplaceAll(id, "-", ""), "{" + id + "}", "urn:uuid:" + id} {
		_, err = w.MarkedSessions(t.Context(), second, MarkedSessionsInput{Mark: &odd})
		requireFields(t, err, map[string]string{"X-Session-Id": "must be a UUID"})
	}
	_, err = w.MarkedSessions(t.Context(), account.Caller{}, MarkedSessionsInput{})
	require.ErrorIs(t, err, account.ErrUnauthorized)
}

func TestSignOuts(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.member(t, "ada@example.com")
	w.member(t, "eve@example.com")
	mine, by := w.login(t, "ada@example.com")
	other, second := w.login(t, "ada@example.com")
	third, last := w.login(t, "ada@example.com")
	theirs, foreign := w.login(t, "eve@example.com")
	id := func(c account.Caller) *string { return new(c.Principal.Session.ID.String()) }
	good := OwnerProof{Password: ownPassword}

	_, err := w.SignOut(t.Context(), by, SignOutInput{})
	require.ErrorIs(t, err, account.ErrSessionIDRequired)
	_, err = w.SignOut(t.Context(), by, SignOutInput{SessionID: id(foreign)})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.SignOut(t.Context(), by, SignOutInput{SessionID: id(second)})
	require.NoError(t, err)
	w.requireDead(t, other.AccessToken)

	_, err = w.SignOutOthers(t.Context(), by, SignOutOthersInput{OwnerProof: good})
	require.ErrorIs(t, err, account.ErrSessionIDRequired)
	_, err = w.SignOutOthers(t.Context(), by, SignOutOthersInput{SessionID: new("x")})
	requireFields(t, err, map[string]string{"X-Session-Id": "must be a UUID", "password": "password or otp is required"})
	for _, kept := range []*string{id(last), id(foreign)} {
		_, err = w.SignOutOthers(t.Context(), by, SignOutOthersInput{SessionID: kept, OwnerProof: good})
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	_, err = w.SignOutOthers(t.Context(), by, SignOutOthersInput{SessionID: id(by), OwnerProof: OwnerProof{Password: "wrong"}})
	require.ErrorIs(t, err, account.ErrInvalidPassword)
	w.caller(t, third.AccessToken)
	_, err = w.SignOutOthers(t.Context(), by, SignOutOthersInput{SessionID: id(by), OwnerProof: good})
	require.NoError(t, err)
	w.requireDead(t, third.AccessToken)

	_, err = w.RevokeSession(t.Context(), by, SessionInput{ID: "sess_1"})
	requireFields(t, err, map[string]string{"session_id": "must be a UUID"})
	_, err = w.RevokeSession(t.Context(), by, SessionInput{ID: *id(foreign)})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.SignOutAll(t.Context(), by, OwnerProof{})
	requireFields(t, err, map[string]string{"password": "password or otp is required"})
	_, err = w.SignOutAll(t.Context(), by, good)
	require.NoError(t, err)
	w.requireDead(t, mine.AccessToken)
	w.caller(t, theirs.AccessToken)
	_, err = w.Reauthenticate(t.Context(), by, good)
	require.ErrorIs(t, err, account.ErrUnauthorized, "an ended session stays ended")
}
