package mail

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/providers"
	"gatehouse/providers/conformance"
	"gatehouse/providers/mail/smtptest"
)

// attempt sends one mail and holds whatever error there is to the rule that it names nobody.
func attempt(t *testing.T, s *smtp, m providers.Message) error {
	t.Helper()
	_, err := s.Send(t.Context(), m)
	require.Empty(t, conformance.Leaks(err, m, user, password), "%v", err)
	return err
}

// F-22: 5xx.
func TestRefusalsOfTheMailArePermanent(t *testing.T) {
	t.Parallel()

	for stage, step := range map[smtptest.Stage]string{
		smtptest.MailFrom: "MAIL", smtptest.RcptTo: "RCPT", smtptest.Data: "end of DATA", smtptest.Accepted: "end of DATA",
	} {
		server := smtptest.Start(t)
		server.Next(smtptest.Reply(stage, 554, "5.7.1"))
		err := attempt(t, open(t, server), conformance.Message())
		require.True(t, providers.IsPermanent(err), "%v", stage)
		require.EqualError(t, err, "smtp: refused at "+step+": 554 5.7.1")
	}
}

// F-22: 4xx.
func TestPuttingOffIsTemporary(t *testing.T) {
	t.Parallel()

	for _, stage := range []smtptest.Stage{
		smtptest.Greeting, smtptest.Hello, smtptest.Auth, smtptest.MailFrom, smtptest.RcptTo, smtptest.Data, smtptest.Accepted,
	} {
		server := smtptest.Start(t, smtptest.WithAuth(user, password))
		server.Next(smtptest.Reply(stage, 421, "4.3.2"))
		err := attempt(t, open(t, server), conformance.Message())
		require.ErrorContains(t, err, "421 4.3.2", "%v", stage)
		require.False(t, providers.IsPermanent(err), "%v", stage)
	}
}

func TestGreylistingPassesWithTheSameMessageID(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	server.Greylist(2)
	s, m := open(t, server), conformance.Message()
	for range 2 {
		require.EqualError(t, attempt(t, s, m), "smtp: put off at RCPT: 451 4.7.1")
	}
	require.NoError(t, attempt(t, s, m))
	require.Len(t, server.To(m.To), 1)
	require.Equal(t, 3, server.Attempts())
}

// A refusal of us, not of the mail, is for the operator to mend: no message dies of it.
func TestRefusalsOfTheSessionAreTemporary(t *testing.T) {
	t.Parallel()

	for _, fault := range []smtptest.Fault{
		smtptest.Reply(smtptest.Greeting, 554, "5.3.2"),
		smtptest.Reply(smtptest.Hello, 550, "5.7.1"),
		smtptest.Reply(smtptest.Auth, 535, "5.7.8"),
		smtptest.Reply(smtptest.MailFrom, 530, "5.7.0"),
	} {
		server := smtptest.Start(t, smtptest.WithAuth(user, password))
		// EHLO is followed by a try with HELO on the same connection, so the fault stays.
		server.Always(fault)
		err := attempt(t, open(t, server), conformance.Message())
		require.Error(t, err)
		require.False(t, providers.IsPermanent(err), "%v", err)
	}
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t, smtptest.WithSTARTTLS(), smtptest.WithAuth(user, "another"))
	s := open(t, server)
	s.cfg.Password = password
	err := attempt(t, s, conformance.Message())
	require.EqualError(t, err, "smtp: the server refuses the session: 535 5.7.8")
	require.False(t, providers.IsPermanent(err))
}

// F-22: SMTP down.
func TestServerDownIsTemporaryAndPasses(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	s, m := open(t, server), conformance.Message()
	server.Down()
	err := attempt(t, s, m)
	require.EqualError(t, err, "smtp: no session: connection refused")
	require.False(t, providers.IsPermanent(err))

	server.Up()
	require.NoError(t, attempt(t, s, m))
	require.Len(t, server.Mails(), 1)
}

// F-22: hangs, at every stage; both our own limit and the caller's deadline end the wait.
func TestHangingServersAreLeft(t *testing.T) {
	t.Parallel()

	for _, stage := range smtptest.Stages() {
		for _, secured := range []smtptest.Option{smtptest.WithSTARTTLS(), smtptest.WithTLS()} {
			t.Run(string(stage), func(t *testing.T) {
				t.Parallel()

				server := smtptest.Start(t, secured, smtptest.WithAuth(user, password))
				server.Always(smtptest.Hang(stage))
				s, m := open(t, server), conformance.Message()

				s.timeout = 150 * time.Millisecond
				begin := time.Now()
				err := attempt(t, s, m)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.False(t, providers.IsPermanent(err))
				require.Less(t, time.Since(begin), 2*time.Second)

				s.timeout = time.Minute
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(150*time.Millisecond, cancel)
				begin = time.Now()
				_, err = s.Send(ctx, m)
				require.ErrorIs(t, err, context.Canceled)
				require.Empty(t, conformance.Leaks(err, m, user, password))
				require.Less(t, time.Since(begin), 2*time.Second)
			})
		}
	}
}

func TestTheWholeAttemptIsBounded(t *testing.T) {
	t.Parallel()

	s, err := newSMTP(Settings{Host: "mx.example", Port: 25, TLS: "none", From: "a@example.com"})
	require.NoError(t, err)
	require.LessOrEqual(t, s.timeout, 10*time.Second)
}

// F-22: accepts, then the answer is lost: the next attempt repeats the mail under the same Message-ID.
func TestLostAnswerIsRepeatedUnderTheSameID(t *testing.T) {
	t.Parallel()

	for _, fault := range []smtptest.Fault{smtptest.Drop(smtptest.Accepted), smtptest.Hang(smtptest.Accepted)} {
		server := smtptest.Start(t)
		server.Next(fault)
		s, m := open(t, server), conformance.Message()
		s.timeout = 200 * time.Millisecond
		err := attempt(t, s, m)
		require.Error(t, err)
		require.False(t, providers.IsPermanent(err))

		s.timeout = sendTimeout
		require.NoError(t, attempt(t, s, m))
		mails := server.To(m.To)
		require.Len(t, mails, 2)
		require.Equal(t, mails[0].MessageID, mails[1].MessageID)
	}
}

func TestDroppedConnectionsAreTemporary(t *testing.T) {
	t.Parallel()

	for _, stage := range smtptest.Stages() {
		server := smtptest.Start(t, smtptest.WithSTARTTLS(), smtptest.WithAuth(user, password))
		server.Next(smtptest.Drop(stage))
		s, m := open(t, server), conformance.Message()
		err := attempt(t, s, m)
		require.Error(t, err, "%v", stage)
		require.False(t, providers.IsPermanent(err), "%v", stage)
		require.NoError(t, attempt(t, s, m), "%v", stage)
	}
}

// F-22: slow.
func TestSlowServers(t *testing.T) {
	t.Parallel()

	for _, stage := range []smtptest.Stage{smtptest.Greeting, smtptest.RcptTo, smtptest.Accepted} {
		server := smtptest.Start(t)
		server.Next(smtptest.Slow(stage, 100*time.Millisecond), smtptest.Slow(stage, 30*time.Second))
		s := open(t, server)
		require.NoError(t, attempt(t, s, conformance.Message()), "slow is not down")

		s.timeout = 200 * time.Millisecond
		err := attempt(t, s, conformance.Message())
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestTLSIsNotGivenUp(t *testing.T) {
	t.Parallel()

	plain := smtptest.Start(t)
	s := open(t, plain)
	s.cfg.TLS = tlsStart
	require.EqualError(t, attempt(t, s, conformance.Message()),
		"smtp: no session: the server does not offer STARTTLS (GATEHOUSE_SMTP_TLS)")
	s.cfg.TLS = tlsImplicit
	require.EqualError(t, attempt(t, s, conformance.Message()),
		"smtp: no session: the server does not speak TLS on this port")
	require.Empty(t, plain.Mails())

	secured := smtptest.Start(t, smtptest.WithSTARTTLS())
	s = open(t, secured)
	s.roots = nil
	require.EqualError(t, attempt(t, s, conformance.Message()),
		"smtp: no session: the server's certificate is not trusted")
	require.Empty(t, secured.Mails())
}

func TestCredentialsNeedAServerThatAsks(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t)
	s := open(t, server)
	s.cfg.Username, s.cfg.Password = user, password
	require.EqualError(t, attempt(t, s, conformance.Message()),
		"smtp: no session: the server does not offer authentication")
}

func TestCredentialsAreNotSentInTheClear(t *testing.T) {
	t.Parallel()

	server := smtptest.Start(t, smtptest.WithAuth(user, password))
	s := open(t, server)
	// This reaches the same server but is no loopback name, which the library would trust.
	s.cfg.Host = "0.0.0.0"
	require.EqualError(t, attempt(t, s, conformance.Message()),
		"smtp: no session: credentials are not sent in the clear (GATEHOUSE_SMTP_TLS)")
}

func TestUnknownHost(t *testing.T) {
	t.Parallel()

	s, err := newSMTP(Settings{Host: "smtp.invalid", Port: 25, TLS: "none", From: "a@example.com"})
	require.NoError(t, err)
	s.timeout = time.Second
	require.ErrorContains(t, attempt(t, s, conformance.Message()), "smtp: no session")
}

func TestTheEnhancedStatusIsAllThatIsKeptOfAReply(t *testing.T) {
	t.Parallel()

	require.Equal(t, "5.1.1", enhanced("5.1.1 <canary@people.example> unknown"))
	require.Equal(t, "4.7.123", enhanced("4.7.123"))
	for _, reply := range []string{"", "no such user", "1.2", "canary@a.b.c no", "1234.5678.9012 x", "5.1.canary"} {
		require.Empty(t, enhanced(reply), reply)
	}
	require.Equal(t, "the exchange failed", symptom(fmt.Errorf("canary@people.example: %w", io.ErrNoProgress)))
}
