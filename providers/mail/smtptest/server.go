// Package smtptest is an SMTP server inside the test process. It keeps the mails that it takes and misbehaves to
// order. For tests only.
package smtptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// waitLimit bounds Wait; it is real time, for mails that another process sends.
const waitLimit = 15 * time.Second

// Option is a way in which a server differs from a plain one that asks for no credentials.
type Option func(*Server)

// WithSTARTTLS offers STARTTLS, with a certificate that Roots vouch for.
func WithSTARTTLS() Option { return func(s *Server) { s.starttls = true } }

// WithTLS speaks TLS from the first byte, with a certificate that Roots vouch for.
func WithTLS() Option { return func(s *Server) { s.implicit = true } }

// WithAuth takes mail only from this user, by PLAIN.
func WithAuth(username, password string) Option {
	return func(s *Server) { s.username, s.password = username, password }
}

// Server listens on 127.0.0.1 until the test ends.
type Server struct {
	tb                 testing.TB
	addr               string
	starttls, implicit bool
	username, password string
	tls                *tls.Config
	roots              *x509.CertPool

	mu       sync.Mutex
	live     *gosmtp.Server
	listener net.Listener
	served   chan struct{}
	conns    map[*conn]struct{}
	queue    []Fault
	standing Fault
	attempts int
	mails    []Mail
	// boxes are the mails by their recipients.
	boxes map[string][]Mail
	// news is closed and replaced whenever a mail arrives.
	news chan struct{}
}

// Start starts a server on a free port. It is stopped when the test ends.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, addr: "127.0.0.1:0", conns: map[*conn]struct{}{}, boxes: map[string][]Mail{}, news: make(chan struct{})}
	for _, option := range options {
		option(s)
	}
	s.certify()
	s.Up()
	tb.Cleanup(s.Down)
	return s
}

// Addr is host:port. It stays the same over Down and Up.
func (s *Server) Addr() string { return s.addr }

// Host is the host of Addr.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the port of Addr.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.addr)
	n, err := strconv.Atoi(port)
	if err != nil {
		s.tb.Fatalf("smtptest: %v", err)
	}
	return n
}

// Mode is the server's TLS mode as GATEHOUSE_SMTP_TLS names it.
func (s *Server) Mode() string {
	switch {
	case s.implicit:
		return "tls"
	case s.starttls:
		return "starttls"
	default:
		return "none"
	}
}

// Credentials are those of WithAuth, or empty.
func (s *Server) Credentials() (username, password string) { return s.username, s.password }

// Env are the settings of a process that sends its mail here.
func (s *Server) Env() []string {
	return []string{
		"GATEHOUSE_SMTP_HOST=" + s.Host(),
		"GATEHOUSE_SMTP_PORT=" + strconv.Itoa(s.Port()),
		"GATEHOUSE_SMTP_TLS=" + s.Mode(),
		"GATEHOUSE_SMTP_USERNAME=" + s.username,
		"GATEHOUSE_SMTP_PASSWORD=" + s.password,
	}
}

// Roots is the authority of the server's certificate.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Down stops listening and cuts every connection: from now on connections are refused.
func (s *Server) Down() {
	s.mu.Lock()
	live, listener, served := s.live, s.listener, s.served
	s.live = nil
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	if live == nil {
		return
	}
	_ = listener.Close()
	<-served
	for _, c := range open {
		_ = c.Close()
	}
	// With its connections cut, what is left to a handler is to return.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), waitLimit)
	defer cancel()
	if err := live.Shutdown(ctx); ctx.Err() != nil {
		s.tb.Errorf("smtptest: connections outlive the server: %v", err)
	}
}

// Up listens again, on the same port.
func (s *Server) Up() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		return
	}
	raw, err := (&net.ListenConfig{}).Listen(s.tb.Context(), "tcp", s.addr)
	if err != nil {
		s.tb.Fatalf("smtptest: %v", err)
	}
	s.addr = raw.Addr().String()
	live := gosmtp.NewServer(gosmtp.BackendFunc(s.session))
	live.Domain = "mx.smtptest.example"
	live.AllowInsecureAuth = true
	live.MaxMessageBytes = 1 << 20
	live.ErrorLog = log.New(io.Discard, "", 0)
	if s.starttls {
		live.TLSConfig = s.tls
	}
	var listener net.Listener = &door{Listener: raw, server: s}
	if s.implicit {
		listener = tls.NewListener(listener, s.tls)
	}
	served := make(chan struct{})
	s.live, s.listener, s.served = live, raw, served
	go func() {
		defer close(served)
		_ = live.Serve(listener)
	}()
}

// Next gives each of the coming connections one fault, in this order; later ones behave.
func (s *Server) Next(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, faults...)
}

// Always gives every connection this fault, once those of Next are used up, until Heal.
func (s *Server) Always(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing = fault
}

// Greylist puts the next n mails off at RCPT, as servers do with senders that they do not know.
func (s *Server) Greylist(n int) {
	s.Next(slices.Repeat([]Fault{Reply(RcptTo, 451, "4.7.1")}, n)...)
}

// Heal forgets all faults. Connections that hang go on hanging.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.standing = nil, Fault{}
}

// Attempts is the number of connections so far.
func (s *Server) Attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// Mails are the mails taken so far, oldest first, those included whose sender was never told.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// To are the mails taken so far for one recipient.
func (s *Server) To(recipient string) []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.boxes[recipient])
}

// Wait returns the mails for one recipient once there are at least n, and fails the test when they do not come.
func (s *Server) Wait(recipient string, n int) []Mail {
	s.tb.Helper()
	late := time.After(waitLimit)
	for {
		s.mu.Lock()
		news := s.news
		s.mu.Unlock()
		mails := s.To(recipient)
		if len(mails) >= n {
			return mails
		}
		select {
		case <-news:
		case <-late:
			s.tb.Fatalf("smtptest: %d of %d mails for %s within %v", len(mails), n, recipient, waitLimit)
		}
	}
}

func (s *Server) keep(m Mail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	for _, recipient := range m.To {
		s.boxes[recipient] = append(s.boxes[recipient], m)
	}
	close(s.news)
	s.news = make(chan struct{})
}

// admit notes a connection and says how to treat it. A server that is down cuts it.
func (s *Server) admit(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
	c.fault = s.standing
	if len(s.queue) > 0 {
		c.fault, s.queue = s.queue[0], s.queue[1:]
	}
	if s.live == nil {
		_ = c.Close()
		return
	}
	s.conns[c] = struct{}{}
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
