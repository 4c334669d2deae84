package push

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/config"
	"gatehouse/providers"
	"gatehouse/providers/conformance"
	"gatehouse/providers/inbox"
	"gatehouse/providers/push/fcmtest"
)

const device = "canary-device:token_1"

func open(t *testing.T, server *fcmtest.Server) *fcm {
	t.Helper()
	f, err := newFCM(server.URL, server.Credentials(t))
	require.NoError(t, err)
	t.Cleanup(f.client.CloseIdleConnections)
	return f
}

func message() providers.Message {
	m := conformance.Message()
	m.Channel, m.To, m.HTML, m.Template = account.ChannelPush, device, "", "password_changed"
	m.Text = "731946: if it was not you ✓\n"
	return m
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.Run(t, func(t *testing.T) conformance.Vendor {
		t.Helper()
		server := fcmtest.Start(t)
		return conformance.Vendor{
			Sender:  open(t, server),
			Message: message,
			Deliveries: func() []conformance.Delivery {
				var all []conformance.Delivery
				for _, m := range server.Messages() {
					all = append(all, conformance.Delivery{ProviderID: m.Name, To: m.Token, Subject: m.Title, Text: m.Body + "\n", Code: m.Code()})
				}
				return all
			},
			Unavailable: func() { server.Next(fcmtest.Fault{Status: 503, Code: "UNAVAILABLE"}) },
			Refuse:      func() { server.Next(fcmtest.Fault{Status: 400, Code: "INVALID_ARGUMENT"}) },
			Hang:        func() { server.Next(fcmtest.Fault{}) },
			Secrets:     []string{fcmtest.AccessToken, fcmtest.Account, fcmtest.Project, server.URL},
			Renames:     true,
		}
	})
}

func TestEveryAnswerIsClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault           fcmtest.Fault
		permanent, gone bool
		after           time.Duration
	}{
		{fcmtest.Fault{Status: 404, Code: "UNREGISTERED"}, true, true, 0},
		{fcmtest.Fault{Status: 403, Code: "SENDER_ID_MISMATCH"}, true, true, 0},
		{fcmtest.Fault{Status: 400, Code: "INVALID_ARGUMENT", Field: "message.token"}, true, true, 0},
		{fcmtest.Fault{Status: 400, Code: "INVALID_ARGUMENT", Field: "message.data"}, true, false, 0},
		{fcmtest.Fault{Status: 400, Raw: true}, true, false, 0},
		{fcmtest.Fault{Status: 404, Raw: true}, false, false, 0},
		{fcmtest.Fault{Status: 403}, false, false, 0},
		{fcmtest.Fault{Status: 401, Code: "THIRD_PARTY_AUTH_ERROR"}, false, false, 0},
		{fcmtest.Fault{Status: 401}, false, false, 0},
		{fcmtest.Fault{Status: 429, Code: "QUOTA_EXCEEDED", RetryAfter: 42}, false, false, 42 * time.Second},
		{fcmtest.Fault{Status: 429, RetryAfter: 1 << 40}, false, false, time.Hour},
		{fcmtest.Fault{Status: 503, Code: "UNAVAILABLE"}, false, false, 0},
		{fcmtest.Fault{Status: 500, Code: "INTERNAL"}, false, false, 0},
		{fcmtest.Fault{Status: 500, Code: device}, false, false, 0},
		{fcmtest.Fault{Status: 200, Raw: true}, false, false, 0},
		{fcmtest.Fault{Status: 307}, false, false, 0},
	} {
		server := fcmtest.Start(t)
		server.Next(c.fault)
		m := message()
		_, err := open(t, server).Send(t.Context(), m)
		require.Error(t, err, "%+v", c.fault)
		require.Equal(t, c.permanent, providers.IsPermanent(err), "%+v: %v", c.fault, err)
		require.Equal(t, c.gone, providers.IsGone(err), "%+v: %v", c.fault, err)
		require.Equal(t, c.after, providers.RetryAfter(err), "%v", err)
		require.Empty(t, conformance.Leaks(err, m, fcmtest.AccessToken, fcmtest.Account, fcmtest.Project, server.URL))
		requests, _ := server.Requests()
		require.Equal(t, 1, requests, "a redirect is not followed")
	}
}

func TestOneAccessTokenServesManyMessages(t *testing.T) {
	t.Parallel()
	server := fcmtest.Start(t)
	f := open(t, server)
	for range 3 {
		_, err := f.Send(t.Context(), message())
		require.NoError(t, err)
	}
	requests, grants := server.Requests()
	require.Equal(t, []int{3, 1}, []int{requests, grants})
}

func TestARefusedServiceAccountIsForOperators(t *testing.T) {
	t.Parallel()
	server := fcmtest.Start(t)
	server.RefuseAccount()
	m := message()
	_, err := open(t, server).Send(t.Context(), m)
	require.ErrorContains(t, err, "service account")
	require.False(t, providers.IsPermanent(err), "the message is still good")
	require.Empty(t, conformance.Leaks(err, m, fcmtest.Account, fcmtest.Project, server.URL))
}

func TestOtherChannelsAreNotItsOwn(t *testing.T) {
	t.Parallel()
	m := message()
	m.Channel = account.ChannelSMS
	_, err := open(t, fcmtest.Start(t)).Send(t.Context(), m)
	require.True(t, providers.IsPermanent(err))
}

func TestSettingsChooseTheVendor(t *testing.T) {
	t.Parallel()
	server := fcmtest.Start(t)
	file := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, server.Credentials(t), 0o600))
	sender, err := New(Settings(config.Push{FCMURL: server.URL, FCMCredentials: file}), nil)
	require.NoError(t, err)
	require.Equal(t, "fcm", sender.Name())
	box := inbox.New(nil)
	sender, err = New(Settings{}, box)
	require.NoError(t, err)
	require.Equal(t, box, sender)
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte(strings.Replace(string(server.Credentials(t)), "project_id", "project", 1)), 0o600))
	for setting, bad := range map[string]Settings{
		"GATEHOUSE_FCM_URL":               {FCMURL: "fcm.example.com", FCMCredentials: file},
		"GATEHOUSE_FCM_CREDENTIALS is":    {FCMURL: server.URL, FCMCredentials: broken},
		"GATEHOUSE_FCM_CREDENTIALS names": {FCMURL: server.URL, FCMCredentials: file + "x"},
	} {
		_, err := New(bad, box)
		require.ErrorContains(t, err, setting)
		require.NotContains(t, err.Error(), "PRIVATE")
	}
}
