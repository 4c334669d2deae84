package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	changePassword   = "/api/v1/auth/change-password"
	addPassword      = "/api/v1/auth/add-password"
	forgotPassword   = "/api/v1/auth/forgot-password"
	resetPassword    = "/api/v1/auth/reset-password"
	securityOverview = "/api/v1/auth/security-overview"
	checkEmail       = "/api/v1/auth/check-email"
	checkEmailExists = "/api/v1/auth/check-email-exists"
)

func TestPasswords(t *testing.T) {
	t.Parallel()
	signedIn := []string{bearer, "Bearer " + goodToken}
	for path, one := range map[string]struct {
		body, answer string
		in           any
		headers      []string
	}{
		changePassword: {
			`{"current_password":"a","new_password":"b"}`, `{"status":"ok","message":"Password changed successfully"}`,
			core.ChangePasswordInput{Current: "a", New: "b", LetterAndNumber: true},
			signedIn,
		},
		addPassword: {`{"password":"a"}`, `{"message":"Password added successfully"}`, core.AddPasswordInput{Password: "a"}, signedIn},
		forgotPassword: {
			`{"email":"Ada@Example.com"}`, `{"message":"If an account exists for this email, a password reset link has been sent"}`,
			core.ForgotPasswordInput{Email: "Ada@Example.com"},
			nil,
		},
		resetPassword: {
			`{"token":"t","new_password":"b"}`, `{"message":"Password reset successfully"}`,
			core.ResetPasswordInput{Token: "t", New: "b"},
			nil,
		},
		checkEmail: {`{"email":"a"}`, `{"exists":true,"has_password":true}`, core.CheckEmailInput{Email: "a"}, nil},
	} {
		app := newApp(t)
		got := app.send(t, "POST", path, one.body, one.headers...)
		require.Equal(t, 200, got.Status, got.Body)
		require.JSONEq(t, one.answer, got.Body)
		require.Equal(t, one.in, app.core.called()[0].in, path)
	}
	app := newApp(t)
	got := app.send(t, "GET", checkEmailExists+"?email=a%40b.example", "")
	require.JSONEq(t, `{"status":"ok","exists":true,"has_password":true,"providers":["google"]}`, got.Body)
	require.Equal(t, core.CheckEmailInput{Email: "a@b.example"}, app.core.called()[0].in)
	require.Equal(t, 422, app.send(t, "GET", checkEmailExists, "").Status)
	got = app.send(t, "GET", securityOverview, "", signedIn...)
	require.JSONEq(t, `{"primary_method":"email","has_password":true,"linked_providers":[],"can_add_password":false,
		"email_verified":true}`, got.Body)
}

func TestDocumentedFailuresOfPasswords(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		path, body string
		fails      *account.Error
		status     int
		message    string
	}{
		{changePassword, `{"current_password":"a","new_password":"b"}`, account.ErrInvalidPassword, 400, "Current password is incorrect"},
		{addPassword, `{"password":"a"}`, account.ErrPasswordExists, 409, "Password already set"},
		{addPassword, `{"password":"a"}`, account.ErrReauthenticationRequired, 403, "Sign in again to do this."},
		{addPassword, `{"password":"a"}`, account.ErrEmailNotVerified, 403, "Verify your email address first."},
		{resetPassword, `{"token":"t","new_password":"b"}`, account.ErrInvalidToken, 400, "Invalid or expired token"},
	} {
		app := newApp(t)
		app.core.fails = one.fails
		got := app.send(t, "POST", one.path, one.body, bearer, "Bearer "+goodToken)
		require.Equal(t, one.fails.Code, requireFailure(t, "authv1", one.status, got))
		require.Equal(t, one.message, got.json(t)["message"])
	}
}

// X02: which document's rule judges a new password depends on the header that named the caller.
func TestChangePasswordKnowsItsDocument(t *testing.T) {
	t.Parallel()
	for header, keyHeader := range map[string]bool{"X-API-Key": true, bearer: false} {
		value := goodKey
		if header == bearer {
			value = "Bearer " + goodKey
		}
		app := newApp(t)
		app.send(t, "POST", changePassword, `{"current_password":"a","new_password":"b"}`, header, value)
		require.Equal(t, keyHeader, app.core.called()[0].by.KeyHeader, header)
	}
}
