//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	pathChangePassword   = "/api/v1/auth/change-password"
	pathAddPassword      = "/api/v1/auth/add-password"
	pathForgotPassword   = "/api/v1/auth/forgot-password"
	pathResetPassword    = "/api/v1/auth/reset-password"
	pathSecurityOverview = "/api/v1/auth/security-overview"
	pathCheckEmail       = "/api/v1/auth/check-email"
	pathCheckEmailExists = "/api/v1/auth/check-email-exists"

	newPassword = "another-Horse-8-battery"
)

// TestPasswords plays C02 to C07, C21, C22 and A05 on one system.
func TestPasswords(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"A05_ChangePassword":                       changePassword,
		"A05_KeyHeaderMeetsItsOwnRule":             passwordRules,
		"C02_AddPassword":                          addPassword,
		"C07_C21_ResetPassword":                    resetPassword,
		"C22_SecurityOverview":                     securityOverview,
		"C04_C05_CheckEmail":                       checkEmail,
		"SES-13_GuessGate":                         guessGate,
		"RST-01_HostHeader":                        resetHostHeader,
		"RST-05_TokensOfOtherPurposes":             resetTokens,
		"RST-07_OnlyTheStoredAddress":              resetHomoglyphs,
		"PRE-01_ResetOfASquattedAddress":           resetSquatted,
		"PRE-06_ContestedAccountGetsAPassword":     resetContested,
		"ENU-05_ForgotPasswordTellsNothing":        forgotTellsNothing,
		"RST_SameKeyGetsTheSameAnswer":             resetRepeated,
		"RST_TheUsernameWaitsNoLonger":             recoveredByUsername,
		"RST_newest_link_only_and_notices_arrive":  newestLink,
		"RST_A_new_reset_begins_right_after_a_use": resetAgain,
	})
}

// TestPasswordRaces fills the hashing queue, and so has a system of its own.
func TestPasswordRaces(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	t.Run("RST_race_100ChangesFromOnePassword", func(t *testing.T) { changeRace(t, s) })
}

// forgot asks for a link and returns the token of the n-th one to the address.
func (s *system) forgot(t testing.TB, email string, n int) string {
	t.Helper()
	s.want(t, http.StatusOK, call{Path: pathForgotPassword, Body: fields{"email": email}})
	return tokenOf(t, s.resetMail(t, email, n))
}

// resetMail waits for the n-th mail with a link to an address.
func (s *system) resetMail(t testing.TB, email string, n int) inboxMessage {
	t.Helper()
	var links []inboxMessage
	testkit.Eventually(t, patience, func() bool {
		links = slices.DeleteFunc(s.inbox(t, email), func(m inboxMessage) bool { return m.Subject != "Choose a new password" })
		return len(links) >= n
	}, "a link to "+email)
	return links[len(links)-n]
}

func (s *system) reset(t testing.TB, token, pass string) answer {
	t.Helper()
	return s.send(t, call{Path: pathResetPassword, Body: fields{"token": token, "new_password": pass}})
}

func change(token, current, next string) call {
	return call{Path: pathChangePassword, Token: token, Body: fields{"current_password": current, "new_password": next}}
}

// signedIn is one more session.
func (s *system) signedIn(t *testing.T, email, pass string) string {
	t.Helper()
	got := s.login(t, email, pass)
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	return got.text(t, "session_token")
}

// apiKey makes an API key with scopes.
func (s *system) apiKey(t *testing.T, token string, scopes ...string) string {
	t.Helper()
	body := fields{"name": "test", "scopes": scopes}
	return s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: token, Body: body}).text(t, "key")
}

func changePassword(t *testing.T, s *system) {
	email := newEmail()
	other := s.signUp(t, email)
	mine := s.signedIn(t, email, password)
	s.refused(t, http.StatusBadRequest, "invalid_password", change(mine, "not-the-password-1", newPassword))
	for next, why := range map[string]string{
		"short1": "at least 8", "password1": "too common", "no-digits-in-here": "a letter and a number", "12345678901": "",
		"        ": "blank", email: "your email",
	} {
		got := s.refused(t, http.StatusUnprocessableEntity, "validation_error", change(mine, password, next))
		require.Contains(t, string(got.Body), why, next)
	}
	got := s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathChangePassword, Token: mine, Body: fields{}})
	require.Contains(t, string(got.Body), "current_password")
	require.Contains(t, string(got.Body), "new_password")
	got = s.want(t, http.StatusOK, change(mine, password, newPassword))
	require.JSONEq(t, `{"status":"ok","message":"Password changed successfully"}`, string(got.Body))
	s.requireAlive(t, mine)
	s.requireDead(t, other)
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireMail(t, email, "Your Gatehouse password was changed")
	// Composed or decomposed is the same password.
	s.want(t, http.StatusOK, change(mine, newPassword, "cafe\u0301-for-everyone-1"))
	require.Equal(t, http.StatusOK, s.login(t, email, "caf\u00e9-for-everyone-1").Status)
}

// requireMail waits for a mail with a subject.
func (s *system) requireMail(t *testing.T, email, subject string) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool {
		return slices.ContainsFunc(s.inbox(t, email), func(m inboxMessage) bool { return m.Subject == subject })
	}, subject)
}

func passwordRules(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	strong, weak := s.apiKey(t, token, "account:security"), s.apiKey(t, token, "account:write", "account:read")
	body := fmt.Sprintf(`{"current_password":%q,"new_password":"no-digits-in-here"}`, password)
	got := s.raw(t, "POST", pathChangePassword, body, "Authorization", "Bearer "+strong)
	require.Equal(t, http.StatusUnprocessableEntity, got.Status, "A's rule: %s", got.Body)
	got = s.raw(t, "POST", pathChangePassword, body, "X-API-Key", weak)
	require.Equal(t, http.StatusForbidden, got.Status, "%s", got.Body)
	require.Equal(t, "insufficient_scope", got.code())
	got = s.raw(t, "POST", pathChangePassword, body, "X-API-Key", strong)
	require.Equal(t, http.StatusOK, got.Status, "C has no such rule: %s", got.Body)
	s.requireDead(t, token)
	got = s.raw(t, "POST", pathChangePassword, `{"current_password":"no-digits-in-here","new_password":"short"}`, "X-API-Key", strong)
	require.Equal(t, http.StatusUnprocessableEntity, got.Status, "the floor of the account holds for everybody")
	require.Equal(t, http.StatusOK, s.login(t, email, "no-digits-in-here").Status)
}

func addPassword(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	add := call{Path: pathAddPassword, Token: token, Body: fields{"password": newPassword}}
	s.refused(t, http.StatusConflict, "password_exists", add)
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	s.refused(t, http.StatusBadRequest, "invalid_password", change(token, password, newPassword))
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathAddPassword, Token: token, Body: fields{"password": "short"}})
	s.db.change(t, `UPDATE sessions SET auth_time = now() - interval '11 minutes' WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	s.refused(t, http.StatusForbidden, "reauthentication_required", add)
	s.db.change(t, `UPDATE sessions SET auth_time = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	var mutex sync.Mutex
	statuses := map[int]int{}
	atOnce(20, func(int) {
		got := s.send(t, add)
		mutex.Lock()
		defer mutex.Unlock()
		statuses[got.Status]++
	})
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusConflict: 19}, statuses)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireAlive(t, token)
	s.requireMail(t, email, "A password was added to your Gatehouse account")

	squatter := s.register(t, strings.ToLower(newEmail()[5:25]), newEmail())
	s.refused(t, http.StatusConflict, "password_exists", call{Path: pathAddPassword, Token: squatter, Body: fields{"password": newPassword}})
}

func resetPassword(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	tokens := []string{first, s.signedIn(t, email, password), s.authenticate(t, email, password).text(t, "token")}
	key := s.apiKey(t, first, "account:read", "account:security")
	token := s.forgot(t, email, 1)
	require.Len(t, token, 43, "256 bits")
	require.Equal(t, http.StatusUnprocessableEntity, s.reset(t, token, "short").Status)
	require.Equal(t, http.StatusUnprocessableEntity, s.reset(t, token, email).Status, "not burnt by a refused password")
	got := s.reset(t, token, newPassword)
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	for _, dead := range tokens {
		s.requireDead(t, dead)
	}
	for _, header := range []string{"X-API-Key", "Authorization"} {
		value := key
		if header == "Authorization" {
			value = "Bearer " + key
		}
		require.Equal(t, http.StatusUnauthorized, s.raw(t, "GET", pathMe, "", header, value).Status)
	}
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	s.requireMail(t, email, "Your Gatehouse password was reset")
	require.Equal(t, "invalid_token", s.reset(t, token, newPassword).code(), "single use")
	s.db.eventually(t, 0, `SELECT count(*) FROM challenges WHERE proof::text LIKE '%argon2%'`)
}

func securityOverview(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	got := s.want(t, http.StatusOK, call{Path: pathSecurityOverview, Token: token})
	require.JSONEq(t, `{"primary_method":"email","has_password":true,"linked_providers":[],"can_add_password":false,
		"email_verified":true}`, string(got.Body))
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	got = s.want(t, http.StatusOK, call{Path: pathSecurityOverview, Token: token})
	require.Equal(t, true, got.object(t)["can_add_password"])
	require.Equal(t, false, got.object(t)["has_password"])
}

func checkEmail(t *testing.T, s *system) {
	known, unknown, bare := newEmail(), newEmail(), newEmail()
	s.signUp(t, known)
	s.signUp(t, bare)
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, bare)
	hidden := s.replica(t, "127.0.0.1", "GATEHOUSE_ENUMERATION", "hidden", "GATEHOUSE_LIMIT_SCALE", "100000")
	for email, want := range map[string][2]bool{known: {true, true}, unknown: {false, false}, bare: {true, false}, "example_email": {false, false}} {
		for api, told := range map[*system][2]bool{s: want, hidden: {false, false}} {
			body := api.want(t, http.StatusOK, call{Path: pathCheckEmail, Body: fields{"email": " " + strings.ToUpper(email)}}).object(t)
			require.Equal(t, map[string]any{"exists": told[0], "has_password": told[1]}, body)
			body = api.want(t, http.StatusOK, call{Path: pathCheckEmailExists + "?email=" + email}).object(t)
			require.Equal(t, map[string]any{"status": "ok", "exists": told[0], "has_password": told[1], "providers": []any{}}, body)
		}
	}
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathCheckEmail, Body: fields{}})
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathCheckEmailExists})
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathForgotPassword, Body: fields{}})
}

func guessGate(t *testing.T, s *system) {
	email := newEmail()
	owner := s.signUp(t, email)
	stolen := s.signedIn(t, email, password)
	rest := func() {
		_, err := s.db.Exec(t.Context(), `UPDATE login_throttles SET not_before = now() WHERE key = $1`, s.accountKey(t, email))
		require.NoError(t, err)
	}
	for range 5 {
		s.refused(t, http.StatusBadRequest, "invalid_password", change(stolen, "not-the-password-1", newPassword))
	}
	s.refused(t, http.StatusTooManyRequests, "too_many_requests", change(stolen, password, newPassword))
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status, "the same counter as login")
	s.db.eventually(t, 1, `SELECT count(*) FROM sessions WHERE auth_time = 'epoch'
		AND account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	s.refused(t, http.StatusForbidden, "reauthentication_required", moveTo(stolen, newEmail()))
	s.refused(t, http.StatusConflict, "password_exists", call{Path: pathAddPassword, Token: stolen, Body: fields{"password": newPassword}})
	for range 5 {
		rest()
		s.refused(t, http.StatusBadRequest, "invalid_password", change(stolen, "not-the-password-1", newPassword))
	}
	s.requireDead(t, stolen)
	s.requireAlive(t, owner)
	// A reset lets the owner in at once.
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, email, 1), newPassword).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
}

func resetHostHeader(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	for i, header := range [][2]string{
		{"Host", "evil.example"}, {"X-Forwarded-Host", "evil.example"}, {"Forwarded", "host=evil.example"}, {"X-Forwarded-Proto", "javascript"},
	} {
		if i > 0 {
			s.passTime(t, "reset", email, time.Minute)
		}
		got := s.raw(t, "POST", pathForgotPassword, `{"email":"`+email+`"}`, header[0], header[1])
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		link := linkOf(t, s.resetMail(t, email, i+1))
		require.True(t, strings.HasPrefix(link, s.stack.BaseURL+"/reset-password?token="), link)
	}
}

func resetTokens(t *testing.T, s *system) {
	email, squatted := newEmail(), newEmail()
	access := s.signUp(t, email)
	s.register(t, strings.ToLower(newEmail()[5:25]), squatted)
	confirm := tokenOf(t, s.awaitMail(t, squatted, 1))
	good := s.forgot(t, email, 1)
	for _, token := range []string{
		confirm, access, "123456", "x", good[:42], good[:23], good + "A", strings.ToUpper(good), strings.ToLower(good), " " + good,
		strings.Repeat("A", 43), good + good,
	} {
		require.Equal(t, "invalid_token", s.reset(t, token, newPassword).code(), token)
	}
	require.Equal(t, "validation_error", s.reset(t, "", newPassword).code())
	got := s.raw(t, "POST", pathResetPassword, fmt.Sprintf(`{"token":%q,"token":%q,"new_password":%q}`, good, good, newPassword))
	require.Equal(t, http.StatusBadRequest, got.Status)
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: "PUT", Path: pathConfirmEmail, Body: fields{"token": good}})
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status, "nothing was changed")
	s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE purpose = 'reset' AND destination = $1 AND sent_at IS NOT NULL`, email)
	s.db.change(t, `UPDATE challenges SET link_expires_at = now() WHERE purpose = 'reset' AND destination = $1`, email)
	require.Equal(t, "invalid_token", s.reset(t, good, newPassword).code(), "expired")
}

func resetHomoglyphs(t *testing.T, s *system) {
	email := strings.Replace(newEmail(), "user-", "vikictim", 1)
	s.signUp(t, email)
	for _, twin := range []string{"v\u0131kictim", "vi\u212aictim", "V\u0130kictim"} {
		at := strings.Replace(email, "vikictim", twin, 1)
		s.want(t, http.StatusOK, call{Path: pathForgotPassword, Body: fields{"email": at}})
	}
	require.Equal(t, 0, s.db.number(t, `SELECT count(*) FROM challenges WHERE purpose = 'reset' AND destination = $1`, email))
	s.forgot(t, strings.ToUpper(email), 1)
}

func resetSquatted(t *testing.T, s *system) {
	email := newEmail()
	name := strings.ToLower(newEmail()[5:25])
	squatter := s.register(t, name, email)
	confirmation := tokenOf(t, s.awaitMail(t, email, 1))
	token := s.forgot(t, email, 1)
	require.Equal(t, http.StatusOK, s.reset(t, token, newPassword).Status)
	s.requireDead(t, squatter)
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	mine := s.signedIn(t, email, newPassword)
	require.Equal(t, true, s.want(t, http.StatusOK, call{Path: pathMe, Token: mine}).object(t)["is_verified"])
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: "PUT", Path: pathConfirmEmail, Body: fields{"token": confirmation}})
}

func resetContested(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": "attackers-Choice-1"}})
	session := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": s.awaitCode(t, email)}}).text(t, "session_token")
	require.Equal(t, false, s.want(t, http.StatusOK, call{Path: pathSecurityOverview, Token: session}).object(t)["has_password"])
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, email, 1), newPassword).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
	for _, pass := range []string{password, "attackers-Choice-1"} {
		require.Equal(t, http.StatusUnauthorized, s.login(t, email, pass).Status)
	}
}

func forgotTellsNothing(t *testing.T, s *system) {
	verified, unverified, locked, unknown := newEmail(), newEmail(), newEmail(), newEmail()
	s.signUp(t, verified)
	s.signUp(t, locked)
	s.register(t, strings.ToLower(newEmail()[5:25]), unverified)
	s.db.change(t, `UPDATE accounts SET is_locked = true WHERE email = $1`, locked)
	populations := map[string]string{"verified": verified, "unverified": unverified, "locked": locked, "unknown": unknown}
	for round := range 7 {
		path, want := pathForgotPassword, http.StatusOK
		if round%2 == 0 {
			path, want = pathResetB, http.StatusNoContent
		}
		answers := map[string]answer{}
		for name, email := range populations {
			if round > 1 {
				s.passTime(t, "reset", email, time.Minute)
			}
			answers[name] = s.send(t, call{Path: path, Body: fields{"email": email}})
		}
		requireSame(t, answers)
		if round == 1 || round == 6 {
			want = http.StatusTooManyRequests
		}
		require.Equal(t, want, answers["unknown"].Status, round)
	}
	require.Empty(t, s.inbox(t, unknown))
	for _, m := range s.inbox(t, locked) {
		require.NotEqual(t, "Choose a new password", m.Subject)
	}
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM challenges WHERE destination = ANY ($1)`, []string{unknown}))
}

func changeRace(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s = s.tolerant(t)
	statuses := make([]int, 100)
	atOnce(100, func(i int) {
		statuses[i] = s.send(t, change(token, password, fmt.Sprintf("race-Password-%d", i))).Status
	})
	won := -1
	for i, status := range statuses {
		if status == http.StatusOK {
			require.Equal(t, -1, won, "a second winner")
			won = i
		}
	}
	require.NotEqual(t, -1, won, "%v", statuses)
	_, err := s.db.Exec(t.Context(), `UPDATE login_throttles SET not_before = now() WHERE key = $1`, s.accountKey(t, email))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.login(t, email, fmt.Sprintf("race-Password-%d", won)).Status)
}

func resetRepeated(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	ask := call{Path: pathForgotPassword, Key: newEmail(), Body: fields{"email": email}}
	s.want(t, http.StatusOK, ask)
	s.want(t, http.StatusOK, ask)
	use := call{Path: pathResetPassword, Key: newEmail(), Body: fields{"token": tokenOf(t, s.resetMail(t, email, 1)), "new_password": newPassword}}
	s.want(t, http.StatusOK, use)
	s.want(t, http.StatusOK, use)
	// As if the answer had never been kept.
	s.db.change(t, `DELETE FROM idempotency_keys WHERE ctid IN (SELECT i.ctid FROM idempotency_keys i JOIN challenges c ON c.proof_key = i.key
		WHERE c.destination = $1 AND c.purpose = 'reset')`, email)
	s.want(t, http.StatusOK, use)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM challenges WHERE destination = $1 AND purpose = 'reset'`, email))
}

func newestLink(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	older := s.forgot(t, email, 1)
	s.passTime(t, "reset", email, time.Minute)
	newer := s.forgot(t, email, 2)
	require.NotEqual(t, older, newer)
	require.Equal(t, "invalid_token", s.reset(t, older, newPassword).code())
	require.Equal(t, http.StatusOK, s.reset(t, newer, newPassword).Status)
	s.requireMail(t, email, "Your Gatehouse password was reset")
}

func resetAgain(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, email, 1), newPassword).Status)
	s.requireMail(t, email, "Your Gatehouse password was reset")
	s.passTime(t, "reset", email, time.Minute)
	token := s.forgot(t, email, 2)
	require.Equal(t, http.StatusOK, s.reset(t, token, "third-Password-9").Status)
	require.Equal(t, http.StatusOK, s.login(t, email, "third-Password-9").Status)
}

// recoveredByUsername has somebody guess by the username until it must wait: its owner, who has a new password, must not.
func recoveredByUsername(t *testing.T, s *system) {
	email, name := newEmail(), newUsername()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, changeUsername(token, name))
	for by, recover := range map[string]func(next string){
		"C21": func(next string) {
			s.want(t, http.StatusOK, call{Path: pathResetPassword, Body: fields{"token": s.forgot(t, email, 1), "new_password": next}})
			token = s.signedIn(t, email, next)
		},
		"D07": func(next string) {
			temp, code := s.newOTP(t, token, email, 1)
			s.want(t, http.StatusOK, withOTP(token, temp, code, next))
		},
	} {
		testkit.Eventually(t, patience, func() bool {
			return s.send(t, entering(name, "not-the-password-1")).Status == http.StatusTooManyRequests
		}, by+": the username to wait")
		next := password + by
		recover(next)
		s.want(t, http.StatusOK, entering(name, next))
	}
}
