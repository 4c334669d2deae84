//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
)

// mailed is a breakable system whose mail goes to a server that fails by script.
func mailed(t *testing.T) *system {
	t.Helper()
	mails := smtptest.Start(t)
	var settings []string
	for _, pair := range mails.Env() {
		name, value, _ := strings.Cut(pair, "=")
		settings = append(settings, name, value)
	}
	s := breakable(t, stacktest.Options{}, settings...)
	s.mails = mails
	return s
}

// F-22: users live through a mail server that is down; so does everybody's mail.
func TestFault_F22_MailServerDown(t *testing.T) {
	t.Parallel()
	s := mailed(t)
	s.withstand(t, fault{strike: s.mails.Down, heal: s.mails.Up})
}

// F-22: a mail server that puts us off, hangs, takes half a minute, or takes a mail and never says so. No request waits for it,
// known and unknown addresses are answered alike, nobody else is held up, and everybody gets the one code that they were promised.
func TestFault_F22_MailServerMisbehaves(t *testing.T) {
	t.Parallel()
	s := mailed(t)
	known := newEmail()
	s.initiate(t, known)
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": known, "code": s.mails.Wait(known, 1)[0].Code}})

	faults := []smtptest.Fault{
		smtptest.Reply(smtptest.Greeting, 421, "4.3.2"), smtptest.Reply(smtptest.RcptTo, 451, "4.7.1"), smtptest.Reply(smtptest.RcptTo, 450, "4.2.0"),
		smtptest.Hang(smtptest.Greeting), smtptest.Hang(smtptest.Data), smtptest.Hang(smtptest.Accepted),
		smtptest.Slow(smtptest.Data, 30*time.Second), smtptest.Drop(smtptest.MailFrom), smtptest.Drop(smtptest.Accepted),
	}
	s.mails.Next(faults...)
	emails := make([]string, len(faults))
	took := calmly(func() {
		for i := range emails {
			emails[i] = newEmail()
			s.initiate(t, emails[i])
		}
	})
	require.Less(t, took, time.Duration(len(faults))*atOnceLimit*crowding())
	require.Equal(t, http.StatusOK, s.authenticate(t, known, password).Status)
	forgot := func(email string) []byte {
		return s.want(t, http.StatusOK, call{Path: pathForgotPassword, Body: fields{"email": email}}).Body
	}
	require.Equal(t, forgot(known), forgot(newEmail()), "the same for everybody")
	for _, email := range emails {
		testkit.Eventually(t, repairPatience, func() bool { return len(s.mails.To(email)) > 0 }, "the code to come")
		for _, mail := range s.mails.To(email) {
			require.Equal(t, s.mails.To(email)[0].Code, mail.Code, "one code, however often it comes")
		}
		require.Equal(t, 1, s.db.number(t, allCodes, email))
		s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": s.mails.To(email)[0].Code}})
	}
	s.requireInvariants(t)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM messages WHERE state IN ('queued', 'dead')`), "all is sent, or was not needed any more")
	require.Positive(t, s.db.number(t, `SELECT count(*) FROM messages WHERE attempts > 1`))
}
