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

// operation is where a flow stands, as its owner is told.
type operation struct {
	client      *client
	path, token string
}

// begun is the operation that an answer names.
func begun(t testing.TB, c *client, got answer, token string) operation {
	t.Helper()
	path := got.Header.Get("Operation-Location")
	require.True(t, strings.HasPrefix(path, "/v1/operations/"), "%d %q %s", got.Status, path, got.Body)
	return operation{c, path, token}
}

func (o operation) look(t testing.TB) map[string]any {
	t.Helper()
	return o.client.want(t, http.StatusOK, call{Path: o.path, Token: o.token}).object(t)
}

// await waits for a stage, and returns the operation that is there.
func (o operation) await(t testing.TB, stage string) map[string]any {
	t.Helper()
	var last map[string]any
	testkit.Eventually(t, patience, func() bool {
		last = o.look(t)
		return last["stage"] == stage
	}, "an operation to be "+stage)
	return last
}

// deliveries waits until all messages are in a state, at least n.
func (o operation) deliveries(t testing.TB, n int, state string) []map[string]any {
	t.Helper()
	var found []map[string]any
	testkit.Eventually(t, patience, func() bool {
		found = nil
		for _, d := range o.look(t)["deliveries"].([]any) {
			if one := d.(map[string]any); one["state"] == state {
				found = append(found, one)
			}
		}
		return len(found) >= n
	}, "messages to be "+state)
	return found
}

// requireHidden wants nobody else to see it.
func (o operation) requireHidden(t testing.TB, others ...string) {
	t.Helper()
	for _, token := range append(others, "") {
		require.Equal(t, http.StatusNotFound, o.client.send(t, call{Path: o.path, Token: token}).Status)
	}
}

// The mail server is down: whoever waits sees the tries, and when the next one is.
func TestOperations_F22_TellTriesAndTheNextOne(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: withMail(mails)})
	c := newClient(s.BaseURL)
	mails.Down()
	email := newEmail()
	o := begun(t, c, c.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}), "")

	tries := 0.0
	testkit.Eventually(t, patience, func() bool {
		got := o.look(t)
		sent := got["deliveries"].([]any)
		if len(sent) == 0 {
			return false
		}
		d := sent[0].(map[string]any)
		require.Equal(t, []any{"email", "queued"}, []any{d["channel"], d["state"]})
		require.GreaterOrEqual(t, d["attempts"], tries, "they only rise")
		tries = d["attempts"].(float64)
		if tries < 3 || d["nextRetryAt"] == nil {
			return false
		}
		next, err := time.Parse(time.RFC3339, d["nextRetryAt"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), next, time.Minute)
		require.Equal(t, []any{"signup", "awaiting_proof", nil, 5.0}, []any{got["kind"], got["stage"], got["outcome"], got["attemptsLeft"]})
		return true
	}, "the third try, and the time of the fourth")
	mails.Up()
	require.Nil(t, o.deliveries(t, 1, "sent")[0]["nextRetryAt"])
	code := mails.Wait(email, 1)[0].Code
	c.want(t, http.StatusBadRequest, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": other(code)}})
	require.InDelta(t, 4, o.look(t)["attemptsLeft"], 0)
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	got := o.await(t, "completed")
	require.Equal(t, []any{"completed", nil, 0.0}, []any{got["outcome"], got["expiresAt"], got["attemptsLeft"]})
	o.deliveries(t, 2, "sent") // the welcome, too
}

// other is a code that is not this one.
func other(code string) string {
	if code[0] == '0' {
		return "1" + code[1:]
	}
	return "0" + code[1:]
}

func TestOperations_ReachTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	email, number, next := newEmail(), newNumber(t), newEmail()
	ann, eve := s.signUp(t, email), s.signUp(t, newEmail())
	require.Equal(t, http.StatusOK, s.claim(t, newPushToken(), ann).Status)
	mine := func(kind string, in call) operation {
		in.Token = ann
		o := begun(t, s.client, s.send(t, in), ann)
		require.Equal(t, kind, o.look(t)["kind"])
		o.requireHidden(t, eve)
		return o
	}

	phone := mine("phone", call{Path: pathSendPhoneCode, Body: fields{"phone_number": number}})
	require.Equal(t, "sms", phone.deliveries(t, 1, "sent")[0]["channel"])
	s.want(t, http.StatusOK, phoneProof(ann, number, s.awaitPhoneCode(t, number, 1)))
	phone.await(t, "completed")

	otp := mine("password", call{Path: pathSendOTP, Body: fields{"channel": "EMAIL"}})
	require.Equal(t, "email", otp.deliveries(t, 1, "sent")[0]["channel"])
	require.Equal(t, "awaiting_proof", otp.look(t)["stage"])

	change := mine("email_change", call{Method: http.MethodPatch, Path: pathProfile, Body: fields{"email": next}})
	change.deliveries(t, 2, "sent") // the code, and the notice to the present address
	link := mine("email_link", linkTo(ann, newEmail()))
	link.deliveries(t, 2, "sent")
	change.await(t, "expired")

	subscription := mine("subscription", subscribe(ann, "premium_monthly", "pm_card_visa"))
	require.Equal(t, "active", subscription.await(t, "active")["stage"])
	require.NotNil(t, subscription.look(t)["nextActionAt"])
	subscription.deliveries(t, 1, "sent")

	entered := s.enter(t, email, "X-Device-Id", "a-phone")
	login := begun(t, s.client, entered, entered.text(t, "token"))
	require.Equal(t, "device", login.look(t)["kind"])
	login.deliveries(t, 1, "sent")
	login.requireHidden(t, eve)
	operation{s.client, otp.path, login.token}.requireHidden(t, login.token)
	s.finish(t, email, entered.text(t, "deviceVerificationToken"), "a-phone")
	require.Equal(t, "completed", operation{s.client, login.path, ann}.await(t, "completed")["outcome"])

	for _, address := range []string{email, newEmail()} {
		got := begun(t, s.client, s.want(t, http.StatusOK, call{Path: pathForgotPassword, Body: fields{"email": address}}), "").look(t)
		delete(got, "id")
		delete(got, "expiresAt")
		require.Equal(t, map[string]any{
			"kind": "password", "stage": "awaiting_proof", "outcome": nil, "attemptsLeft": 0.0, "nextActionAt": nil, "deliveries": []any{},
		}, got, "the same for everybody")
	}

	closed := s.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathAccount, Token: ann, Body: fields{"password": password}})
	closure := begun(t, s.client, closed, "")
	got := closure.await(t, "grace")
	require.Equal(t, []any{"closure", got["expiresAt"]}, []any{got["kind"], got["nextActionAt"]})
	closure.deliveries(t, 1, "sent")
	otp.requireHidden(t, ann)

	// D17: nothing has left without its row, by whatever channel.
	testkit.Eventually(t, patience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE channel = 'push'`) > 0
	}, "a push")
	for _, channel := range []string{"email", "sms", "push"} {
		require.Positive(t, s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE channel = $1`, channel))
		testkit.Eventually(t, patience, func() bool {
			return s.db.number(t, `SELECT count(*) FROM dev_inbox i WHERE channel = $1 AND NOT EXISTS (
				SELECT 1 FROM messages m WHERE m.id = i.message_id AND m.channel = i.channel AND m.state = 'sent' AND m.recipe IS NOT NULL)`, channel) == 0
		}, "a row of every "+channel)
	}
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM messages WHERE recipe::text ~ '@|[+][0-9]{6}'`), "recipes name nobody")
}

// No worker is there to begin anything: every start says that it goes on, or where to look.
func TestOperations_BeforeAWorkerComes(t *testing.T) {
	t.Parallel()
	s, _, worker := stacktest.StartAll(t, stacktest.Options{Env: quick(promptly...)})
	c := newClient(s.BaseURL)
	email, eve := newEmail(), c.signUp(t, newEmail())
	ann := c.signUp(t, email)
	worker.Kill()

	change := c.want(t, http.StatusAccepted, call{Method: http.MethodPatch, Path: pathProfile, Token: ann, Body: fields{"email": newEmail(), "name": "Ann of Green Gables"}})
	moving := begun(t, c, change, ann)
	require.Equal(t, moving.path, change.Header.Get("Location"))
	require.Equal(t, "pending", moving.look(t)["stage"])
	moving.requireHidden(t, eve)
	require.Equal(t, "Ann of Green Gables", c.want(t, http.StatusOK, call{Path: pathProfile, Token: ann}).object(t)["name"], "the name needs no flow")

	code := begun(t, c, c.want(t, http.StatusServiceUnavailable, call{Path: pathSendOTP, Token: ann, Body: fields{"channel": "EMAIL"}}), ann)
	require.Equal(t, "pending", code.look(t)["stage"])
	code.requireHidden(t, eve)
	for _, address := range []string{email, newEmail()} {
		reset := c.want(t, http.StatusAccepted, call{Path: pathForgotPassword, Body: fields{"email": address}})
		require.Equal(t, "awaiting_proof", begun(t, c, reset, "").look(t)["stage"])
	}
	closing := begun(t, c, c.want(t, http.StatusAccepted, call{
		Method: http.MethodDelete, Path: pathAccount, Token: ann, Body: fields{"password": password},
	}), "")
	require.Equal(t, "pending", closing.look(t)["stage"])

	s.StartWorker(t, nil)
	closing.await(t, "grace")
	c.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: ann})
}
