package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"gatehouse/account"
	"gatehouse/providers"
)

const (
	// sendTimeout bounds one attempt from dialling to the server's last answer.
	sendTimeout = 10 * time.Second
	// quitTimeout bounds the good-bye; the mail has been taken by then.
	quitTimeout = 500 * time.Millisecond
)

const (
	tlsStart    = "starttls"
	tlsImplicit = "tls"
	tlsNone     = "none"
)

// mechanisms are what we authenticate with, best first. PLAIN and LOGIN are refused on a connection in the clear.
var mechanisms = []gomail.SMTPAuthType{
	gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin,
}

// smtp sends each mail over a connection of its own: sign-up codes are rare and urgent, a kept connection would be
// dead as often as not.
type smtp struct {
	cfg     Settings
	from    *netmail.Address
	domain  string
	timeout time.Duration
	// roots replace the system's certificate authorities; nil keeps them.
	roots *x509.CertPool
}

func openSMTP(cfg Settings) (providers.Sender, error) { return newSMTP(cfg) }

func newSMTP(cfg Settings) (*smtp, error) {
	from, err := netmail.ParseAddress(cfg.From)
	if err != nil {
		return nil, errors.New("GATEHOUSE_MAIL_FROM is not an address such as Gatehouse <no-reply@example.com>")
	}
	if cfg.Port < 1 || cfg.Port > 65535 {
		return nil, fmt.Errorf("GATEHOUSE_SMTP_PORT is %d; it must be 1 to 65535", cfg.Port)
	}
	if cfg.TLS != tlsStart && cfg.TLS != tlsImplicit && cfg.TLS != tlsNone {
		return nil, fmt.Errorf("GATEHOUSE_SMTP_TLS is %q; it must be starttls, tls or none", cfg.TLS)
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("GATEHOUSE_SMTP_USERNAME and GATEHOUSE_SMTP_PASSWORD must be set together")
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return &smtp{cfg: cfg, from: from, domain: domain, timeout: sendTimeout}, nil
}

// Name returns "smtp".
func (*smtp) Name() string { return "smtp" }

// Send delivers m to the configured server. The provider's id is the Message-ID header, derived from m.ID.
//
// A refusal (5xx) of the sender, the recipient or the content is permanent. All else is temporary, also a refusal of
// the connection or of our credentials: that is the operator's to mend, and no message should be lost by it.
func (s *smtp) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	mail, err := s.compose(m)
	if err != nil {
		return providers.Receipt{}, fmt.Errorf("smtp: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.deliver(ctx, mail); err != nil {
		return providers.Receipt{}, err
	}
	return providers.Receipt{Provider: s.Name(), ProviderID: s.messageID(m)}, nil
}

func (s *smtp) messageID(m providers.Message) string { return m.ID.String() + "@" + s.domain }

func (s *smtp) compose(m providers.Message) (*gomail.Msg, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if m.Channel != account.ChannelEmail {
		return nil, providers.Permanent(fmt.Errorf("channel %q is not mail", m.Channel))
	}
	to, fault := account.ParseEmail(m.To)
	if fault != "" {
		return nil, providers.Permanent(errors.New("the recipient is not an address"))
	}
	mail := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	mail.FromMailAddress(s.from)
	mail.ToMailAddress(&netmail.Address{Address: to})
	mail.SetMessageIDWithValue(s.messageID(m))
	mail.SetDate()
	mail.SetGenHeader("Auto-Submitted", "auto-generated")
	mail.Subject(m.Subject)
	mail.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		mail.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return mail, nil
}

func (s *smtp) deliver(ctx context.Context, mail *gomail.Msg) error {
	conn := &line{ctx: ctx, implicit: s.cfg.TLS == tlsImplicit, tls: s.tlsConfig()}
	defer conn.close()
	client, err := gomail.NewClient(s.cfg.Host, s.options(conn)...)
	if err != nil {
		return providers.Temporary(errors.New("smtp: the client's settings are refused"), 0)
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return sessionFault(ctx, err)
	}
	err = client.SendWithSMTPClient(session, mail)
	if !mail.IsDelivered() {
		return mailFault(ctx, err)
	}
	// What goes wrong from here on must not make anyone send the mail again.
	if session.UpdateDeadline(quitTimeout) == nil {
		_ = session.Quit()
	}
	return nil
}

func (s *smtp) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.cfg.Host, MinVersion: tls.VersionTLS12, RootCAs: s.roots}
}

func (s *smtp) options(conn *line) []gomail.Option {
	policy := gomail.NoTLS
	if s.cfg.TLS == tlsStart {
		policy = gomail.TLSMandatory
	}
	options := []gomail.Option{
		gomail.WithPort(s.cfg.Port),
		// Longer than the attempt, so that it is always the context that ends one.
		gomail.WithTimeout(2 * s.timeout),
		gomail.WithHELO(s.domain),
		gomail.WithTLSPolicy(policy),
		gomail.WithTLSConfig(conn.tls),
		gomail.WithDialContextFunc(conn.dial),
		// Our addresses are ASCII; announcing more makes some relays refuse to pass the mail on.
		gomail.WithoutSMTPUTF8(),
		gomail.WithoutNoop(),
		gomail.WithoutRset(),
	}
	if s.cfg.Username != "" {
		options = append(options, gomail.WithOpportunisticSMTPAuth(mechanisms...),
			gomail.WithUsername(s.cfg.Username), gomail.WithPassword(s.cfg.Password))
	}
	return options
}
