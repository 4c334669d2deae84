//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
)

// A mail server refuses for a while, for good, as it says. The operator sees what it has cost and sends it once more.
func TestMessages_F22_GivenUpAndSentOnceMore(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: withMail(mails)})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	mails.Always(smtptest.Reply(smtptest.RcptTo, 550, "5.7.1"))
	email, late := newEmail(), newEmail()
	o := begun(t, c, c.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}), "")
	c.initiate(t, late)
	o.deliveries(t, 1, "dead")
	dead := func(address string) []string {
		return db.texts(t, `SELECT m.id::text FROM messages m JOIN challenges c ON m.step = 'code/' || c.id WHERE c.destination = $1 AND m.state = 'dead'`, address)
	}
	testkit.Eventually(t, patience, func() bool { return len(dead(late)) == 1 }, "both to be given up")
	id := dead(email)[0]
	listed := s.Command(t, nil, "messages", "list", "--email", strings.ToUpper(email), "--state", "dead")
	require.Contains(t, listed, id)
	require.Contains(t, listed, "550")
	require.NotContains(t, listed, email, "masked")
	require.Equal(t, 2, strings.Count(listed, "\n"), "only theirs:\n%s", listed)

	// Meanwhile the other code's time has run out.
	_, err := db.Exec(t.Context(), `UPDATE challenges SET send_by = now() WHERE destination = $1`, late)
	require.NoError(t, err)
	expired := dead(late)[0]
	mails.Heal()
	said := make([]string, 2)
	atOnce(2, func(i int) { said[i] = s.Command(t, nil, "messages", "retry", "--state", "dead", "--since", "1h") })
	require.Contains(t, said[0]+said[1], id+"\tstarted")

	code := mails.Wait(email, 1)[0].Code
	state := func(id string) string { return db.texts(t, `SELECT state FROM messages WHERE id = $1`, id)[0] }
	testkit.Eventually(t, patience, func() bool { return state(id) == "sent" && state(expired) == "expired" }, "both to be settled")
	require.Len(t, mails.To(email), 1, "two operators, one mail")
	require.Empty(t, mails.To(late), "nobody is sent a dead code")
	require.Contains(t, s.Command(t, nil, "messages", "retry", id), "not given up")
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	o.await(t, "completed")

	_, err = s.TryCommand(t, nil, "messages", "retry", "0b57a7e5-0000-4000-8000-000000000001")
	require.ErrorContains(t, err, "there is no message")
	_, err = s.TryCommand(t, nil, "messages", "retry")
	require.ErrorContains(t, err, "say which")
	_, err = s.TryCommand(t, nil, "messages", "list", "--state", "lost")
	require.ErrorContains(t, err, "must be one of")
}
