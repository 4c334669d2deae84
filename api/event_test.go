package api_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const path = "/api/v1/auth/security-events"
	got := app.send(t, "GET", path+"?limit=7&cursor=12", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"status":"ok","next_cursor":"1","events":[
		{"id":"`+sessionID.String()+`","type":"password.changed","created_at":"`+created+`","network":"192.0.2.0/24","request_id":"r-1",
			"actor":{"kind":"session","id":"`+sessionID.String()+`","is_current":true},"details":{}},
		{"id":"`+accountID.String()+`","type":"account.created","created_at":"`+created+`","network":null,"request_id":null,
			"actor":{"kind":"visitor","id":null,"is_current":false},"details":{"method":"signup"}}]}`, got.Body)
	app.send(t, "GET", path, "", bearer, "Bearer "+goodToken)
	calls := app.core.called()
	require.Equal(t, core.SecurityEventsInput{Limit: new(int64(7)), Cursor: "12"}, calls[0].in)
	require.Equal(t, core.SecurityEventsInput{}, calls[1].in)
	for _, query := range []string{"limit=x", "limit=1&limit=2", "cursor=1&cursor=2"} {
		got := app.send(t, "GET", path+"?"+query, "", bearer, "Bearer "+goodToken)
		requireFailure(t, "authv1", 422, got)
	}
	require.Len(t, app.core.called(), 2)
}

// quiet says why what a route changes is not in the audit log.
type quiet string

const (
	asks    quiet = "it asks for a proof; what that allows is logged once it is shown"
	signsIn quiet = "sign-ins are in the login history"
	taste   quiet = "it protects nothing"
	push    quiet = "what a device is told opens nothing"
	payment quiet = "subscriptions have a history of their own"
	shows   quiet = "it says anew who is at the keyboard, for ten minutes"
)

// logged is what every route that can change something leaves in the audit log of an account.
var logged = map[string]any{
	"DELETE /api/v1/account/deactivate":                      account.EventAccountDeactivated,
	"POST /api/v1/account/device/verify":                     account.EventDeviceTrusted,
	"DELETE /api/v1/account/devices/:deviceKeyId":            account.EventDeviceRevoked,
	"POST /api/v1/account/link/email/initiate":               asks,
	"POST /api/v1/account/link/email/verify":                 account.EventEmailChanged,
	"DELETE /api/v1/account/link/email":                      account.EventEmailRemoved,
	"POST /api/v1/account/2fa/enable":                        account.EventFactorEnabled,
	"POST /api/v1/account/2fa/disable":                       account.EventFactorDisabled,
	"POST /api/v1/account/password/change":                   account.EventPasswordChanged,
	"POST /api/v1/account/password/change-with-otp/send-otp": asks,
	"POST /api/v1/account/password/change-with-otp/verify":   account.EventPasswordChanged,
	"POST /api/v1/account/password/set":                      account.EventPasswordAdded,
	"POST /api/v1/account/reauthenticate":                    shows,
	"POST /api/v1/account/link/oauth":                        account.EventProviderLinked,
	"DELETE /api/v1/account/link/oauth/:provider":            account.EventProviderUnlinked,
	"POST /api/v1/account/sessions/sign-out":                 account.EventSessionRevoked,
	"POST /api/v1/account/sessions/sign-out-others":          account.EventSessionsRevoked,
	"POST /api/v1/account/sessions/sign-out-all":             account.EventSessionsRevoked,
	"DELETE /api/v1/account/sessions/:sessionId":             account.EventSessionRevoked,
	"POST /api/v1/account/username/change":                   account.EventUsernameChanged,
	"DELETE /api/v1/auth/account":                            account.EventAccountClosed,
	"POST /api/v1/auth/account/undo-closure":                 account.EventAccountReopened,
	"POST /api/v1/auth/send-phone-verification":              asks,
	"POST /api/v1/auth/verify-phone":                         account.EventPhoneVerified,
	"POST /api/v1/auth/account-providers":                    account.EventProviderLinked,
	"DELETE /api/v1/auth/account-providers/:provider":        account.EventProviderUnlinked,
	"POST /api/v1/auth/linked-accounts/callback":             account.EventProviderLinked,
	"POST /api/v1/auth/linked-accounts/complete":             account.EventProviderLinked,
	"POST /api/v1/auth/linked-accounts/initiate":             asks,
	"POST /api/v1/auth/oauth-signin":                         account.EventAccountCreated,
	"DELETE /api/v1/auth/linked-accounts/:provider":          account.EventProviderUnlinked,
	"PATCH /api/v1/auth/me":                                  account.EventPhoneChanged,
	"POST /api/v1/auth/onboarding-event":                     taste,
	"PATCH /api/v1/auth/profile":                             asks,
	"POST /api/v1/auth/unlock-welcome-bonus":                 taste,
	"POST /api/v1/auth/welcome-shown":                        taste,
	"POST /api/v1/auth/complete-signup":                      account.EventAccountCreated,
	"POST /api/v1/auth/initiate-signup":                      asks,
	"POST /api/v1/auth/login":                                signsIn,
	"POST /api/v1/auth/send-verification-code":               asks,
	"POST /api/v1/auth/signup":                               asks,
	"POST /api/v1/auth/verify-code":                          account.EventEmailVerified,
	"POST /api/v1/auth/sessions/revoke":                      account.EventSessionRevoked,
	"POST /api/v1/auth/sessions/update-device-info":          taste,
	"DELETE /api/v1/auth/sessions":                           account.EventSessionsRevoked,
	"DELETE /api/v1/auth/sessions/:session_id":               account.EventSessionRevoked,
	"PATCH /api/v1/auth/sessions/:session_id/activity":       taste,
	"POST /api/v1/auth/api-keys":                             account.EventKeyCreated,
	"DELETE /api/v1/auth/api-keys/:id":                       account.EventKeyRevoked,
	"POST /api/v1/auth/change-password":                      account.EventPasswordChanged,
	"POST /api/v1/auth/add-password":                         account.EventPasswordAdded,
	"POST /api/v1/auth/forgot-password":                      asks,
	"POST /api/v1/auth/reset-password":                       account.EventPasswordReset,
	"POST /api/v1/auth/check-email":                          asks,
	"POST /v1/auth/google":                                   account.EventAccountCreated,
	"POST /v1/auth/google/authorize":                         asks,
	"POST /v1/auth/mfa/setup":                                asks,
	"POST /v1/auth/mfa/verify":                               account.EventFactorEnabled,
	"POST /v1/users/reset-password":                          asks,
	"PUT /v1/users/update-password":                          account.EventPasswordReset,
	"PUT /v1/users/passwords":                                account.EventPasswordChanged,
	"POST /v1/devicetokens":                                  push,
	"POST /v1/users/notifications/tokens/:token":             push,
	"POST /v1/users/notifications/tokens/:token/update":      push,
	"POST /v1/users/authenticate":                            signsIn,
	"POST /v1/users/register":                                account.EventAccountCreated,
	"POST /v1/users/logout":                                  account.EventSessionRevoked,
	"PUT /v1/users/confirm-email":                            account.EventEmailVerified,
	"POST /v1/users/refresh-token":                           account.EventSessionRevoked,
	"PATCH /v1/users/settings":                               taste,
	"PATCH /v1/users/dataproviders":                          taste,
}

// A route that is new here says what it leaves in the log, or why nothing.
func TestI12_EveryChangingRouteSaysWhatItLogs(t *testing.T) {
	t.Parallel()
	caused := map[account.EventName]bool{
		// By time, by commands of operators, or by a request about something else.
		account.EventAccountPurged: true, account.EventAccountErased: true, account.EventAccountReactivated: true,
		account.EventMembershipSet: true, account.EventMembershipRemoved: true, account.EventFactorLocked: true,
		account.EventBackupCodeUsed: true,
	}
	known := map[string]bool{}
	for _, r := range newApp(t).Routes() {
		if r.Dialect.Name == "site" || r.Method == "GET" {
			continue
		}
		name := r.Method + " " + r.Path
		what := logged[name]
		if what == nil && strings.HasPrefix(r.Path, "/v1/users/subscriptions") {
			what = payment
		}
		require.NotNil(t, what, "%s: say which event it leaves in the audit log, or why none", name)
		if event, ok := what.(account.EventName); ok {
			caused[event] = true
		}
		known[name] = true
	}
	for name := range logged {
		require.True(t, known[name], "%s is no route", name)
	}
	page, err := os.ReadFile("../docs/contract.md")
	require.NoError(t, err)
	for _, event := range account.EventNames() {
		require.True(t, caused[event], "nothing causes %s", event)
		require.Contains(t, string(page), "`"+string(event)+"`", "docs/contract.md")
	}
}
