//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	pathVerifyDevice = "/api/v1/account/device/verify"
	pathDevices      = "/api/v1/account/devices"

	signInCode  = "Your Gatehouse sign-in code"
	deviceAdded = "A new device signs in to your Gatehouse account"
)

// quickSends lets a test sign in over and over.
var quickSends = []string{"GATEHOUSE_SEND_GAP", "1ms", "GATEHOUSE_SENDS_PER_HOUR", "1000", "GATEHOUSE_SENDS_PER_DAY", "1000"}

func TestDevices(t *testing.T) {
	t.Parallel()
	s := startSystem(t, quickSends...)
	playAll(t, s, map[string]func(*testing.T, *system){
		"X13_EveryLogin":                         everyLogin,
		"X13_SignInByProvider":                   providerSignInOwes,
		"D20_VerifyDevice":                       verifyDevice,
		"D20_SameKeyGetsTheSameAnswer":           verifyDeviceRepeated,
		"D21_D22_ListAndRevoke":                  listAndRevoke,
		"MFA-01_PendingReachesNothing":           pendingReachesNothing,
		"MFA-11_DeviceTokens":                    deviceTokens,
		"MFA-13_GuessingAndOtherLogins":          deviceGuessing,
		"MFA-15_SomebodyElsesDevice":             somebodyElsesDevice,
		"LOG-03_TrustedDevicesDoNotWait":         trustedDevicesDoNotWait,
		"PRE-07_UnverifiedAccountsBindNoDevices": unverifiedBindsNoDevice,
		"JWT-05_DeviceTokensAreNoCredentials":    deviceTokensAreNoCredentials,
	})
}

// enter signs in by password in document B, with headers in pairs.
func (s *system) enter(t testing.TB, email string, headers ...string) answer {
	t.Helper()
	return s.want(t, http.StatusOK, entering(email, password, headers...))
}

func entering(email, pass string, headers ...string) call {
	in := call{Path: pathAuthenticate, Body: fields{"username": email, "password": pass}, Header: map[string]string{}}
	for i := 0; i+1 < len(headers); i += 2 {
		in.Header[headers[i]] = headers[i+1]
	}
	return in
}

// deviceCode waits for the code of the login that a token names.
func (s *system) deviceCode(t testing.TB, email, dvt string) string {
	t.Helper()
	ids := s.db.texts(t, `SELECT id::text FROM sessions WHERE step_hash = $1`, s.keys.StepHash(dvt))
	require.Len(t, ids, 1)
	code := s.keys.Code(uuid.MustParse(ids[0]))
	testkit.Eventually(t, patience, func() bool {
		return slices.ContainsFunc(s.inbox(t, email), func(m inboxMessage) bool { return m.Subject == signInCode && m.Code == code })
	}, "a sign-in code to "+email)
	return code
}

// finish finishes a login by its code; it returns D20's answer.
func (s *system) finish(t testing.TB, email, dvt, device string) answer {
	t.Helper()
	return s.want(t, http.StatusOK, finishing(dvt, s.deviceCode(t, email, dvt), device))
}

func finishing(token, code, device string) call {
	return call{Path: pathVerifyDevice, Body: fields{
		"deviceVerificationToken": token, "otp": code, "deviceId": device, "deviceName": "iPhone 15 Pro", "platform": "IOS",
	}}
}

// trust signs in on a new device and finishes the login; it returns D20's data.
func (s *system) trust(t testing.TB, email, device string) map[string]any {
	t.Helper()
	dvt := s.enter(t, email, "X-Device-Id", device).text(t, "deviceVerificationToken")
	return s.finish(t, email, dvt, device).object(t)["data"].(map[string]any)
}

func (s *system) devices(t testing.TB, token string) []map[string]any {
	t.Helper()
	var body struct{ Data []map[string]any }
	require.NoError(t, json.Unmarshal(s.want(t, http.StatusOK, call{Path: pathDevices, Token: token}).Body, &body))
	return body.Data
}

func wrongCodeFor(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// refusedBy checks a failure of document D.
func (s *system) refusedBy(t testing.TB, status int, message string, in call) {
	t.Helper()
	require.Equal(t, message, s.want(t, status, in).text(t, "message"))
}

func everyLogin(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	plain := s.enter(t, email).object(t)
	require.NotContains(t, plain, "mfaRequired", "a documented request never sees it")
	require.NotContains(t, plain, "deviceVerificationToken")
	byC := call{Path: pathLogin, Body: fields{"email": email, "password": password}, Header: map[string]string{"X-Device-Id": "tablet"}}
	got := s.want(t, http.StatusOK, byC).object(t)
	require.Equal(t, true, got["mfa_required"])
	token, _ := got["session_token"].(string)
	refused := s.want(t, http.StatusForbidden, call{Path: pathMe, Token: token})
	require.Equal(t, "mfa_required", refused.text(t, "error"))
	dvt, _ := got["device_verification_token"].(string)
	s.finish(t, email, dvt, "tablet")
	// The token that C handed out is that of the same session, and good for as long.
	s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	// Since the account has a trusted device, every login without its token owes the step.
	require.Equal(t, true, s.enter(t, email).object(t)["mfaRequired"])
}

func verifyDevice(t *testing.T, s *system) {
	email := newEmail()
	me := s.want(t, http.StatusOK, call{Path: pathMe, Token: s.signUp(t, email)})
	login := s.enter(t, email, "X-Device-Id", "unique-device-fingerprint-id")
	dvt := login.text(t, "deviceVerificationToken")
	require.True(t, strings.HasPrefix(dvt, "dvt_"))
	code := s.deviceCode(t, email, dvt)
	for body, fault := range map[string]string{
		`{"otp":"` + code + `","deviceId":"x"}`:                                     "deviceVerificationToken",
		`{"deviceVerificationToken":"` + dvt + `","otp":"12345a","deviceId":"x"}`:   "otp",
		`{"deviceVerificationToken":"` + dvt + `","otp":"` + code + `"}`:            "deviceId",
		`{"deviceVerificationToken":" ","otp":"` + code + `","deviceId":"x"}`:       "deviceVerificationToken",
		`{"deviceVerificationToken":"` + dvt + `","otp":"1234567","deviceId":"  "}`: "deviceId",
	} {
		got := s.want(t, http.StatusUnprocessableEntity, call{Path: pathVerifyDevice, Body: json.RawMessage(body)}).object(t)
		require.Equal(t, "Validation failed", got["message"])
		require.Contains(t, got["data"], fault)
	}
	in := finishing(dvt, code, "unique-device-fingerprint-id")
	got := s.want(t, http.StatusOK, in).object(t)
	require.Equal(t, "Device verified. Login successful.", got["message"])
	data := got["data"].(map[string]any)
	require.Equal(t, map[string]any{"isPrimaryComplete": false, "hasUsername": false}, data["onboarding"])
	require.Equal(t, map[string]any{"id": me.text(t, "id"), "userName": nil, "firstName": nil}, data["user"])
	access, _ := data["accessToken"].(string)
	s.want(t, http.StatusOK, call{Path: pathMe, Token: access})
	s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", in)
	s.requireMail(t, email, deviceAdded)

	devices := s.devices(t, access)
	require.Len(t, devices, 1)
	require.Equal(t, []any{"unique-device-fingerprint-id", "iPhone 15 Pro", "IOS"}, []any{devices[0]["deviceId"], devices[0]["deviceName"], devices[0]["platform"]})
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sessions s JOIN refresh_tokens r ON r.session_id = s.id
		WHERE s.account_id = $1 AND s.device_name = 'iPhone 15 Pro' AND s.state = 'active'`, me.text(t, "id")), "one refresh token, that of the answer")
	require.Equal(t, []string{"device_otp", "password"}, s.db.texts(t, `SELECT method FROM login_history WHERE account_id = $1 ORDER BY created_at DESC LIMIT 2`, me.text(t, "id")))
	token, _ := data["deviceToken"].(string)
	for _, headers := range [][]string{{"X-Device-Token", token}, {"X-Device-Id", token}, {"X-Device-Id", "renamed", "X-Device-Token", token}} {
		require.NotContains(t, s.enter(t, email, headers...).object(t), "mfaRequired", headers)
	}
	for _, output := range []string{s.api.Output(), s.worker.Output()} {
		require.NotContains(t, output, token)
		require.NotContains(t, output, dvt)
	}
}

func verifyDeviceRepeated(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	login := s.enter(t, email, "X-Device-Id", "a")
	dvt := login.text(t, "deviceVerificationToken")
	in := finishing(dvt, s.deviceCode(t, email, dvt), "a")
	in.Key = "finish-" + email
	first := s.want(t, http.StatusOK, in)
	require.JSONEq(t, string(first.Body), string(s.want(t, http.StatusOK, in).Body))
	// The kept answer is lost: the same key proves the same code, and gets the same tokens.
	s.db.number(t, `WITH gone AS (DELETE FROM idempotency_keys RETURNING 1) SELECT count(*) FROM gone`)
	again := s.want(t, http.StatusOK, in).object(t)["data"].(map[string]any)
	before := first.object(t)["data"].(map[string]any)
	require.Equal(t, before["refreshToken"], again["refreshToken"])
	require.Equal(t, before["deviceToken"], again["deviceToken"])
}

func listAndRevoke(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	require.Empty(t, s.devices(t, first))
	a, b := s.trust(t, email, "device-a"), s.trust(t, email, "device-b")
	marked := s.want(t, http.StatusOK, call{Path: pathDevices, Token: first, Header: map[string]string{"X-Device-Id": "device-a"}}).object(t)
	require.Equal(t, "Devices retrieved", marked["message"])
	for _, one := range marked["data"].([]any) {
		d := one.(map[string]any)
		require.Equal(t, d["deviceId"] == "device-a", d["currentDevice"])
	}
	list := s.devices(t, first)
	require.Len(t, list, 2)
	require.NotContains(t, list[0], "currentDevice")
	require.Equal(t, "device-b", list[0]["deviceId"], "the latest used first")
	path := pathDevices + "/" + list[1]["id"].(string)
	revoked := s.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: path, Token: first}).object(t)
	require.Equal(t, "Device revoked", revoked["message"])
	require.Nil(t, revoked["data"])
	s.refusedBy(t, http.StatusNotFound, "Device not found", call{Method: http.MethodDelete, Path: path, Token: first})
	got := s.want(t, http.StatusUnprocessableEntity, call{Method: http.MethodDelete, Path: pathDevices + "/x", Token: first}).object(t)
	require.Equal(t, map[string]any{"deviceKeyId": "must be a UUID"}, got["data"])
	s.want(t, http.StatusUnauthorized, call{Path: pathDevices})
	require.Equal(t, true, s.enter(t, email, "X-Device-Id", "device-a", "X-Device-Token", a["deviceToken"].(string)).object(t)["mfaRequired"],
		"the next login from that device owes the step again")
	for _, header := range []string{"X-Device-Id", "X-Device-Token"} {
		require.Equal(t, true, s.enter(t, email, header, a["deviceToken"].(string)).object(t)["mfaRequired"], "also if it is known by its token alone")
	}
	require.NotContains(t, s.enter(t, email, "X-Device-Token", b["deviceToken"].(string)).object(t), "mfaRequired")
}

func pendingReachesNothing(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	login := s.enter(t, email, "X-Device-Id", "a")
	token := login.text(t, "accessToken")
	for _, in := range []call{
		{Path: pathMe},
		{Path: pathSessions},
		{Path: pathDetails},
		{Path: pathDevices},
		{Path: "/api/v1/account/security-info"},
		{Method: http.MethodDelete, Path: pathSessions},
		change("", password, newPassword),
		{Method: http.MethodDelete, Path: "/api/v1/auth/account", Body: fields{"password": password}},
	} {
		in.Token = token
		got := s.want(t, http.StatusForbidden, in).object(t)
		require.Equal(t, "Finish the second sign-in step first.", got["message"], in.Path)
	}
	s.want(t, http.StatusOK, call{Path: pathLogout, Token: token, Body: fields{}})
	dvt := login.text(t, "deviceVerificationToken")
	s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", finishing(dvt, s.deviceCode(t, email, dvt), "a"))
	// A pending session dies by itself.
	login = s.enter(t, email, "X-Device-Id", "a")
	s.db.number(t, `WITH aged AS (UPDATE sessions SET expires_at = now() WHERE state = 'pending' AND account_id =
		(SELECT id FROM accounts WHERE email = $1) RETURNING 1) SELECT count(*) FROM aged`, email)
	s.want(t, http.StatusUnauthorized, call{Path: pathLogout, Token: login.text(t, "accessToken"), Body: fields{}})
	dvt = login.text(t, "deviceVerificationToken")
	s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", finishing(dvt, s.deviceCode(t, email, dvt), "a"))
}

func deviceTokens(t *testing.T, s *system) {
	email, other := newEmail(), newEmail()
	s.signUp(t, email)
	s.signUp(t, other)
	data := s.trust(t, email, "a")
	token, access := data["deviceToken"].(string), data["accessToken"].(string)
	s.trust(t, other, "a")
	owes := func(email, token string) bool {
		return s.enter(t, email, "X-Device-Token", token).object(t)["mfaRequired"] == true
	}
	require.False(t, owes(email, token))
	require.True(t, owes(other, token), "it is another account's")
	edited := token[:len(token)-1] + string('A'+(token[len(token)-1]-'A'+1)%26)
	require.True(t, owes(email, edited))
	s.want(t, http.StatusUnauthorized, entering(email, "not-the-password", "X-Device-Token", token))
	require.False(t, owes(email, token), "it skips the step, never the password")
	s.db.number(t, `WITH aged AS (UPDATE devices SET expires_at = now() FROM accounts a WHERE a.id = account_id AND a.email = $1 RETURNING 1)
		SELECT count(*) FROM aged`, email)
	require.True(t, owes(email, token), "the only device expired: it owes the step again")
	require.Equal(t, true, s.enter(t, email, "X-Device-Id", "a", "X-Device-Token", token).object(t)["mfaRequired"], "after 30 days")

	token = s.trust(t, email, "a")["deviceToken"].(string)
	s.want(t, http.StatusOK, change(access, password, newPassword))
	got := s.want(t, http.StatusOK, entering(email, newPassword, "X-Device-Id", "a", "X-Device-Token", token)).object(t)
	require.Equal(t, true, got["mfaRequired"], "the trust dies with the password")
	require.Empty(t, s.devices(t, access))
}

func deviceGuessing(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	first, second := s.enter(t, email, "X-Device-Id", "a"), s.enter(t, email, "X-Device-Id", "a")
	dvt, other := first.text(t, "deviceVerificationToken"), second.text(t, "deviceVerificationToken")
	right, others := s.deviceCode(t, email, dvt), s.deviceCode(t, email, other)
	s.refusedBy(t, http.StatusForbidden, "OTP is incorrect", finishing(dvt, others, "a"))
	s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", finishing("dvt_"+strings.Repeat("A", 43), right, "a"))
	for range 4 {
		s.refusedBy(t, http.StatusForbidden, "OTP is incorrect", finishing(dvt, wrongCodeFor(right), "a"))
	}
	s.refusedBy(t, http.StatusForbidden, "OTP is incorrect", finishing(dvt, right, "a"))
	s.want(t, http.StatusOK, finishing(other, others, "a"))
	s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", finishing(other, others, "a"))
	require.Equal(t, 5, s.db.number(t, `SELECT max(attempts) FROM challenges c JOIN accounts a ON a.id = c.account_id WHERE a.email = $1`, email))
}

func somebodyElsesDevice(t *testing.T, s *system) {
	mine, theirs := newEmail(), newEmail()
	token := s.signUp(t, mine)
	s.signUp(t, theirs)
	access := s.trust(t, theirs, "a")["accessToken"].(string)
	foreign := s.devices(t, access)[0]["id"].(string)
	in := call{Method: http.MethodDelete, Path: pathDevices + "/" + foreign, Token: token}
	s.refusedBy(t, http.StatusNotFound, "Device not found", in)
	require.Len(t, s.devices(t, access), 1)
}

func trustedDevicesDoNotWait(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	token := s.trust(t, email, "a")["deviceToken"].(string)
	for range 8 {
		got := s.send(t, entering(email, "not-the-password"))
		require.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, got.Status)
	}
	s.want(t, http.StatusTooManyRequests, entering(email, password))
	took := calmly(func() { s.enter(t, email, "X-Device-Token", token) })
	require.Less(t, took, 3*time.Second*crowding(), "1 s on an idle machine")
	s.want(t, http.StatusTooManyRequests, entering(email, password))
}

func unverifiedBindsNoDevice(t *testing.T, s *system) {
	email := newEmail()
	s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": password}})
	got := s.enter(t, email, "X-Device-Id", "a").object(t)
	require.NotContains(t, got, "mfaRequired", "there is nothing to guard yet, and no proven mailbox to ask")
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM devices d JOIN accounts a ON a.id = d.account_id WHERE a.email = $1`, email))
}

func deviceTokensAreNoCredentials(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	login := s.enter(t, email, "X-Device-Id", "a")
	dvt := login.text(t, "deviceVerificationToken")
	data := s.finish(t, email, dvt, "a").object(t)["data"].(map[string]any)
	for _, token := range []string{dvt, fmt.Sprint(data["deviceToken"]), fmt.Sprint(data["refreshToken"])} {
		s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: token})
		s.want(t, http.StatusUnauthorized, call{Path: pathDevices, Token: token})
		s.refusedBy(t, http.StatusBadRequest, "Invalid or expired token", finishing(token, "123456", "a"))
	}
	require.Equal(t, true, s.enter(t, email, "X-Device-Token", fmt.Sprint(data["refreshToken"])).object(t)["mfaRequired"])
}

// TestDevices_ACodeWaitsItsTurn plays the bounds on sending (design D9): a second login comes too soon, and its code later.
func TestDevices_ACodeWaitsItsTurn(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_SEND_GAP", "1s", "GATEHOUSE_SENDS_PER_HOUR", "2")
	email := newEmail()
	s.signUp(t, email)
	first := s.enter(t, email, "X-Device-Id", "a").text(t, "deviceVerificationToken")
	second := s.enter(t, email, "X-Device-Id", "a").text(t, "deviceVerificationToken")
	s.deviceCode(t, email, first)
	code := s.deviceCode(t, email, second)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM quotas WHERE key = $1 AND cardinality(hits) = 2 AND hits[2] - hits[1] >= interval '1 second'`,
		s.keys.Subject("send/device", email)), "the second did not wait")
	s.want(t, http.StatusOK, finishing(second, code, "a"))
	s.passTime(t, "device", email, time.Second) // the gap, so that the hour's bound is what refuses
	got := s.want(t, http.StatusTooManyRequests, entering(email, password, "X-Device-Id", "a"))
	require.NotEmpty(t, got.Header.Get("Retry-After"))
}

// providerSignInOwes is X13 on C17: an account that is there already owes the step, a sign-up none.
func providerSignInOwes(t *testing.T, s *system) {
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "devices"))
	email := newEmail()
	try := func(headers map[string]string) map[string]any {
		return s.want(t, http.StatusOK, call{Path: pathOAuthSignin, Token: service, Header: headers, Body: fields{
			"email": email, "provider": "google", "provider_account_id": email, "name": "Ann",
		}}).object(t)
	}
	require.NotContains(t, try(map[string]string{"X-Device-Id": "a"}), "mfa_required")
	second := try(map[string]string{"X-Device-Id": "a"})
	require.Equal(t, true, second["mfa_required"])
	pending, _ := second["session_token"].(string)
	s.want(t, http.StatusForbidden, call{Path: pathMe, Token: pending})
	dvt, _ := second["device_verification_token"].(string)
	data := s.finish(t, email, dvt, "a").object(t)["data"].(map[string]any)
	s.want(t, http.StatusOK, call{Path: pathMe, Token: pending})
	require.NotContains(t, try(map[string]string{"X-Device-Token": fmt.Sprint(data["deviceToken"])}), "mfa_required")
	require.Equal(t, true, try(nil)["mfa_required"])
}
