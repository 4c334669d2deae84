package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	verifyDevicePath = "/api/v1/account/device/verify"
	devicesPath      = "/api/v1/account/devices"
)

// X13: the documented bodies, and two members more while a second step is due.
func TestLoginsThatOweASecondStep(t *testing.T) {
	t.Parallel()
	for path, login := range map[string]struct {
		body, required, token, rights string
		full, pending                 any
	}{
		"/v1/users/authenticate": {
			`{"username":"ada","password":"p"}`, "mfaRequired", "deviceVerificationToken", "roles", []any{"user", "admin"}, []any{"user"},
		},
		"/api/v1/auth/login": {
			`{"email":"a@example.com","password":"p"}`, "mfa_required", "device_verification_token", "is_admin", true, false,
		},
		"/api/v1/auth/oauth-signin": {
			`{"email":"a@example.com","provider":"google","provider_account_id":"1"}`, "mfa_required", "device_verification_token",
			"is_admin", true, false,
		},
	} {
		app := newApp(t)
		headers := []string{"X-Device-Id", "fp-1", "X-Device-Token", "ghd_1"}
		if path == "/api/v1/auth/oauth-signin" {
			headers = append(headers, "X-API-Key", goodKey)
		}
		got := app.send(t, "POST", path, login.body, headers...).json(t)
		require.NotContains(t, got, login.required)
		require.NotContains(t, got, login.token)
		require.Equal(t, login.full, got[login.rights])
		app.core.step, app.core.stepToken = account.StepDevice, "dvt_1"
		got = app.send(t, "POST", path, login.body, headers...).json(t)
		require.Equal(t, true, got[login.required])
		require.Equal(t, "dvt_1", got[login.token])
		require.Equal(t, login.pending, got[login.rights], "whoever knows the password alone is not told whose account it is")
		app.core.step, app.core.stepToken = account.StepFactor, ""
		got = app.send(t, "POST", path, login.body, headers...).json(t)
		require.Equal(t, true, got[login.required])
		require.NotContains(t, got, login.token, "an authenticator app is due, and no code is sent")
		shown := core.ShownDevice{ID: "fp-1", Token: "ghd_1"}
		switch in := app.core.called()[0].in.(type) {
		case core.LoginInput:
			require.Equal(t, shown, in.Device)
		case core.ProviderSignInInput:
			require.Equal(t, shown, in.Device)
		}
	}
}

func TestVerifyDevice(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", verifyDevicePath, `{"deviceVerificationToken":"dvt_1","otp":"482910","deviceId":"fp-1","deviceName":"iPhone 15 Pro","platform":"IOS"}`)
	enveloped(t, got, 200, "OK", "Device verified. Login successful.", `{"accessToken":"access","refreshToken":"refresh","deviceToken":"device",
		"onboarding":{"isPrimaryComplete":true,"hasUsername":true},"user":{"id":"`+accountID.String()+`","userName":"user123","firstName":"John"}}`)
	require.Equal(t, core.VerifyDeviceInput{
		Token: "dvt_1", Code: "482910", Device: account.ClientDevice{ID: "fp-1", Name: new("iPhone 15 Pro"), Platform: new("IOS")},
	}, app.core.called()[0].in)

	app.core.principal.Account.Username, app.core.principal.Account.OnboardingDone = nil, false
	app.core.principal.Account.Profile.FullName = new("  ")
	data := app.send(t, "POST", verifyDevicePath, `{"deviceVerificationToken":"dvt_1","otp":"482910","deviceId":"fp-1"}`).json(t)["data"].(map[string]any)
	require.Equal(t, map[string]any{"isPrimaryComplete": false, "hasUsername": false}, data["onboarding"])
	require.Equal(t, map[string]any{"id": accountID.String(), "userName": nil, "firstName": nil}, data["user"])

	for e, want := range map[*account.Error]struct {
		status  int
		message string
	}{
		account.ErrInvalidOTP: {403, "OTP is incorrect"}, account.ErrInvalidToken: {400, "Invalid or expired token"},
	} {
		app.core.fails = e
		got := app.send(t, "POST", verifyDevicePath, `{"deviceVerificationToken":"dvt_1","otp":"482910","deviceId":"fp-1"}`)
		requireFailure(t, "accountv1", want.status, got)
		require.Equal(t, want.message, got.json(t)["message"])
	}
	app.core.fails = nil
	missing := app.send(t, "POST", verifyDevicePath, `{}`)
	requireFailure(t, "accountv1", 422, missing)
	require.Equal(t, map[string]any{"deviceVerificationToken": "is required", "otp": "is required", "deviceId": "is required"}, missing.json(t)["data"])
}

func TestDevices(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const first = `"id":"6f1c0a52-9b0e-4f3e-8a54-0d6f4f0f2f0e","deviceId":"fp-1","deviceName":"iPhone 15 Pro","platform":"IOS",
		"lastUsedAt":"2026-05-19T10:30:45","createdAt":"2026-05-19T10:30:45"`
	second := `"id":"` + accountID.String() + `","deviceId":"fp-2","deviceName":null,"platform":null,
		"lastUsedAt":"2026-05-19T10:30:45","createdAt":"2026-05-19T10:30:45"`
	got := app.send(t, "GET", devicesPath, "", bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "Devices retrieved", `[{`+first+`},{`+second+`}]`)
	got = app.send(t, "GET", devicesPath, "", bearer, "Bearer "+goodToken, "X-Device-Id", "fp-2")
	enveloped(t, got, 200, "OK", "Devices retrieved", `[{`+first+`,"currentDevice":false},{`+second+`,"currentDevice":true}]`)

	got = app.send(t, "DELETE", devicesPath+"/"+sessionID.String(), "", bearer, "Bearer "+goodToken)
	enveloped(t, got, 200, "OK", "Device revoked", "null")
	require.Equal(t, core.RevokeDeviceInput{ID: sessionID.String()}, app.core.called()[2].in)
	app.core.fails = account.ErrNotFound
	got = app.send(t, "DELETE", devicesPath+"/"+sessionID.String(), "", bearer, "Bearer "+goodToken)
	requireFailure(t, "accountv1", 404, got)
	require.Equal(t, "Device not found", got.json(t)["message"])
	app.core.fails = account.ErrInvalid.On("device_key_id", "must be a UUID")
	got = app.send(t, "DELETE", devicesPath+"/x", "", bearer, "Bearer "+goodToken)
	requireFailure(t, "accountv1", 422, got)
	require.Equal(t, map[string]any{"deviceKeyId": "must be a UUID"}, got.json(t)["data"])
}
