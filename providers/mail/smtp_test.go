package mail

import (
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/config"
	"gatehouse/providers"
	"gatehouse/providers/conformance"
	"gatehouse/providers/inbox"
	"gatehouse/providers/mail/smtptest"
)

const (
	user     = "canary-user"
	password = "canary-password"
)

// open returns the sender for a server, trusting its certificate.
func open(t *testing.T, server *smtptest.Server) *smtp {
	t.Helper()
	s, err := newSMTP(settings(server))
	require.NoError(t, err)
	s.roots = server.Roots()
	return s
}

func settings(server *smtptest.Server) Settings {
	username, password := server.Credentials()
	return Settings{
		Host: server.Host(), Port: server.Port(), Username: username, Password: password,
		TLS: server.Mode(), From: "Gatehouse <no-reply@gatehouse.example>",
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()

	conformance.Run(t, func(t *testing.T) conformance.Vendor {
		t.Helper()
		server := smtptest.Start(t, smtptest.WithSTARTTLS(), smtptest.WithAuth(user, password))
		return conformance.Vendor{
			Sender:      open(t, server),
			Deliveries:  func() []conformance.Delivery { return deliveries(server) },
			Unavailable: func() { server.Greylist(1) },
			Refuse:      func() { server.Next(smtptest.Reply(smtptest.RcptTo, 550, "5.1.1")) },
			Hang:        func() { server.Next(smtptest.Hang(smtptest.Data)) },
			Secrets:     []string{user, password},
		}
	})
}

func deliveries(server *smtptest.Server) []conformance.Delivery {
	var all []conformance.Delivery
	for _, m := range server.Mails() {
		all = append(all, conformance.Delivery{
			ProviderID: m.MessageID, To: strings.Join(m.To, " "), Subject: m.Subject, Text: m.Text, Code: m.Code,
		})
	}
	return all
}

func TestEveryTLSModeWithAndWithoutCredentials(t *testing.T) {
	t.Parallel()

	signIn := smtptest.WithAuth(user, password)
	for _, c := range []struct {
		mode    string
		user    string
		options []smtptest.Option
	}{
		{"starttls", "", []smtptest.Option{smtptest.WithSTARTTLS()}},
		{"starttls", user, []smtptest.Option{smtptest.WithSTARTTLS(), signIn}},
		{"tls", "", []smtptest.Option{smtptest.WithTLS()}},
		{"tls", user, []smtptest.Option{smtptest.WithTLS(), signIn}},
		{"none", "", nil},
		{"none", user, []smtptest.Option{signIn}},
	} {
		server := smtptest.Start(t, c.options...)
		require.Equal(t, c.mode, server.Mode())
		_, err := open(t, server).Send(t.Context(), conformance.Message())
		require.NoError(t, err, "%s %s", c.mode, c.user)
		require.Len(t, server.Mails(), 1)
		require.Equal(t, c.mode != "none", server.Mails()[0].TLS, c.mode)
		require.Equal(t, c.user, server.Mails()[0].User, c.mode)
	}
}

func TestHeadersAndParts(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	m := conformance.Message()
	m.Subject = "Hello\r\nBcc: everyone@example.com"
	_, err := open(t, server).Send(t.Context(), m)
	require.NoError(t, err)

	mail := server.Wait(m.To, 1)[0]
	require.Equal(t, "no-reply@gatehouse.example", mail.From)
	require.Equal(t, []string{m.To}, mail.To)
	require.Equal(t, m.ID.String()+"@gatehouse.example", mail.MessageID)
	require.Equal(t, "auto-generated", mail.Header.Get("Auto-Submitted"))
	require.Equal(t, `"Gatehouse" <no-reply@gatehouse.example>`, mail.Header.Get("From"))
	require.Empty(t, mail.Header["Bcc"], "a subject must not become a header")
	require.Empty(t, mail.Header["User-Agent"])
	require.Contains(t, mail.Header.Get("Content-Type"), "multipart/alternative")
	require.Equal(t, m.Text, mail.Text)
	require.Equal(t, m.HTML, mail.HTML)
	_, err = netmail.ParseDate(mail.Header.Get("Date"))
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(mail.Raw), "\r\n") {
		require.LessOrEqual(t, len(line), 998)
	}
}

func TestTextOnly(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	m := conformance.Message()
	m.HTML = ""
	_, err := open(t, server).Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, m.Text, server.Mails()[0].Text)
	require.Empty(t, server.Mails()[0].HTML)
}

func TestWhatIsNoMailIsNotSent(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	for _, spoil := range []func(*providers.Message){
		func(m *providers.Message) { m.Channel = account.ChannelSMS },
		func(m *providers.Message) { m.To = "canary" },
		func(m *providers.Message) { m.To = "canary@people.example>\r\nRCPT TO:<other@people.example" },
		func(m *providers.Message) { m.To = "Canary <canary@people.example>" },
		func(m *providers.Message) { m.To = "a@people.example, b@people.example" },
	} {
		m := conformance.Message()
		spoil(&m)
		_, err := open(t, server).Send(t.Context(), m)
		require.True(t, providers.IsPermanent(err), "%v", err)
		require.Empty(t, conformance.Leaks(err, m))
	}
	require.Zero(t, server.Attempts())
}

func TestNewPicksTheVendor(t *testing.T) {
	t.Parallel()

	fallback := inbox.New(nil)
	server := smtptest.Start(t)

	sender, err := New(Settings(config.Mail{}), fallback)
	require.NoError(t, err)
	require.Same(t, fallback, sender)

	sender, err = New(settings(server), fallback)
	require.NoError(t, err)
	require.Equal(t, "smtp", sender.Name())
	_, err = sender.Send(t.Context(), conformance.Message())
	require.NoError(t, err)
	require.Len(t, server.Mails(), 1)

	_, err = New(Settings(config.Mail{}), nil)
	require.ErrorContains(t, err, "GATEHOUSE_SMTP_HOST")
}

func TestNewNamesTheSettingAtFault(t *testing.T) {
	t.Parallel()

	good := Settings{Host: "mx.example", Port: 587, TLS: "starttls", From: "a@example.com"}
	for setting, spoil := range map[string]func(*Settings){
		"GATEHOUSE_MAIL_FROM":     func(c *Settings) { c.From = "Gatehouse" },
		"GATEHOUSE_SMTP_PORT":     func(c *Settings) { c.Port = 0 },
		"GATEHOUSE_SMTP_TLS":      func(c *Settings) { c.TLS = "ssl" },
		"GATEHOUSE_SMTP_USERNAME": func(c *Settings) { c.Password = password },
	} {
		cfg := good
		spoil(&cfg)
		_, err := New(cfg, nil)
		require.ErrorContains(t, err, setting)
		require.NotContains(t, err.Error(), password)
	}
}
