package sms

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/config"
	"gatehouse/providers"
	"gatehouse/providers/conformance"
	"gatehouse/providers/inbox"
	"gatehouse/providers/sms/twiliotest"
)

const recipient = "+4915112345678"

func settings(server *twiliotest.Server) Settings {
	return Settings{
		TwilioURL: server.URL, TwilioAccountSID: twiliotest.AccountSID, TwilioAuthToken: twiliotest.AuthToken,
		TwilioFrom: twiliotest.From, TwilioWhatsAppFrom: twiliotest.WhatsAppFrom,
	}
}

func open(t *testing.T, server *twiliotest.Server, change ...func(*Settings)) *twilio {
	t.Helper()
	cfg := settings(server)
	for _, c := range change {
		c(&cfg)
	}
	s, err := newTwilio(cfg)
	require.NoError(t, err)
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func message(channel account.Channel) providers.Message {
	m := conformance.Message()
	m.Channel, m.To, m.Subject, m.HTML, m.Template = channel, recipient, "", "", "phone_code"
	m.Text = "731946 is your Gatehouse code ✓\n"
	return m
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, channel := range []account.Channel{account.ChannelSMS, account.ChannelWhatsApp} {
		t.Run(string(channel), func(t *testing.T) {
			t.Parallel()
			conformance.Run(t, func(t *testing.T) conformance.Vendor {
				t.Helper()
				server := twiliotest.Start(t)
				return conformance.Vendor{
					Sender:      open(t, server),
					Message:     func() providers.Message { return message(channel) },
					Deliveries:  func() []conformance.Delivery { return deliveries(server) },
					Unavailable: func() { server.Next(twiliotest.Fault{Status: 503}) },
					Refuse:      func() { server.Next(twiliotest.Fault{Status: 400, Code: 21211}) },
					Hang:        func() { server.Next(twiliotest.Fault{}) },
					Secrets:     []string{twiliotest.AccountSID, twiliotest.AuthToken, server.URL, recipient[1:]},
					Renames:     true,
				}
			})
		})
	}
}

func deliveries(server *twiliotest.Server) []conformance.Delivery {
	var all []conformance.Delivery
	for _, m := range server.Messages() {
		all = append(all, conformance.Delivery{ProviderID: m.SID, To: m.To, Text: m.Body + "\n", Code: m.Code()})
	}
	return all
}

func TestEveryAnswerIsClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault     twiliotest.Fault
		permanent bool
		after     time.Duration
	}{
		{twiliotest.Fault{Status: 429, Code: 20429, RetryAfter: 42}, false, 42 * time.Second},
		{twiliotest.Fault{Status: 429, Code: 20429}, false, 0},
		{twiliotest.Fault{Status: 503, RetryAfter: 7}, false, 7 * time.Second},
		{twiliotest.Fault{Status: 500, Raw: true}, false, 0},
		{twiliotest.Fault{Status: 429, RetryAfter: 1 << 40}, false, time.Hour},
		{twiliotest.Fault{Status: 401, Code: 20003}, false, 0},
		{twiliotest.Fault{Status: 403, Code: 20005}, false, 0},
		{twiliotest.Fault{Status: 404, Code: 20404}, false, 0},
		{twiliotest.Fault{Status: 307}, false, 0},
		{twiliotest.Fault{Status: 200, Raw: true}, false, 0},
		{twiliotest.Fault{Status: 400, Code: 21211}, true, 0},
		{twiliotest.Fault{Status: 400, Raw: true}, true, 0},
		{twiliotest.Fault{Status: 201, Code: 30006}, true, 0},
	} {
		server := twiliotest.Start(t)
		server.Next(c.fault)
		m := message(account.ChannelSMS)
		_, err := open(t, server).Send(t.Context(), m)
		require.Error(t, err, "%+v", c.fault)
		require.Equal(t, c.permanent, providers.IsPermanent(err), "%v", err)
		require.Equal(t, c.after, providers.RetryAfter(err), "%v", err)
		require.Equal(t, c.fault.Status == 200, providers.IsUnanswered(err), "F-23: what may have been taken is not tried on and on: %v", err)
		require.Empty(t, conformance.Leaks(err, m, twiliotest.AccountSID, twiliotest.AuthToken, recipient[1:], server.URL))
		if c.fault.Code != 0 {
			require.Contains(t, err.Error(), "code", "ops look it up")
		}
		require.Equal(t, 1, server.Requests(), "a redirect is not followed")
	}
}

func TestSlowAnswersEndWithTheAttempt(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, sendTimeout, 10*time.Second)
	server := twiliotest.Start(t)
	s := open(t, server)
	require.Equal(t, sendTimeout, s.client.Timeout)
	s.client.Timeout = 50 * time.Millisecond
	server.Next(twiliotest.Fault{})
	m := message(account.ChannelSMS)
	_, err := s.Send(t.Context(), m)
	require.ErrorContains(t, err, "no answer in time")
	require.False(t, providers.IsPermanent(err))
	require.True(t, providers.IsUnanswered(err), "it may have been taken")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the attempt's limit is ours, not the caller's")
	require.Empty(t, conformance.Leaks(err, m, server.URL, twiliotest.AccountSID))
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	m := message(account.ChannelSMS)
	for _, address := range []string{closed.URL, "http://nowhere.invalid"} {
		s, err := newTwilio(Settings{TwilioURL: address, TwilioAccountSID: "ACcanary", TwilioAuthToken: "canary-token", TwilioFrom: "+1"})
		require.NoError(t, err)
		_, err = s.Send(t.Context(), m)
		require.Error(t, err)
		require.False(t, providers.IsPermanent(err))
		require.False(t, providers.IsUnanswered(err), "nobody was there to take it")
		require.Empty(t, conformance.Leaks(err, m, address, "ACcanary", "canary-token"), "%v", err)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	server := twiliotest.Start(t)
	for _, c := range []struct {
		change  func(*Settings)
		channel account.Channel
		want    twiliotest.Message
	}{
		{func(*Settings) {}, account.ChannelSMS, twiliotest.Message{Channel: "sms", From: twiliotest.From, Body: "731946 is your Gatehouse code ✓"}},
		{
			func(s *Settings) { s.TwilioFrom = "MG123" }, account.ChannelSMS,
			twiliotest.Message{Channel: "sms", Service: "MG123", Body: "731946 is your Gatehouse code ✓"},
		},
		{
			func(*Settings) {}, account.ChannelWhatsApp,
			twiliotest.Message{Channel: "whatsapp", From: twiliotest.WhatsAppFrom, Body: "731946 is your Gatehouse code ✓"},
		},
		{
			func(s *Settings) { s.TwilioWhatsAppContent = "HX1" }, account.ChannelWhatsApp,
			twiliotest.Message{Channel: "whatsapp", From: twiliotest.WhatsAppFrom, Content: "HX1", Vars: `{"1":"731946"}`},
		},
	} {
		receipt, err := open(t, server, c.change).Send(t.Context(), message(c.channel))
		require.NoError(t, err)
		c.want.SID, c.want.To = receipt.ProviderID, recipient
		all := server.Messages()
		require.Equal(t, c.want, all[len(all)-1])
	}
}

func TestChannelsWithoutASenderAreRefused(t *testing.T) {
	t.Parallel()
	server := twiliotest.Start(t)
	noWhatsApp := open(t, server, func(s *Settings) { s.TwilioWhatsAppFrom = "" })
	noSMS := open(t, server, func(s *Settings) { s.TwilioFrom = "" })
	for channel, s := range map[account.Channel]*twilio{
		account.ChannelWhatsApp: noWhatsApp, account.ChannelSMS: noSMS, account.ChannelPush: noSMS,
	} {
		_, err := s.Send(t.Context(), message(channel))
		require.True(t, providers.IsPermanent(err), "%v", err)
	}
	require.Zero(t, server.Requests())
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	server := twiliotest.Start(t)
	good := settings(server)
	box := inbox.New(nil)
	s, err := New(good, box)
	require.NoError(t, err)
	require.Equal(t, "twilio", s.Name())
	s, err = New(Settings{TwilioURL: "https://api.twilio.com"}, box)
	require.NoError(t, err)
	require.Equal(t, "inbox", s.Name())
	_, err = New(Settings{}, nil)
	require.ErrorContains(t, err, "GATEHOUSE_TWILIO_ACCOUNT_SID")
	require.Equal(t, good, Settings(config.SMS(good)), "config.SMS and Settings convert into each other")
	for setting, spoil := range map[string]func(*Settings){
		"GATEHOUSE_TWILIO_URL":        func(s *Settings) { s.TwilioURL = "ftp://x" },
		"GATEHOUSE_TWILIO_AUTH_TOKEN": func(s *Settings) { s.TwilioAuthToken = "" },
		"GATEHOUSE_TWILIO_FROM":       func(s *Settings) { s.TwilioFrom, s.TwilioWhatsAppFrom = "", "" },
	} {
		bad := good
		spoil(&bad)
		_, err := New(bad, box)
		require.ErrorContains(t, err, setting)
		require.NotContains(t, err.Error(), twiliotest.AuthToken)
	}
}

func TestErrorsNameNoSentenceOfTwilio(t *testing.T) {
	t.Parallel()
	server := twiliotest.Start(t)
	server.Next(twiliotest.Fault{Status: 400, Code: 21211})
	_, err := open(t, server).Send(t.Context(), message(account.ChannelSMS))
	require.EqualError(t, err, "twilio: refused: 400 code 21211")
	require.False(t, errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "number"))
}
