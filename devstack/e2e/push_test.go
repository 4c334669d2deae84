//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
	"gatehouse/providers/push/fcmtest"
)

const pathDeviceTokens = "/v1/devicetokens"

func pathPushToken(token string) string {
	return "/v1/users/notifications/tokens/" + url.PathEscape(token)
}

func newPushToken() string { return "device:" + strings.ReplaceAll(uuid.NewString(), "-", "_") }

// leave is B24: anybody, or with a token its user, says where a device is reached.
func (s *system) leave(t *testing.T, user, device, token string) {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Path: pathDeviceTokens, Token: token, Body: fields{"userId": user, "deviceToken": device, "os": "iOS"}})
	require.JSONEq(t, `{"message":"Device token registered"}`, string(got.Body))
}

func (s *system) claim(t *testing.T, device, token string) answer {
	t.Helper()
	return s.send(t, call{Method: "POST", Path: pathPushToken(device), Token: token})
}

func (s *system) silence(t *testing.T, device, token string, enabled bool) answer {
	t.Helper()
	return s.send(t, call{Path: pathPushToken(device) + "/update", Token: token, Body: fields{"settings": fields{"enabled": enabled}}})
}

// pushed are the messages to a device.
func (s *system) pushed(t *testing.T, device string) []inboxMessage {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Path: "/dev/inbox.json?channel=push&to=" + url.QueryEscape(device)})
	var messages []inboxMessage
	require.NoError(t, json.Unmarshal(got.Body, &messages))
	return messages
}

// owner is an account with a session whose notices are counted.
type owner struct {
	email, id, token, pass string
	changes                int
}

func (s *system) person(t *testing.T) *owner {
	t.Helper()
	p := &owner{email: newEmail(), pass: password}
	p.token = s.signUp(t, p.email)
	p.id = s.want(t, http.StatusOK, call{Path: pathDetails, Token: p.token}).text(t, "userId")
	return p
}

// notice has the owner notified of a new password, and waits until the mail, and so whatever began before it, is out.
func (s *system) notice(t *testing.T, p *owner) {
	t.Helper()
	next := p.pass + "+"
	s.want(t, http.StatusOK, call{Method: "PUT", Path: pathPasswordsB, Token: p.token, Body: fields{"currentPassword": p.pass, "newPassword": next}})
	p.pass = next
	p.changes++
	testkit.Eventually(t, patience, func() bool {
		n := 0
		for _, m := range s.inbox(t, p.email) {
			if m.Subject == "Your Gatehouse password was changed" {
				n++
			}
		}
		return n >= p.changes
	}, "a notice by mail")
}

func (s *system) awaitPush(t *testing.T, device string, n int) []inboxMessage {
	t.Helper()
	var got []inboxMessage
	testkit.Eventually(t, patience, func() bool {
		got = s.pushed(t, device)
		return len(got) >= n
	}, "a push to "+device)
	require.Len(t, got, n)
	return got
}

func pushTokens(t *testing.T, s *system) {
	ann, claimed, left := s.person(t), newPushToken(), newPushToken()
	s.leave(t, ann.id, left, ann.token)
	require.Equal(t, http.StatusOK, s.claim(t, claimed, ann.token).Status)
	require.Equal(t, http.StatusOK, s.claim(t, claimed, ann.token).Status)
	s.notice(t, ann)
	for _, device := range []string{left, claimed} {
		m := s.awaitPush(t, device, 1)[0]
		require.Equal(t, "Your Gatehouse password was changed", m.Subject)
		require.Equal(t, "If it was not you: secure your account now.", strings.TrimSpace(m.Text))
	}
	// The device's own switch, and the account's (B14).
	require.Equal(t, http.StatusOK, s.silence(t, claimed, ann.token, false).Status)
	s.notice(t, ann)
	s.awaitPush(t, left, 2)
	require.Len(t, s.pushed(t, claimed), 1)
	require.Equal(t, http.StatusOK, s.silence(t, claimed, ann.token, true).Status)
	s.want(t, http.StatusOK, call{Method: "PATCH", Path: pathSettings, Token: ann.token, Body: fields{"notifications": fields{"push": false}}})
	s.notice(t, ann)
	s.want(t, http.StatusOK, call{Method: "PATCH", Path: pathSettings, Token: ann.token, Body: fields{"notifications": fields{"push": true}}})
	s.notice(t, ann)
	s.awaitPush(t, left, 3)
	s.awaitPush(t, claimed, 2)
	// Signing out ends what the session bound.
	other := s.signedIn(t, ann.email, ann.pass)
	s.want(t, http.StatusOK, call{Method: "POST", Path: pathLogout, Token: ann.token})
	ann.token = other
	s.notice(t, ann)
	require.Equal(t, http.StatusOK, s.claim(t, left, other).Status)
	s.notice(t, ann)
	s.awaitPush(t, left, 4)
	require.Len(t, s.pushed(t, claimed), 2)

	unproven := s.register(t, "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], newEmail())
	s.refused(t, http.StatusForbidden, "email_not_verified", call{Method: "POST", Path: pathPushToken("x"), Token: unproven})
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Method: "POST", Path: pathPushToken("x")})
	s.refused(t, http.StatusBadRequest, "invalid_request", call{Method: "POST", Path: pathPushToken("a b"), Token: ann.token})
	s.refused(t, http.StatusBadRequest, "invalid_request", call{Path: pathDeviceTokens, Body: fields{"userId": ann.id}})
}

func pushHijack(t *testing.T, s *system) {
	victim, eve := s.person(t), s.person(t)
	mine, hers := newPushToken(), newPushToken()
	require.Equal(t, http.StatusOK, s.claim(t, hers, victim.token).Status)
	// {userId: victim, deviceToken: mine}: by nobody, by me, and claimed by me afterwards.
	s.leave(t, victim.id, mine, "")
	s.leave(t, victim.id, mine, eve.token)
	s.leave(t, victim.id, mine, "nonsense")
	// {userId: mine, deviceToken: the victim's}
	s.leave(t, eve.id, hers, "")
	s.leave(t, eve.id, hers, eve.token)
	s.leave(t, "nobody", hers, "")
	got := s.claim(t, hers, eve.token)
	require.Equal(t, http.StatusNotFound, got.Status)
	require.Equal(t, "not_found", got.code())
	s.notice(t, victim)
	require.Len(t, s.awaitPush(t, hers, 1), 1, "the victim's device still hears of the victim")
	require.Empty(t, s.pushed(t, mine), "nothing of the victim reaches mine")
	require.Equal(t, http.StatusOK, s.claim(t, mine, eve.token).Status)
	s.notice(t, victim)
	s.notice(t, eve)
	s.awaitPush(t, hers, 2)
	s.awaitPush(t, mine, 1)
}

func pushOfOthers(t *testing.T, s *system) {
	ann, bob := s.person(t), s.person(t)
	device, unclaimed := newPushToken(), newPushToken()
	require.Equal(t, http.StatusOK, s.claim(t, device, ann.token).Status)
	s.leave(t, ann.id, unclaimed, "")
	for _, of := range []string{device, unclaimed, newPushToken()} {
		got := s.silence(t, of, bob.token, false)
		require.Equal(t, http.StatusNotFound, got.Status)
		require.Equal(t, "Token not found", got.text(t, "message"))
	}
	require.Equal(t, http.StatusNotFound, s.claim(t, device, bob.token).Status)
	s.notice(t, ann)
	s.awaitPush(t, device, 1)
	// A hundred claims of a token of nobody: one account has it.
	answers := make([]int, 100)
	atOnce(len(answers), func(i int) {
		answers[i] = s.claim(t, unclaimed, []string{ann.token, bob.token}[i%2]).Status
	})
	won := map[int]int{}
	for _, status := range answers {
		won[status]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 50, http.StatusNotFound: 50}, won)
}

// TestPush_FCM sends to devices by Firebase: what it no longer knows is forgotten.
func TestPush_FCM(t *testing.T) {
	t.Parallel()
	server := fcmtest.Start(t)
	s := startSystem(t, "GATEHOUSE_FCM_URL", server.URL, "GATEHOUSE_FCM_CREDENTIALS", credentialsFile(t, server))
	ann, alive, dead := s.person(t), newPushToken(), newPushToken()
	for _, device := range []string{alive, dead} {
		require.Equal(t, http.StatusOK, s.claim(t, device, ann.token).Status)
	}
	server.Unregister(dead)
	server.Next(fcmtest.Fault{Status: 503, Code: "UNAVAILABLE"})
	s.notice(t, ann)
	testkit.Eventually(t, patience, func() bool { return len(server.Messages()) == 1 }, "a push by FCM")
	require.Equal(t, alive, server.Messages()[0].Token)
	require.Equal(t, "Your Gatehouse password was changed", server.Messages()[0].Title)
	tokens := func() int {
		return s.db.number(t, `SELECT count(*) FROM push_tokens p JOIN accounts a ON a.id = p.account_id WHERE a.email = $1`, ann.email)
	}
	testkit.Eventually(t, patience, func() bool { return tokens() == 1 }, "a dead token is forgotten")
	require.Empty(t, s.pushed(t, alive))
	started := time.Now()
	s.notice(t, ann)
	testkit.Eventually(t, patience, func() bool { return len(server.Messages()) == 2 }, "the next push")
	require.Less(t, time.Since(started), patience)
	require.Equal(t, 1, tokens())
}

// credentialsFile is the service account of a local FCM, as the worker reads it.
func credentialsFile(t *testing.T, server *fcmtest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, server.Credentials(t), 0o644)) // the worker may be another user
	return file
}

// notifyDevice has a device told of a new password by a push service whose refusals repeat its token.
func (j *journey) notifyDevice(server *fcmtest.Server) {
	t := j.t
	j.credential("access token of FCM", fcmtest.AccessToken)
	tokens := j.c.want(t, http.StatusOK, call{Path: pathAuthenticate, Body: fields{"username": j.email, "password": j.password}})
	access := j.credential("access token", tokens.text(t, "accessToken"))
	next := j.credential("refresh token", j.refresh(tokens.text(t, "refreshToken")))
	require.NotEqual(t, tokens.text(t, "refreshToken"), next)
	device := j.credential("push token", "canary:"+newPushToken())
	j.c.want(t, http.StatusOK, call{Path: pathDeviceTokens, Body: fields{"userId": "nobody", "deviceToken": device, "os": "iOS"}})
	j.c.want(t, http.StatusOK, call{Method: "POST", Path: pathPushToken(device), Token: access})
	server.Next(fcmtest.Fault{Status: 500, Raw: true}, fcmtest.Fault{Status: 503, Code: device})
	before, pass := len(j.mails.To(j.email)), j.newPassword()
	j.c.want(t, http.StatusOK, call{Method: "PUT", Path: pathPasswordsB, Token: access, Body: fields{"currentPassword": j.password, "newPassword": pass}})
	j.password = pass
	testkit.Eventually(t, patience, func() bool { return len(server.Messages()) == 1 }, "the device to be told")
	j.mails.Wait(j.email, before+1)
}

func (j *journey) refresh(token string) string {
	request, err := http.NewRequestWithContext(j.t.Context(), http.MethodPost, j.c.base+pathRefresh, http.NoBody)
	require.NoError(j.t, err)
	request.Header.Set(refreshName, token)
	got, err := j.c.http.Do(request)
	require.NoError(j.t, err)
	defer func() { _ = got.Body.Close() }()
	var body struct {
		RefreshToken string `json:"refreshToken"`
	}
	require.NoError(j.t, json.NewDecoder(got.Body).Decode(&body))
	require.NotEmpty(j.t, body.RefreshToken)
	return body.RefreshToken
}
