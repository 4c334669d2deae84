package smtptest

import (
	"io"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

type session struct {
	server *Server
	smtp   *gosmtp.Conn
	user   string
	from   string
	to     []string
}

func (s *Server) session(c *gosmtp.Conn) (gosmtp.Session, error) {
	if err := under(c.Conn()).at(Hello, c.Hostname()); err != nil {
		return nil, err
	}
	return &session{server: s, smtp: c}, nil
}

func (s *session) at(stage Stage, said string) error { return under(s.smtp.Conn()).at(stage, said) }

func (s *session) Reset() { s.from, s.to = "", nil }

func (*session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string {
	if s.server.username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if err := s.at(Auth, username+" "+password); err != nil {
			return err
		}
		if username != s.server.username || password != s.server.password {
			return &gosmtp.SMTPError{
				Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8},
				Message: "wrong credentials: " + username + " " + password,
			}
		}
		s.user = username
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	if err := s.at(MailFrom, from); err != nil {
		return err
	}
	if s.server.username != "" && s.user == "" {
		return gosmtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if err := s.at(RcptTo, to); err != nil {
		return err
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	if err := s.at(Data, s.to[0]); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	mail, err := parse(raw)
	if err != nil {
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "unreadable mail"}
	}
	mail.From, mail.To, mail.User = s.from, s.to, s.user
	_, mail.TLS = s.smtp.TLSConnectionState()
	s.server.keep(mail)
	return s.at(Accepted, s.to[0]+" "+mail.Code)
}
