//go:build unix

package e2e_test

import (
	"encoding/json"
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
	playAll(t, s, map[string]func(*testing.T, *system){
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
	})
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
	type channel struct {
		name string
		ways []string
	}
	beside(t, map[string]channel{
		"SMS":              {"SMS", []string{"sms"}},
		"WHATSAPP":         {"WHATSAPP", []string{"whatsapp"}},
		"SMS_AND_WHATSAPP": {"SMS_AND_WHATSAPP", []string{"sms", "whatsapp"}},
	}, func(t *testing.T, by channel) {
		email := newEmail()
		token := s.signUp(t, email)
		number := s.phoned(t, email, token)
		before := map[string]int{}
		for _, way := range []string{"sms", "whatsapp"} {
			before[way] = len(s.toPhone(t, way, number))
		}
		temp, masked := s.sendOTP(t, token, by.name)
		require.Equal(t, number[:4]+"***"+number[len(number)-4:], masked)
		codes := map[string]bool{}
		for _, way := range by.ways {
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

func (s *system) accountID(t testing.TB, email string) string {
	t.Helper()
	ids := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)
	require.Len(t, ids, 1)
	return ids[0]
}
