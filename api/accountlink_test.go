package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const linkOAuth = "/api/v1/account/link/oauth"

// enveloped is what document D wraps around an answer.
func enveloped(t *testing.T, got answer, status int, name, message, data string) {
	t.Helper()
	require.Equal(t, status, got.Status, got.Body)
	success := "false"
	if status == 200 {
		success = "true"
	}
	require.JSONEq(t, `{"success":`+success+`,"httpStatus":"`+name+`","message":"`+message+
		`","action_time":"2026-05-19T10:30:45","data":`+data+`}`, got.Body)
}

func TestLinkOAuth(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", linkOAuth, `{"provider":"GOOGLE","idToken":"ya29.a0AfH6SMC..."}`, bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "GOOGLE linked successfully", `{"linked":true,"message":"GOOGLE linked successfully"}`)
	require.Equal(t, core.LinkByTokenInput{Provider: "GOOGLE", IDToken: "ya29.a0AfH6SMC..."}, app.core.called()[0].in)
}

func TestUnlinkOAuth(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "DELETE", linkOAuth+"/Apple", "", bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "APPLE unlinked", `{"unlinked":true,"message":"APPLE unlinked successfully"}`)
	require.Equal(t, core.UnlinkByNameInput{Provider: "Apple"}, app.core.called()[0].in)
}

func TestLinkEmail(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", "/api/v1/account/link/email/initiate", `{"email":"john@example.com"}`, bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "Verification code sent", `{"tempToken":"temp","maskedValue":"jo***@example.com","expiresIn":600,
		"linked":false,"message":"Verification code sent to jo***@example.com"}`)
	require.Equal(t, core.LinkEmailInput{Email: "john@example.com"}, app.core.called()[0].in)

	got = app.send(t, "POST", "/api/v1/account/link/email/verify", `{"tempToken":"temp","otp":"482910"}`, bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "Email linked successfully", `{"linked":true,"message":"Email linked successfully"}`)
	require.Equal(t, core.VerifyEmailLinkInput{TempToken: "temp", OTP: "482910"}, app.core.called()[1].in)
}

func TestUnlinkEmail(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "DELETE", "/api/v1/account/link/email", "", bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "Email unlinked", `{"unlinked":true,"message":"Email unlinked successfully"}`)
}

func TestAccountLinks_Refused(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		method, path, body string
		fails              *account.Error
		status             int
		name, message      string
	}{
		{"POST", "/oauth", `{"provider":"GOOGLE","idToken":"x"}`, account.ErrProviderConnected, 400, "BAD_REQUEST", "Provider already linked"},
		{
			"POST", "/oauth", `{"provider":"GOOGLE","idToken":"x"}`, account.ErrEmailConflict, 400, "BAD_REQUEST",
			"Email conflict with existing account",
		},
		{
			"POST", "/oauth", `{"provider":"GOOGLE","idToken":"x"}`, account.ErrReauthenticationRequired, 403, "FORBIDDEN",
			"Sign in again to do this.",
		},
		{"DELETE", "/oauth/google", "", account.ErrLastProvider, 400, "BAD_REQUEST", "Cannot unlink last auth provider"},
		{"POST", "/email/initiate", `{"email":"a@example.com"}`, account.ErrEmailExists, 400, "BAD_REQUEST", "Email already in use"},
		{"POST", "/email/verify", `{"tempToken":"x","otp":"482910"}`, account.ErrInvalidOTP, 403, "FORBIDDEN", "OTP is incorrect"},
		{"POST", "/email/verify", `{"tempToken":"x","otp":"482910"}`, account.ErrInvalidToken, 400, "BAD_REQUEST", "Invalid or expired token"},
		{"DELETE", "/email", "", account.ErrLastProvider, 400, "BAD_REQUEST", "Cannot unlink last auth provider"},
		{"DELETE", "/email", "", account.ErrNotFound, 400, "BAD_REQUEST", "No email is linked"},
		{"DELETE", "/email", "", account.ErrEmailNotVerified, 403, "FORBIDDEN", "Verify your email address first."},
		{"DELETE", "/oauth/google", "", account.ErrNotFound, 400, "BAD_REQUEST", "Provider is not linked"},
	} {
		app := newApp(t)
		app.core.fails = one.fails
		got := app.send(t, one.method, "/api/v1/account/link"+one.path, one.body, bearer, "Bearer "+goodToken)
		enveloped(t, got, one.status, one.name, one.message, `"`+one.message+`"`)
	}
}
