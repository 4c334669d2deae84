//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	pathReplacePassword   = "/api/v1/account/password/change"
	pathSendOTP           = "/api/v1/account/password/change-with-otp/send-otp"
	pathChangeWithOTP     = "/api/v1/account/password/change-with-otp/verify"
	pathSetPassword       = "/api/v1/account/password/set"
	pathReauthenticate    = "/api/v1/account/reauthenticate"
	pathAccountSessions   = "/api/v1/account/sessions"
	pathSignOut           = pathAccountSessions + "/sign-out"
	pathSignOutOthers     = pathAccountSessions + "/sign-out-others"
	pathSignOutAll        = pathAccountSessions + "/sign-out-all"
	securityCodeSubject   = "Your Gatehouse security code"
	passwordChangeSubject = "Your Gatehouse password was changed"
)

// TestAccount plays D05 to D07, D09, D15 to D19 and reauthenticate on one system.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	for name, play := range map[string]func(*testing.T, *system){
		"D05_ByTheCurrentPassword":            replacePassword,
		"D06_D07_ByEmail":                     changeByEmail,
		"D06_D07_ByPhone":                     changeByPhone,
		"D06_ContactsProvenWithinTheSession":  freshContacts,
		"D09_FirstPassword":                   firstPassword,
		"D15_D16_D19_Sessions":                accountSessions,
		"D17_D18_Gates":                       signOutGates,
		"D13_Reauthenticate":                  reauthenticate,
		"OTP01_FiveWrongCodesKillTheRight":    fiveWrongSecurityCodes,
		"OTP05_OneCodeServesOneUse":           oneUse,
		"OTP07_CodesOfOthers":                 securityCodesOfOthers,
		"OTP09_NewestCodeOnly":                newestSecurityCode,
		"OTP11_OddCodes":                      oddSecurityCodes,
		"OTP13_SendsAreBounded":               securityCodesAreBounded,
		"SES07_SessionsOfOthers":              sessionsOfOthers,
		"SES13_GuessesOfEveryGateAreOneCount": oneGuessCount,
		"JWT05_TempTokenIsNoCredential":       tempTokenIsNoCredential,
		"SameKeyGetsTheSameAnswer":            securityCodeRepeated,
		"CodeDiesWithItsSession":              codeDiesWithItsSession,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, s)
		})
	}
}

// told is the message of an enveloped answer, data its data.
func (a answer) told(t testing.TB) (message string, data any) {
	t.Helper()
	body := a.object(t)
	require.Equal(t, a.ok(), body["success"])
	return body["message"].(string), body["data"]
}

// refuses wants an enveloped refusal with a sentence.
func (s *system) refuses(t testing.TB, status int, sentence string, in call) {
	t.Helper()
	got := s.want(t, status, in)
	message, data := got.told(t)
	require.Equal(t, sentence, message, "%s", got.Body)
	if status != http.StatusUnprocessableEntity {
		require.Equal(t, sentence, data)
	}
}

// sendOTP asks for a code and returns the token that belongs to it.
func (s *system) sendOTP(t testing.TB, token, channel string) (tempToken, masked string) {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Path: pathSendOTP, Token: token, Body: fields{"channel": channel}})
	message, data := got.told(t)
	require.Equal(t, "OTP sent", message)
	sent := data.(map[string]any)
	require.InDelta(t, 600, sent["expiresIn"], 0)
	return sent["tempToken"].(string), sent["maskedValue"].(string)
}

// securityCode waits for the n-th security code to an address.
func (s *system) securityCode(t testing.TB, email string, n int) string {
	t.Helper()
	var codes []string
	testkit.Eventually(t, patience, func() bool {
		codes = nil
		for _, m := range s.inbox(t, email) {
			if m.Subject == securityCodeSubject {
				codes = append(codes, m.Code)
			}
		}
		return len(codes) >= n
	}, "a security code to "+email)
	return codes[len(codes)-n]
}

func (s *system) newOTP(t testing.TB, token, email string, n int) (tempToken, code string) {
	t.Helper()
	if n > 1 {
		s.passTime(t, "password_change", email, time.Minute)
	}
	tempToken, _ = s.sendOTP(t, token, "EMAIL")
	return tempToken, s.securityCode(t, email, n)
}

func withOTP(token, tempToken, code, pass string) call {
	return call{Path: pathChangeWithOTP, Token: token, Body: fields{
		"tempToken": tempToken, "otp": code, "newPassword": pass, "confirmPassword": pass,
	}}
}

func (s *system) mark(t testing.TB, method, path, body, token, session string) answer {
	t.Helper()
	return s.raw(t, method, path, body, "Authorization", "Bearer "+token, "X-Session-Id", session)
}

func replacePassword(t *testing.T, s *system) {
	email := newEmail()
	other := s.signUp(t, email)
	mine := s.signedIn(t, email, password)
	set := func(current, next, confirm string) call {
		return call{Path: pathReplacePassword, Token: mine, Body: fields{"currentPassword": current, "newPassword": next, "confirmPassword": confirm}}
	}
	s.refuses(t, http.StatusForbidden, "Password is incorrect", set("not-the-password-1", newPassword, newPassword))
	s.refuses(t, http.StatusBadRequest, "Passwords do not match", set(password, newPassword, newPassword+"x"))
	s.refuses(t, http.StatusUnprocessableEntity, "Validation failed", set(password, "short1", "short1"))
	_, data := s.want(t, http.StatusUnprocessableEntity, call{Path: pathReplacePassword, Token: mine, Body: fields{}}).told(t)
	require.Equal(t, map[string]any{
		"currentPassword": "current password or otp is required", "newPassword": "is required", "confirmPassword": "must not be blank",
	}, data)
	got := s.want(t, http.StatusOK, set(password, newPassword, newPassword))
	message, data := got.told(t)
	require.Equal(t, "Password changed", message)
	require.Equal(t, map[string]any{"success": true, "hadPassword": true, "message": "Password changed successfully"}, data)
	s.requireAlive(t, mine)
	s.requireDead(t, other)
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireMail(t, email, passwordChangeSubject)

	// And by a code, without a word about the current one.
	_, code := s.newOTP(t, mine, email, 1)
	byCode := call{Path: pathReplacePassword, Token: mine, Body: fields{"otp": code, "newPassword": password, "confirmPassword": password}}
	s.want(t, http.StatusOK, byCode)
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", byCode)
}

func changeByEmail(t *testing.T, s *system) {
	email := newEmail()
	other := s.signUp(t, email)
	mine := s.signedIn(t, email, password)
	key := s.apiKey(t, mine, "account:read")
	reset := s.forgot(t, email, 1)
	temp, masked := s.sendOTP(t, mine, "EMAIL")
	require.Equal(t, email[:2]+"***@example.com", masked)
	code := s.securityCode(t, email, 1)
	s.refuses(t, http.StatusBadRequest, "Passwords do not match", call{Path: pathChangeWithOTP, Token: mine, Body: fields{
		"tempToken": temp, "otp": code, "newPassword": newPassword, "confirmPassword": "another-Horse-9-battery",
	}})
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(mine, temp+"x", code, newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(mine, temp, wrong(code, 1), newPassword))
	got := s.want(t, http.StatusOK, withOTP(mine, temp, code, newPassword))
	message, data := got.told(t)
	require.Equal(t, "Password changed successfully", message)
	require.Equal(t, map[string]any{"success": true, "hadPassword": true, "message": "Password changed successfully"}, data)
	s.requireAlive(t, mine)
	s.requireDead(t, other)
	require.Equal(t, http.StatusOK, s.raw(t, "GET", pathMe, "", "X-API-Key", key).Status, "as with A05, keys go on")
	require.Equal(t, "invalid_token", s.reset(t, reset, password).code(), "an open reset dies with the password")
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireMail(t, email, passwordChangeSubject)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(mine, temp, code, password))
	// Others, whose tests run at this moment, may have one parked.
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM challenges WHERE proof::text LIKE '%argon2%' AND purpose = 'password_change'
		AND account_id = (SELECT id FROM accounts WHERE email = $1)`, email))
	require.NotContains(t, s.api.Output()+s.worker.Output(), email)
}

// phoned gives an account a verified number that counts for codes at once.
func (s *system) phoned(t *testing.T, email, token string) string {
	t.Helper()
	number := newNumber(t)
	s.sendPhoneCode(t, token, number)
	s.want(t, http.StatusOK, phoneProof(token, number, s.awaitPhoneCode(t, number, 1)))
	s.db.change(t, `UPDATE accounts SET phone_verified_at = now() - interval '25 hours' WHERE email = $1`, email)
	return number
}

func (s *system) toPhone(t *testing.T, channel, number string) []inboxMessage {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Path: "/dev/inbox.json?channel=" + channel + "&to=%2B" + number[1:]})
	var messages []inboxMessage
	require.NoError(t, json.Unmarshal(got.Body, &messages))
	return messages
}

func changeByPhone(t *testing.T, s *system) {
	for channel, ways := range map[string][]string{
		"SMS": {"sms"}, "WHATSAPP": {"whatsapp"}, "SMS_AND_WHATSAPP": {"sms", "whatsapp"},
	} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			email := newEmail()
			token := s.signUp(t, email)
			number := s.phoned(t, email, token)
			before := map[string]int{}
			for _, way := range []string{"sms", "whatsapp"} {
				before[way] = len(s.toPhone(t, way, number))
			}
			temp, masked := s.sendOTP(t, token, channel)
			require.Equal(t, number[:4]+"***"+number[len(number)-4:], masked)
			codes := map[string]bool{}
			for _, way := range ways {
				testkit.Eventually(t, patience, func() bool { return len(s.toPhone(t, way, number)) > before[way] }, "a code by "+way)
				codes[s.toPhone(t, way, number)[0].Code] = true
			}
			require.Len(t, codes, 1, "one code on all")
			for code := range codes {
				s.want(t, http.StatusOK, withOTP(token, temp, code, newPassword))
			}
			require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
			s.requireMail(t, email, passwordChangeSubject)
			testkit.Eventually(t, patience, func() bool {
				return strings.HasPrefix(s.toPhone(t, "sms", number)[0].Text, "The password of your Gatehouse account was changed")
			}, "the notice to the number")
		})
	}
}

func freshContacts(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.refuses(t, http.StatusBadRequest, "No verified phone number", call{Path: pathSendOTP, Token: token, Body: fields{"channel": "SMS"}})
	number := newNumber(t)
	s.sendPhoneCode(t, token, number)
	s.want(t, http.StatusOK, phoneProof(token, number, s.awaitPhoneCode(t, number, 1)))
	// Whoever stole this session may have just put the number there.
	s.refuses(t, http.StatusBadRequest, "No verified phone number", call{Path: pathSendOTP, Token: token, Body: fields{"channel": "SMS_AND_WHATSAPP"}})
	s.sendOTP(t, s.signedIn(t, email, password), "SMS")

	address := newEmail()
	squatter := s.register(t, strings.ToLower(newEmail()[5:25]), address)
	s.refuses(t, http.StatusBadRequest, "No verified email", call{Path: pathSendOTP, Token: squatter, Body: fields{"channel": "EMAIL"}})
	for _, channel := range []any{"email", "PUSH", "", nil} {
		_, data := s.want(t, http.StatusUnprocessableEntity, call{Path: pathSendOTP, Token: token, Body: fields{"channel": channel}}).told(t)
		require.Contains(t, data, "channel")
	}
}

func firstPassword(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	set := call{Path: pathSetPassword, Token: token, Body: fields{"newPassword": newPassword, "confirmPassword": newPassword}}
	s.refuses(t, http.StatusBadRequest, "Password already set", set)
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	s.refuses(t, http.StatusBadRequest, "Passwords do not match", call{Path: pathSetPassword, Token: token, Body: fields{
		"newPassword": newPassword, "confirmPassword": password,
	}})
	s.refuses(t, http.StatusForbidden, "Password is incorrect", call{Path: pathSignOutAll, Token: token, Body: fields{"password": password}})
	s.db.change(t, `UPDATE sessions SET auth_time = now() - interval '11 minutes' WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	s.refuses(t, http.StatusForbidden, "Sign in again to do this.", set)
	// A passwordless owner becomes fresh by a code.
	_, code := s.newOTP(t, token, email, 1)
	s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}})
	_, data := s.want(t, http.StatusOK, set).told(t)
	require.Equal(t, map[string]any{"success": true, "hadPassword": false, "message": "Password set successfully"}, data)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireMail(t, email, "A password was added to your Gatehouse account")

	// D05 by code is a first password, too.
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	_, code = s.newOTP(t, token, email, 2)
	_, data = s.want(t, http.StatusOK, call{Path: pathReplacePassword, Token: token, Body: fields{
		"otp": code, "newPassword": password, "confirmPassword": password,
	}}).told(t)
	require.Equal(t, false, data.(map[string]any)["hadPassword"])
}

func accountSessions(t *testing.T, s *system) {
	email := newEmail()
	mine := s.signUp(t, email)
	other := s.signedIn(t, email, password)
	third := s.signedIn(t, email, password)
	id, otherID, thirdID := s.sessionID(t, mine), s.sessionID(t, other), s.sessionID(t, third)
	_, data := s.mark(t, "GET", pathAccountSessions, "", mine, id).told(t)
	list := data.(map[string]any)
	require.InDelta(t, 3, list["totalCount"], 0)
	require.Equal(t, id, list["currentSession"].(map[string]any)["id"])
	require.Equal(t, list["currentSession"], list["sessions"].([]any)[0])
	for _, mark := range []string{"", s.sessionID(t, s.signUp(t, newEmail()))} {
		_, data = s.mark(t, "GET", pathAccountSessions, "", mine, mark).told(t)
		require.Nil(t, data.(map[string]any)["currentSession"], "no mark by the token alone, none of another account")
		for _, one := range data.(map[string]any)["sessions"].([]any) {
			require.Equal(t, false, one.(map[string]any)["currentSession"])
		}
	}
	require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "GET", pathAccountSessions, "", mine, "no-uuid").Status)

	s.refuses(t, http.StatusBadRequest, "X-Session-Id header is required", call{Method: "POST", Path: pathSignOut, Token: mine})
	require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "POST", pathSignOut, "", mine, strings.ReplaceAll(id, "-", "")).Status)
	message, data := s.mark(t, "POST", pathSignOut, "", mine, otherID).told(t)
	require.Equal(t, "Signed out successfully", message)
	require.Nil(t, data)
	s.requireDead(t, other)
	require.Equal(t, http.StatusNotFound, s.mark(t, "POST", pathSignOut, "", mine, otherID).Status, "once")

	revoke := call{Method: "DELETE", Path: pathAccountSessions + "/" + thirdID, Token: mine}
	message, _ = s.want(t, http.StatusOK, revoke).told(t)
	require.Equal(t, "Session revoked", message)
	s.requireDead(t, third)
	s.refuses(t, http.StatusNotFound, "Session not found", revoke)
	_, data = s.want(t, http.StatusUnprocessableEntity, call{Method: "DELETE", Path: pathAccountSessions + "/sess_1", Token: mine}).told(t)
	require.Equal(t, map[string]any{"sessionId": "must be a UUID"}, data)
	s.requireAlive(t, mine)
	require.Equal(t, http.StatusOK, s.mark(t, "POST", pathSignOut, "", mine, id).Status)
	s.requireDead(t, mine)
}

func signOutGates(t *testing.T, s *system) {
	email := newEmail()
	mine := s.signUp(t, email)
	id := s.sessionID(t, mine)
	for n, proof := range []func() string{
		func() string { return fmt.Sprintf(`{"password":%q}`, password) },
		func() string {
			_, code := s.newOTP(t, mine, email, 1)
			return fmt.Sprintf(`{"otp":%q}`, code)
		},
	} {
		other := s.signedIn(t, email, password)
		for body, sentence := range map[string]string{`{"password":"not-the-password-1"}`: "Password is incorrect", `{"otp":"000000"}`: "OTP is incorrect"} {
			got := s.mark(t, "POST", pathSignOutOthers, body, mine, id)
			require.Equal(t, http.StatusForbidden, got.Status, "%s", got.Body)
			message, _ := got.told(t)
			require.Equal(t, sentence, message)
		}
		require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "POST", pathSignOutOthers, `{}`, mine, id).Status)
		good := proof()
		s.refuses(t, http.StatusBadRequest, "X-Session-Id header is required", call{Path: pathSignOutOthers, Token: mine, Body: json.RawMessage(good)})
		got := s.mark(t, "POST", pathSignOutOthers, good, mine, s.sessionID(t, other))
		require.Equal(t, http.StatusNotFound, got.Status, "only one's own can be kept: %s", got.Body)
		s.requireAlive(t, other)
		got = s.mark(t, "POST", pathSignOutOthers, good, mine, id)
		require.Equal(t, http.StatusOK, got.Status, "%d %s", n, got.Body)
		message, data := got.told(t)
		require.Equal(t, "Signed out of other devices", message)
		require.Nil(t, data)
		s.requireAlive(t, mine)
		s.requireDead(t, other)
	}
	other := s.signedIn(t, email, password)
	message, _ := s.want(t, http.StatusOK, call{Path: pathSignOutAll, Token: mine, Body: fields{"password": password}}).told(t)
	require.Equal(t, "Signed out of all devices", message)
	s.requireDead(t, mine)
	s.requireDead(t, other)
	mine = s.signedIn(t, email, password)
	_, code := s.newOTP(t, mine, email, 2)
	s.want(t, http.StatusOK, call{Path: pathSignOutAll, Token: mine, Body: fields{"otp": code}})
	s.requireDead(t, mine)
}

func reauthenticate(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	age := func() {
		s.db.change(t, `UPDATE sessions SET auth_time = now() - interval '11 minutes' WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	}
	guarded := call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": newNumber(t), "country_code": "US"}}
	age()
	s.refused(t, http.StatusForbidden, "reauthentication_required", guarded)
	s.refuses(t, http.StatusForbidden, "Password is incorrect", call{Path: pathReauthenticate, Token: token, Body: fields{"password": "not-the-password-1"}})
	s.refused(t, http.StatusForbidden, "reauthentication_required", guarded)
	message, data := s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"password": password}}).told(t)
	require.Equal(t, "Reauthenticated successfully", message)
	require.Nil(t, data)
	s.want(t, http.StatusOK, guarded)
	age()
	_, code := s.newOTP(t, token, email, 1)
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", call{Path: pathReauthenticate, Token: token, Body: fields{"otp": wrong(code, 1)}})
	s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}})
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sessions WHERE auth_time > now() - interval '1 minute'
		AND account_id = (SELECT id FROM accounts WHERE email = $1)`, email))
	_, data = s.want(t, http.StatusUnprocessableEntity, call{Path: pathReauthenticate, Token: token, Body: fields{}}).told(t)
	require.Equal(t, map[string]any{"password": "password or otp is required"}, data)
}

func fiveWrongSecurityCodes(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.newOTP(t, token, email, 1)
	for i := range 5 {
		s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, wrong(code, i+1), newPassword))
	}
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, code, newPassword))
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	// A new code has its own five tries, but the ten of an hour go on being counted: four are left, and then none.
	temp, code = s.newOTP(t, token, email, 2)
	for i := range 4 {
		s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, wrong(code, i+1), newPassword))
	}
	got := s.want(t, http.StatusTooManyRequests, withOTP(token, temp, code, newPassword))
	require.NotEmpty(t, got.Header.Get("Retry-After"))
}

func oneUse(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.newOTP(t, token, email, 1)
	s.want(t, http.StatusOK, call{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}})
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(token, temp, code, newPassword))
	for _, again := range []call{
		{Path: pathReplacePassword, Token: token, Body: fields{"otp": code, "newPassword": newPassword, "confirmPassword": newPassword}},
		{Path: pathSignOutAll, Token: token, Body: fields{"otp": code}},
		{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}},
	} {
		s.refuses(t, http.StatusForbidden, "OTP is incorrect", again)
	}
	s.requireAlive(t, token)
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	// The next code can be had at once, whatever the flow before it is still doing.
	temp, code = s.newOTP(t, token, email, 2)
	s.want(t, http.StatusOK, withOTP(token, temp, code, newPassword))
}

func securityCodesOfOthers(t *testing.T, s *system) {
	email, mail := newEmail(), newEmail()
	victim, thief := s.signUp(t, email), s.signUp(t, mail)
	temp, code := s.newOTP(t, victim, email, 1)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(thief, temp, code, newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", call{Path: pathSignOutAll, Token: thief, Body: fields{"otp": code}})
	own, _ := s.newOTP(t, thief, mail, 1)
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(thief, own, wrong(code, 0), newPassword))
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(thief, temp, code, newPassword))
	require.Equal(t, 4, s.db.number(t, `SELECT cardinality(hits) FROM quotas WHERE key = $1`,
		s.keys.Subject("guess/password_change", s.accountID(t, mail))), "each cost the thief a guess")
	// Another session of the same account is somebody else, too.
	second := s.signedIn(t, email, password)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(second, temp, code, newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", call{Path: pathReauthenticate, Token: second, Body: fields{"otp": code}})
	s.want(t, http.StatusOK, withOTP(victim, temp, code, newPassword))
}

func (s *system) accountID(t testing.TB, email string) string {
	t.Helper()
	ids := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)
	require.Len(t, ids, 1)
	return ids[0]
}

func newestSecurityCode(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	oldTemp, oldCode := s.newOTP(t, token, email, 1)
	got := s.want(t, http.StatusTooManyRequests, call{Path: pathSendOTP, Token: token, Body: fields{"channel": "EMAIL"}})
	require.NotEmpty(t, got.Header.Get("Retry-After"), "60 seconds apart")
	temp, code := s.newOTP(t, token, email, 2)
	require.NotEqual(t, oldTemp, temp)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(token, oldTemp, oldCode, newPassword))
	if oldCode != code {
		s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, oldCode, newPassword))
	}
	s.want(t, http.StatusOK, withOTP(token, temp, code, newPassword))
}

func oddSecurityCodes(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.newOTP(t, token, email, 1)
	// JSON knows no number that begins with 0, as one code in ten does.
	number := json.Number(strings.TrimLeft(code, "0"))
	for _, odd := range []any{
		number, []any{code}, fields{"$ne": ""}, " " + code + " ", "0" + code, true, nil, "",
	} {
		for _, in := range []call{
			{Path: pathChangeWithOTP, Token: token, Body: fields{"tempToken": temp, "otp": odd, "newPassword": newPassword, "confirmPassword": newPassword}},
			{Path: pathReplacePassword, Token: token, Body: fields{"otp": odd, "newPassword": newPassword, "confirmPassword": newPassword}},
			{Path: pathSignOutAll, Token: token, Body: fields{"otp": odd}},
			{Path: pathReauthenticate, Token: token, Body: fields{"otp": odd}},
		} {
			s.want(t, http.StatusUnprocessableEntity, in)
		}
	}
	require.Zero(t, s.db.number(t, `SELECT attempts FROM challenges WHERE purpose = 'password_change' AND destination = $1`, email))
	// Six characters that are no ASCII digits can be tried, and are wrong (contract D07).
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, "\u0661\u0662\u0663\u0664\u0665\u0666", newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", withOTP(token, temp, "abcdef", newPassword))
	s.want(t, http.StatusOK, withOTP(token, temp, code, newPassword))
}

func securityCodesAreBounded(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	number := s.phoned(t, email, token)
	statuses := make([]int, 50)
	ask := call{Path: pathSendOTP, Token: token, Body: fields{"channel": "SMS_AND_WHATSAPP"}}
	atOnce(50, func(i int) { statuses[i] = s.send(t, ask).Status })
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusTooManyRequests: 49}, counts)
	for range 4 {
		s.passTime(t, "password_change", number, time.Minute)
		s.want(t, http.StatusOK, ask)
	}
	s.passTime(t, "password_change", number, time.Minute)
	s.want(t, http.StatusTooManyRequests, ask)
	testkit.Eventually(t, patience, func() bool { return len(s.toPhone(t, "whatsapp", number)) >= 1 }, "a code")
	require.LessOrEqual(t, len(s.toPhone(t, "whatsapp", number)), 5)
	require.LessOrEqual(t, len(s.toPhone(t, "sms", number)), 6, "the code of the verification, and five")
}

func sessionsOfOthers(t *testing.T, s *system) {
	mine, theirs := s.signUp(t, newEmail()), s.signUp(t, newEmail())
	id := s.sessionID(t, theirs)
	proof := fmt.Sprintf(`{"password":%q}`, password)
	for _, foreign := range []string{id, "00000000-0000-4000-8000-000000000000"} {
		for _, got := range []answer{
			s.mark(t, "POST", pathSignOut, "", mine, foreign), s.mark(t, "POST", pathSignOutOthers, proof, mine, foreign),
			s.send(t, call{Method: "DELETE", Path: pathAccountSessions + "/" + foreign, Token: mine}),
		} {
			require.Equal(t, http.StatusNotFound, got.Status)
			message, _ := got.told(t)
			require.Equal(t, "Session not found", message)
		}
	}
	s.requireAlive(t, theirs)
	s.requireAlive(t, mine)
}

func oneGuessCount(t *testing.T, s *system) {
	email := newEmail()
	owner := s.signUp(t, email)
	stolen := s.signedIn(t, email, password)
	id := s.sessionID(t, stolen)
	guesses := []func() answer{
		func() answer {
			return s.send(t, call{Path: pathSignOutAll, Token: stolen, Body: fields{"password": "not-the-password-1"}})
		},
		func() answer {
			return s.mark(t, "POST", pathSignOutOthers, `{"password":"not-the-password-1"}`, stolen, id)
		},
		func() answer {
			return s.send(t, call{Path: pathReplacePassword, Token: stolen, Body: fields{
				"currentPassword": "not-the-password-1", "newPassword": newPassword, "confirmPassword": newPassword,
			}})
		},
		func() answer {
			return s.send(t, call{Path: pathReauthenticate, Token: stolen, Body: fields{"password": "not-the-password-1"}})
		},
		func() answer { return s.send(t, change(stolen, "not-the-password-1", newPassword)) },
	}
	for _, guess := range guesses {
		require.Contains(t, []int{http.StatusForbidden, http.StatusBadRequest}, guess().Status)
	}
	for _, guess := range guesses {
		require.Equal(t, http.StatusTooManyRequests, guess().Status, "the counter of logins")
	}
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status, "and the login waits with them")
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sessions WHERE id = $1 AND auth_time = 'epoch'`, id))
	for range 5 {
		_, err := s.db.Exec(t.Context(), `UPDATE login_throttles SET not_before = now() WHERE key = $1`, s.accountKey(t, email))
		require.NoError(t, err)
		guesses[0]()
	}
	s.requireDead(t, stolen)
	s.requireAlive(t, owner)
}

func tempTokenIsNoCredential(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.newOTP(t, token, email, 1)
	s.requireDead(t, temp)
	for _, odd := range []string{token, s.forgot(t, email, 1), temp[:40], strings.ToUpper(temp), temp + temp} {
		s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(token, odd, code, newPassword))
	}
	require.Equal(t, "invalid_token", s.reset(t, temp, newPassword).code())
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: "PUT", Path: pathConfirmEmail, Body: fields{"token": temp}})
	s.want(t, http.StatusOK, withOTP(token, temp, code, newPassword))
}

func securityCodeRepeated(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	ask := call{Path: pathSendOTP, Token: token, Key: newEmail(), Body: fields{"channel": "EMAIL"}}
	_, first := s.want(t, http.StatusOK, ask).told(t)
	forget := func() {
		_, err := s.db.Exec(t.Context(), `DELETE FROM idempotency_keys`)
		require.NoError(t, err)
	}
	_, again := s.want(t, http.StatusOK, ask).told(t)
	require.Equal(t, first, again)
	code := s.securityCode(t, email, 1)
	use := withOTP(token, first.(map[string]any)["tempToken"].(string), code, newPassword)
	use.Key = newEmail()
	s.want(t, http.StatusOK, use)
	s.want(t, http.StatusOK, use)
	forget() // as if the answer had never been kept
	_, data := s.want(t, http.StatusOK, use).told(t)
	require.Equal(t, true, data.(map[string]any)["hadPassword"])
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM challenges WHERE destination = $1 AND purpose = 'password_change'`, email))
}

func codeDiesWithItsSession(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.newOTP(t, token, email, 1)
	require.Equal(t, http.StatusOK, s.mark(t, "POST", pathSignOut, "", token, s.sessionID(t, token)).Status)
	s.want(t, http.StatusUnauthorized, withOTP(token, temp, code, newPassword))
	fresh := s.signedIn(t, email, password)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(fresh, temp, code, newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", call{Path: pathReauthenticate, Token: fresh, Body: fields{"otp": code}})

	// An expired one is dead as well.
	s.passTime(t, "password_change", email, time.Minute)
	temp, _ = s.sendOTP(t, fresh, "EMAIL")
	code = s.securityCode(t, email, 2)
	// The life of a code begins when the provider has taken it, which is noted a moment after the mail is there.
	s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE purpose = 'password_change' AND destination = $1 AND superseded_at IS NULL AND sent_at IS NOT NULL`, email)
	s.db.change(t, `UPDATE challenges SET code_expires_at = now() WHERE purpose = 'password_change' AND destination = $1 AND superseded_at IS NULL`, email)
	s.refuses(t, http.StatusBadRequest, "Invalid or expired token", withOTP(fresh, temp, code, newPassword))
	s.refuses(t, http.StatusForbidden, "OTP is incorrect", call{Path: pathReauthenticate, Token: fresh, Body: fields{"otp": code}})
}
