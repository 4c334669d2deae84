package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

func TestPushTokens(t *testing.T) {
	t.Parallel()
	const devices, tokens = "/v1/devicetokens", "/v1/users/notifications/tokens/"
	app := newApp(t)
	send := func(path, body string) answer {
		return app.send(t, "POST", path, body, bearer, "Bearer "+goodToken)
	}
	const device = `{"userId":"a1b2c3d4-...","deviceToken":"firebase-token-123","os":"iOS"}`
	require.JSONEq(t, `{"message":"Device token registered"}`, app.send(t, "POST", devices, device).Body)
	send(devices, device)
	require.JSONEq(t, `{"message":"Notification token registered"}`, send(tokens+"a%3Ab%2Fc", "").Body)
	send(tokens+"x", `{"os":"Android"}`)
	require.JSONEq(t, `{"message":"Notification settings updated"}`, send(tokens+"x/update", `{"settings":{"enabled":false}}`).Body)
	send(tokens+"x/update", "")
	calls := app.core.called()
	require.Equal(t, core.RegisterDeviceInput{UserID: "a1b2c3d4-...", Token: "firebase-token-123", OS: "iOS"}, calls[0].in)
	require.Nil(t, calls[0].by.Principal)
	require.NotNil(t, calls[1].by.Principal)
	require.Equal(t, core.PushTokenInput{Token: "a:b/c"}, calls[2].in)
	require.Equal(t, core.PushTokenInput{Token: "x", OS: new("Android")}, calls[3].in)
	require.Equal(t, core.PushSettingsInput{Token: "x", Settings: []byte(`{"enabled":false}`)}, calls[4].in)
	require.Equal(t, core.PushSettingsInput{Token: "x"}, calls[5].in)
	for _, path := range []string{tokens + "x", tokens + "x/update"} {
		app.core.fails = account.ErrNotFound
		got := send(path, "")
		require.Equal(t, "not_found", requireFailure(t, "usersv1", 404, got))
		require.Equal(t, "Token not found", got.json(t)["message"])
	}
	require.NotContains(t, app.log.text(), "firebase-token")
	require.NotContains(t, app.log.text(), "a%3Ab")
}
