//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

const (
	pathMFASetup     = "/v1/auth/mfa/setup"
	pathMFAVerify    = "/v1/auth/mfa/verify"
	pathTwoFactorOn  = "/api/v1/account/2fa/enable"
	pathTwoFactorOff = "/api/v1/account/2fa/disable"
)

// TestMFA plays B10, B11 and D01 to D03 on one system.
func TestMFA(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"B10_B11_Enrolment":                enrolment,
		"D01_D02_D03_Switch":               twoFactorSwitch,
		"D13_ReauthenticateByApp":          reauthenticateByApp,
		"D13_ReauthenticateByMail":         reauthenticateByMail,
		"MFA-03_StepsIncrease":             oldFactorCodes,
		"MFA-04_FiveWrongCodes":            wrongFactorCodes,
		"MFA-05_OverwriteFactor":           overwriteFactor,
		"MFA-07_PendingSecret":             pendingFactor,
		"MFA-09_NothingIsReadableAgain":    readFactorAgain,
		"PRE-03_UnverifiedBindsNoFactor":   unverifiedFactor,
		"RST_ResetLeavesTheFactor":         resetLeavesFactor,
		"SupportDropsTheFactor":            supportDropsFactor,
		"C01_ErasedWithItsAccount":         factorOfClosed,
		"SES-13_DisableCountsWrongGuesses": guessAtDisable,
	})
}

// app is an authenticator app that somebody has set up.
type app struct {
	secret string
	backup []string
	token  string
	email  string
}

// code is what the app shows steps of 30 seconds from now.
func (a app) code(t testing.TB, steps int) string {
	t.Helper()
	code, err := totp.GenerateCode(a.secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	require.NoError(t, err)
	return code
}

func (s *system) setup(t testing.TB, token string) app {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathMFASetup, Token: token}).object(t)
	a := app{secret: got["secretKey"].(string), token: token}
	for _, code := range got["backupCodes"].([]any) {
		a.backup = append(a.backup, code.(string))
	}
	return a
}

func verify(token, code string) call {
	return call{Path: pathMFAVerify, Token: token, Body: fields{"code": code}}
}

func (s *system) valid(t testing.TB, token, code string) bool {
	t.Helper()
	return s.want(t, http.StatusOK, verify(token, code)).object(t)["isValid"].(bool)
}

// enrolled is somebody with an app whose code of now counts.
func (s *system) enrolled(t *testing.T) app {
	t.Helper()
	email := newEmail()
	a := s.setup(t, s.signUp(t, email))
	a.email = email
	require.True(t, s.valid(t, a.token, a.code(t, 0)))
	s.forgetSteps(t, email)
	return a
}

// forgetSteps lets the codes of this minute count once more: tests do not wait for the next one.
func (s *system) forgetSteps(t testing.TB, email string) {
	t.Helper()
	s.db.change(t, `UPDATE totp_factors SET last_step = 0 WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
}

// ageFactor makes the factor of all sessions of an account one that was shown long ago.
func (s *system) ageFactor(t *testing.T, email string) {
	t.Helper()
	s.db.change(t, `UPDATE sessions SET factor_at = now() - interval '11 minutes'
		WHERE factor_at IS NOT NULL AND account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
}

func (s *system) securityInfo(t *testing.T, token string) map[string]any {
	t.Helper()
	got := s.send(t, call{Path: pathSecurityInfo, Token: token})
	require.Equal(t, "Security information retrieved successfully", got.said(t, http.StatusOK))
	return got.data(t)
}

func enrolment(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	a := s.setup(t, token)
	require.Len(t, a.backup, 10)
	require.Equal(t, false, s.securityInfo(t, token)["isTwoFactorEnabled"], "an app that waits changes nothing")
	require.False(t, s.valid(t, token, a.backup[0]))
	require.False(t, s.valid(t, token, "000000"))
	got := s.want(t, http.StatusOK, verify(token, a.code(t, 0)))
	require.JSONEq(t, `{"isValid":true,"deviceToken":null,"expiresAt":null}`, string(got.Body))
	require.Equal(t, true, s.securityInfo(t, token)["isTwoFactorEnabled"])
	s.requireMail(t, email, "Two-factor authentication is on")

	require.True(t, s.valid(t, token, a.backup[3]))
	s.requireMail(t, email, "A backup code was used for your Gatehouse account")
	require.False(t, s.valid(t, token, a.backup[3]), "once")
	got = s.want(t, http.StatusOK, call{Path: pathMFAVerify, Token: token, Body: fields{"code": a.backup[4], "rememberDevice": true}})
	require.NotEmpty(t, got.text(t, "deviceToken"))
	require.NotEmpty(t, got.text(t, "expiresAt"))
	s.refused(t, http.StatusBadRequest, "invalid_request", verify(token, ""))
	s.refused(t, http.StatusUnauthorized, "unauthorized", verify(s.apiKey(t, token, "account:read"), a.backup[5]))

	// The same request under the same key has the same answer.
	again := call{Path: pathMFAVerify, Token: token, Key: "repeat-" + email, Body: fields{"code": a.backup[6]}}
	first := s.want(t, http.StatusOK, again).Body
	require.Equal(t, first, s.want(t, http.StatusOK, again).Body)
}

func twoFactorSwitch(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	turn := func(path, pass string) answer {
		return s.send(t, call{Path: path, Token: token, Body: fields{"password": pass}})
	}
	require.Equal(t, "Validation failed", turn(pathTwoFactorOn, " ").said(t, http.StatusUnprocessableEntity))
	require.Equal(t, "Password is incorrect", turn(pathTwoFactorOn, "wrong").said(t, http.StatusForbidden))
	require.Equal(t, "Password is incorrect", turn(pathTwoFactorOff, "wrong").said(t, http.StatusForbidden))
	require.Equal(t, "Two-factor authentication is not enabled", turn(pathTwoFactorOff, password).said(t, http.StatusBadRequest))
	require.Equal(t, "Two-factor authentication enabled successfully", turn(pathTwoFactorOn, password).said(t, http.StatusOK))
	require.Equal(t, "Two-factor authentication is already enabled", turn(pathTwoFactorOn, password).said(t, http.StatusBadRequest))
	info := s.securityInfo(t, token)
	require.Equal(t, true, info["isTwoFactorEnabled"])
	require.Equal(t, map[string]any{
		"score": 75.0, "level": "STRONG", "description": "Your account security is strong",
		"recommendations": []any{"Verify your phone number"},
	}, info["securityStrength"])
	s.requireMail(t, email, "Two-factor authentication is on")

	// Whoever has not shown the factor lately cannot turn it off, nor set up an app.
	s.ageFactor(t, email)
	require.Equal(t, "Sign in again to do this.", turn(pathTwoFactorOff, password).said(t, http.StatusForbidden))
	s.refused(t, http.StatusForbidden, "reauthentication_required", call{Method: http.MethodPost, Path: pathMFASetup, Token: token})
	s.db.change(t, `UPDATE sessions SET factor_at = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	a := s.setup(t, token)
	require.True(t, s.valid(t, token, a.code(t, 0)))
	require.Equal(t, "Two-factor authentication disabled successfully", turn(pathTwoFactorOff, password).said(t, http.StatusOK))
	s.requireMail(t, email, "Two-factor authentication is off")
	require.InDelta(t, 25, s.securityInfo(t, token)["securityStrength"].(map[string]any)["score"], 0)
	require.False(t, s.valid(t, token, a.backup[0]), "the backup codes are gone with the app")
}

func oldFactorCodes(t *testing.T, s *system) {
	a := s.enrolled(t)
	before, now := a.code(t, 0), a.code(t, 1)
	require.True(t, s.valid(t, a.token, now), "one step ahead")
	require.False(t, s.valid(t, a.token, now))
	require.False(t, s.valid(t, a.token, before), "a step before a used one")
	require.False(t, s.valid(t, a.token, a.code(t, 3)), "too far ahead")
}

func wrongFactorCodes(t *testing.T, s *system) {
	a := s.enrolled(t)
	for range 5 {
		require.False(t, s.valid(t, a.token, "000000"))
	}
	for _, code := range []string{a.code(t, 0), a.backup[0], "000000"} {
		got := s.refused(t, http.StatusTooManyRequests, "too_many_requests", verify(a.token, code))
		require.InDelta(t, 900, wait(t, got), 60)
	}
	s.db.change(t, `UPDATE totp_factors SET locked_until = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, a.email)
	require.True(t, s.valid(t, a.token, a.code(t, 0)))

	// A hundred at once are no more than five one by one.
	s.forgetSteps(t, a.email)
	var compared atomic.Int64
	atOnce(100, func(int) {
		got, err := s.try(t.Context(), verify(a.token, "000000"))
		if err == nil && got.Status == http.StatusOK {
			compared.Add(1)
		}
	})
	require.GreaterOrEqual(t, compared.Load(), int64(5))
	s.refused(t, http.StatusTooManyRequests, "too_many_requests", verify(a.token, a.code(t, 0)))
}

func overwriteFactor(t *testing.T, s *system) {
	a := s.enrolled(t)
	s.db.change(t, `UPDATE sessions SET auth_time = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, a.email)
	got := s.refused(t, http.StatusForbidden, "two_factor_enabled", call{Method: http.MethodPost, Path: pathMFASetup, Token: a.token})
	require.NotContains(t, string(got.Body), "secretKey")
	require.NotContains(t, string(got.Body), "backupCodes")
	s.ageFactor(t, a.email)
	s.refused(t, http.StatusForbidden, "reauthentication_required", call{Method: http.MethodPost, Path: pathMFASetup, Token: a.token})
	require.True(t, s.valid(t, a.token, a.code(t, 0)), "the old one stays")
}

func pendingFactor(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	first, second := s.setup(t, token), s.setup(t, token)
	require.False(t, s.valid(t, token, first.code(t, 0)))
	s.db.change(t, `UPDATE totp_factors SET expires_at = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	require.False(t, s.valid(t, token, second.code(t, 0)), "ten minutes are over")
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	require.NotContains(t, string(s.login(t, email, password).Body), "mfa_required", "nobody is locked out")
	third := s.setup(t, token)
	require.True(t, s.valid(t, token, third.code(t, 0)))
}

func readFactorAgain(t *testing.T, s *system) {
	a := s.enrolled(t)
	require.True(t, s.valid(t, a.token, a.backup[1]))
	for _, path := range []string{pathSecurityOverview, pathSecurityInfo, pathMe, pathDetails} {
		got := s.want(t, http.StatusOK, call{Path: path, Token: a.token})
		require.NotContains(t, string(got.Body), a.secret)
		require.NotContains(t, string(got.Body), a.backup[0])
	}
	secrets := []canary{{"TOTP secret", a.secret}}
	for _, code := range a.backup {
		secrets = append(secrets, canary{"backup code", code}, canary{"backup code", strings.ReplaceAll(code, "-", "")})
	}
	stored := dumpDatabase(t, s.db)
	logs := dump{}
	logs.text("log of the API", s.api.Output())
	logs.text("log of the worker", s.worker.Output())
	require.NotEmpty(t, stored.found(canary{"email", a.email}), "the search finds what is there")
	for _, one := range secrets {
		require.Empty(t, stored.found(one), one.name)
		require.Empty(t, logs.found(one), one.name)
	}
}

func unverifiedFactor(t *testing.T, s *system) {
	token := s.register(t, "user"+strings.ToLower(newEmail()[5:15]), newEmail())
	s.refused(t, http.StatusForbidden, "email_not_verified", call{Method: http.MethodPost, Path: pathMFASetup, Token: token})
	got := s.send(t, call{Path: pathTwoFactorOn, Token: token, Body: fields{"password": password}})
	require.Equal(t, "Verify your email address first.", got.said(t, http.StatusForbidden))
	require.Equal(t, "VERY_WEAK", s.securityInfo(t, token)["securityStrength"].(map[string]any)["level"])
}

func resetLeavesFactor(t *testing.T, s *system) {
	a := s.enrolled(t)
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, a.email, 1), newPassword).Status)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM totp_factors f JOIN accounts a ON a.id = f.account_id
		WHERE a.email = $1 AND a.two_factor_enabled AND f.confirmed_at IS NOT NULL`, a.email))
}

// supportDropsFactor helps an owner whose account a thief has given an app: a reset leaves it there.
func supportDropsFactor(t *testing.T, s *system) {
	a := s.enrolled(t)
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, a.email, 1), newPassword).Status)
	owed := s.login(t, a.email, newPassword).object(t)
	require.Equal(t, true, owed["mfa_required"], "the way in needs the app")
	pending := owed["session_token"].(string)
	require.Contains(t, s.stack.Command(t, nil, "accounts", "drop-factor", strings.ToUpper(a.email)), s.accountID(t, a.email))
	s.awaitNotice(t, a.email, "Two-factor authentication is off", 1)
	s.requireDead(t, pending)
	token := s.login(t, a.email, newPassword).text(t, "session_token")
	require.Equal(t, false, s.securityInfo(t, token)["isTwoFactorEnabled"])
	for who, words := range map[string]string{s.accountID(t, a.email): "off already", uuid.NewString(): "no account in use"} {
		_, err := s.stack.TryCommand(t, nil, "accounts", "drop-factor", who)
		require.ErrorContains(t, err, words)
	}
}

func factorOfClosed(t *testing.T, s *system) {
	a := s.enrolled(t)
	id := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, a.email)[0]
	s.want(t, http.StatusOK, closeWith(a.token, fields{"password": password}))
	s.refused(t, http.StatusUnauthorized, "unauthorized", verify(a.token, a.code(t, 0)))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM totp_factors WHERE account_id = $1::uuid`, id), "an undo must not drop the factor")
}

func guessAtDisable(t *testing.T, s *system) {
	a := s.enrolled(t)
	guess := call{Path: pathTwoFactorOff, Token: a.token, Body: fields{"password": "guess"}}
	for range 5 {
		require.Equal(t, "Password is incorrect", s.send(t, guess).said(t, http.StatusForbidden))
	}
	s.want(t, http.StatusTooManyRequests, guess)
	s.refused(t, http.StatusForbidden, "reauthentication_required", call{
		Path: pathAPIKeys, Token: a.token, Body: fields{"name": "k", "scopes": []string{"account:security"}},
	})
}

// staleSession lets everything that a session has shown be long ago.
func (s *system) staleSession(t *testing.T, email string) {
	t.Helper()
	s.db.change(t, `UPDATE sessions SET factor_at = now() - interval '11 minutes', auth_time = now() - interval '11 minutes'
		WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
}

// wantsStrongKey asks for what only a fresh session gets.
func wantsStrongKey(token string) call {
	return call{Path: pathAPIKeys, Token: token, Body: fields{"name": "k", "scopes": []string{"account:security"}}}
}

func reauthenticateByApp(t *testing.T, s *system) {
	a := s.enrolled(t)
	show := func(proof fields) answer {
		return s.send(t, call{Path: pathReauthenticate, Token: a.token, Body: proof})
	}
	s.staleSession(t, a.email)
	require.Equal(t, "Reauthenticated successfully", show(fields{"password": password}).said(t, http.StatusOK))
	s.refused(t, http.StatusForbidden, "reauthentication_required", wantsStrongKey(a.token))
	code := a.code(t, 0)
	require.Equal(t, "Reauthenticated successfully", show(fields{"otp": code}).said(t, http.StatusOK))
	s.want(t, http.StatusCreated, wantsStrongKey(a.token))
	require.Equal(t, "OTP is incorrect", show(fields{"otp": code}).said(t, http.StatusForbidden), "used")

	// Guesses here and in B11 are counted together.
	for range 3 {
		require.Equal(t, "OTP is incorrect", show(fields{"otp": "000000"}).said(t, http.StatusForbidden))
	}
	require.False(t, s.valid(t, a.token, "000000"))
	require.False(t, s.valid(t, a.token, "000000"))
	show(fields{"otp": a.code(t, 1)}).said(t, http.StatusTooManyRequests)
	s.refused(t, http.StatusTooManyRequests, "too_many_requests", verify(a.token, a.code(t, 1)))
}

func reauthenticateByMail(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, call{Path: pathTwoFactorOn, Token: token, Body: fields{"password": password}})
	s.staleSession(t, email)
	s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"password": password}})
	s.refused(t, http.StatusForbidden, "reauthentication_required", wantsStrongKey(token))
	_, code := s.newOTP(t, token, email, 1)
	s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}})
	s.want(t, http.StatusCreated, wantsStrongKey(token))
	got := s.send(t, call{Path: pathTwoFactorOff, Token: token, Body: fields{"password": password}})
	require.Equal(t, "Two-factor authentication disabled successfully", got.said(t, http.StatusOK))
}
