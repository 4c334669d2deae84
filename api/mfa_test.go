package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	mfaSetup     = "/v1/auth/mfa/setup"
	mfaVerify    = "/v1/auth/mfa/verify"
	securityInfo = "/api/v1/account/security-info"
	twoFactorOn  = "/api/v1/account/2fa/enable"
	twoFactorOff = "/api/v1/account/2fa/disable"
	wrongCode    = "000000"
)

var signedIn = []string{bearer, "Bearer " + goodToken}

func TestSetupMFA(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for _, body := range []string{"", "{}"} {
		got := app.send(t, "POST", mfaSetup, body, signedIn...)
		require.Equal(t, 200, got.Status, got.Body)
		require.Equal(t, "JBSWY3DPEHPK3PXP", got.json(t)["secretKey"])
		require.Equal(t, "otpauth://totp/Gatehouse:user@example.com", got.json(t)["qrCodeUrl"])
		require.Len(t, got.json(t)["backupCodes"], 10)
	}
	for _, one := range []struct {
		fails   *account.Error
		code    string
		message string
	}{
		{account.ErrTwoFactorEnabled, "two_factor_enabled", "An authenticator app is in use. Turn two-factor authentication off first."},
		{account.ErrReauthenticationRequired, "reauthentication_required", "Sign in again to do this."},
		{account.ErrEmailNotVerified, "email_not_verified", "Verify your email address first."},
	} {
		app.core.fails = one.fails
		got := app.send(t, "POST", mfaSetup, "", signedIn...)
		require.Equal(t, one.code, requireFailure(t, "usersv1", 403, got))
		require.Equal(t, one.message, got.json(t)["message"])
		require.NotContains(t, got.Body, "JBSWY3DPEHPK3PXP", "security.md MFA-05")
	}
	app.core.fails = nil
	app.core.principal.Session.State = account.SessionPending
	require.Equal(t, "mfa_required", requireFailure(t, "usersv1", 403, app.send(t, "POST", mfaSetup, "", signedIn...)))
	requireFailure(t, "usersv1", 401, app.send(t, "POST", mfaSetup, "", bearer, "Bearer "+goodKey))
}

func TestVerifyMFA(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", mfaVerify, `{"code":"123456","rememberDevice":true}`, signedIn...)
	require.JSONEq(t, `{"isValid":true,"deviceToken":"ghd_token","expiresAt":"2026-05-19T10:30:45Z"}`, got.Body)
	require.Equal(t, core.VerifyMFAInput{Code: "123456", RememberDevice: true}, app.core.called()[0].in)
	got = app.send(t, "POST", mfaVerify, `{"code":"123456"}`, signedIn...)
	require.JSONEq(t, `{"isValid":true,"deviceToken":null,"expiresAt":null}`, got.Body)
	got = app.send(t, "POST", mfaVerify, `{"code":"`+wrongCode+`","rememberDevice":true}`, signedIn...)
	require.Equal(t, 200, got.Status, "a wrong code is an answer")
	require.JSONEq(t, `{"isValid":false,"deviceToken":null,"expiresAt":null}`, got.Body)

	require.Equal(t, "invalid_request", requireFailure(t, "usersv1", 400, app.send(t, "POST", mfaVerify, `{"code":""}`, signedIn...)))
	require.Equal(t, "invalid_request", requireFailure(t, "usersv1", 400, app.send(t, "POST", mfaVerify, `{"code":123456}`, signedIn...)))
	requireFailure(t, "usersv1", 401, app.send(t, "POST", mfaVerify, `{"code":"123456"}`))
	app.core.fails = account.ErrTooManyRequests.After(900e9)
	got = app.send(t, "POST", mfaVerify, `{"code":"123456"}`, signedIn...)
	require.Equal(t, "too_many_requests", requireFailure(t, "usersv1", 429, got))
	require.Equal(t, "900", got.Header.Get("Retry-After"))

	// A login that owes its second step gets as far as here.
	app.core.fails = nil
	app.core.principal.Session.State = account.SessionPending
	require.Equal(t, 200, app.send(t, "POST", mfaVerify, `{"code":"123456"}`, signedIn...).Status)
}

func TestTwoFactorSwitch(t *testing.T) {
	t.Parallel()
	const body = `{"password":"MyStr0ngP@ss!"}`
	for path, one := range map[string]struct {
		operation, message string
		state              *account.Error
		refusal            string
	}{
		twoFactorOn: {
			"EnableTwoFactor", "Two-factor authentication enabled successfully", account.ErrTwoFactorEnabled,
			"Two-factor authentication is already enabled",
		},
		twoFactorOff: {
			"DisableTwoFactor", "Two-factor authentication disabled successfully", account.ErrTwoFactorNotEnabled,
			"Two-factor authentication is not enabled",
		},
	} {
		app := newApp(t)
		got := app.send(t, "POST", path, body, signedIn...)
		require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"`+one.message+`","action_time":"2026-05-19T10:30:45","data":null}`, got.Body)
		require.Equal(t, one.operation, app.core.called()[0].operation)
		require.Equal(t, core.TwoFactorInput{Password: "MyStr0ngP@ss!"}, app.core.called()[0].in)

		requireFailure(t, "accountv1", 401, app.send(t, "POST", path, body))
		got = app.send(t, "POST", path, `{"password":""}`, signedIn...)
		requireFailure(t, "accountv1", 422, got)
		require.Equal(t, map[string]any{"password": "is required"}, got.json(t)["data"])
		for fails, want := range map[*account.Error]struct {
			status  int
			message string
		}{
			account.ErrInvalidPassword: {403, "Password is incorrect"}, one.state: {400, one.refusal},
			account.ErrReauthenticationRequired: {403, "Sign in again to do this."},
		} {
			app.core.fails = fails
			got = app.send(t, "POST", path, body, signedIn...)
			requireFailure(t, "accountv1", want.status, got)
			require.Equal(t, want.message, got.json(t)["message"])
			require.Equal(t, want.message, got.json(t)["data"])
		}
	}
}

func TestSecurityInfo(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "GET", securityInfo, "", signedIn...)
	require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"Security information retrieved successfully",
		"action_time":"2026-05-19T10:30:45","data":{"isEmailVerified":true,"isPhoneVerified":true,"isTwoFactorEnabled":false,
		"isAccountLocked":false,"lastPasswordChange":"2026-05-19T11:30:45","accountCreatedAt":"2026-05-19T10:30:45",
		"roles":["ROLE_USER","ROLE_ADMIN"],"securityStrength":{"score":50,"level":"MEDIUM",
		"description":"Your account security is good but can be improved",
		"recommendations":["Enable two-factor authentication"]}}}`, got.Body)
	app.core.principal.Account.TwoFactor = true
	got = app.send(t, "GET", securityInfo, "", signedIn...)
	require.Contains(t, got.Body, `"recommendations":[]`)
	requireFailure(t, "accountv1", 401, app.send(t, "GET", securityInfo, ""))
}
