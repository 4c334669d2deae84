//go:build unix

package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Journeys of one person each, beside each other on one system.
func TestJourney(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"SignUpByCode":                            signUpByCode,
		"RegisterAndOpenTheLink":                  registerAndOpenTheLink,
		"RegisterAndEnterTheCode":                 registerAndEnterTheCode,
		"SignupAlias":                             signupAlias,
		"SES09_SessionsEndAlone":                  sessionsEndAlone,
		"OTP09_ResendReplacesTheCode":             resendReplacesTheCode,
		"ResendForARegistration":                  resendForARegistration,
		"TooManyCodes":                            tooManyCodes,
		"OTP01_FiveWrongCodesKillTheRightOne":     fiveWrongCodesKillTheRightOne,
		"OTP01_GuessesOutliveTheirCodes":          guessesOutliveTheirCodes,
		"ExpiredCode":                             expiredCode,
		"ExpiredLink":                             expiredLink,
		"PRE01_SquatterDiesAtTheProof":            squatterDiesAtTheProof,
		"PRE06_TwoPasswordsOpenNothing":           twoPasswordsOpenNothing,
		"PRE06_SamePasswordIsTheSamePerson":       samePasswordIsTheSamePerson,
		"PRE06_ConfirmingAContestedAddress":       confirmingAContestedAddress,
		"APIKeys":                                 apiKeys,
		"IdempotencyKeys":                         idempotencyKeys,
		"Inbox":                                   inboxFilters,
		"VerifyCodeWithBothKindsOfSignUpUnderWay": verifyCodeWithBothKinds,
	})
}

func signUpByCode(t *testing.T, s *system) {
	email := newEmail()
	shouted := "  " + strings.ToUpper(email) + " "
	got := s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{
		"email": shouted, "password": password, "name": "Ada Lovelace",
		"device_fingerprint": fields{"canvas": email}, "attribution": fields{"utm_source": "<b>news</b>letter"},
	}}).object(t)
	require.Equal(t, email, got["email"])
	require.EqualValues(t, 10, got["expires_in_minutes"])
	require.Zero(t, s.db.number(t, accounts, email), "an account before its proof")
	code := s.awaitCode(t, email)

	// C31 on a pending sign-up checks the code and leaves it (contract X26).
	checked := s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": email, "code": code}}).object(t)
	require.Equal(t, true, checked["success"])
	require.EqualValues(t, 0, checked["credits_awarded"])
	require.Zero(t, s.db.number(t, accounts, email))

	done := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": shouted, "code": code}}).object(t)
	require.Equal(t, []any{"ok", email, "Ada Lovelace", true, false},
		[]any{done["status"], done["email"], done["name"], done["email_verified"], done["is_admin"]})
	token, _ := done["session_token"].(string)
	s.requireWholeAccount(t, token, email, done["id"])
	require.Equal(t, "Welcome to Gatehouse", s.awaitMail(t, email, 2).Subject)
	require.JSONEq(t, `{"utm_source": "newsletter"}`, s.db.texts(t, `SELECT attribution::text FROM accounts WHERE email = $1`, email)[0])
	// Nothing of the parked sign-up is left but the fact.
	require.Equal(t, []string{""}, s.db.texts(t, `SELECT password_hash || coalesce(name, '') || coalesce(ip_address, '')
		|| coalesce(fingerprint::text, '') FROM signup_attempts WHERE email = $1`, email))

	s.refused(t, http.StatusConflict, "email_exists", call{Path: pathInitiateSignup, Body: fields{"email": shouted, "password": password}})
	s.refused(t, http.StatusBadRequest, "identity_already_used",
		call{Path: pathRegister, Body: fields{"username": shouted, "email": email, "password": password}})
}

// requireWholeAccount reads a new account in every dialect.
func (s *system) requireWholeAccount(t *testing.T, token, email string, id any) {
	t.Helper()
	me := s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)
	require.Equal(t, []any{id, email, "Ada Lovelace", "Ada Lovelace", true, true, false, "free"}, []any{
		me["id"], me["email"], me["name"], me["full_name"], me["is_verified"], me["is_active"], me["is_superuser"], me["subscription_tier"],
	})
	credits, _ := me["credits"].(map[string]any)
	require.EqualValues(t, 100, credits["credits_balance"])
	require.EqualValues(t, 100, credits["total_available_credits"])
	subscription, _ := me["subscription"].(map[string]any)
	require.Equal(t, []any{true, "active"}, []any{subscription["is_free_plan"], subscription["status"]})

	details := s.want(t, http.StatusOK, call{Path: pathDetails, Token: token}).object(t)
	require.Equal(t, []any{id, email, email, "Ada Lovelace"},
		[]any{details["userId"], details["email"], details["username"], details["displayName"]})
	can := s.want(t, http.StatusOK, call{Path: pathCanSetPassword, Token: token}).object(t)
	require.Equal(t, map[string]any{"canSetPassword": false, "authProvider": "EMAIL"}, can["data"])
	require.Equal(t, "Password already set", can["message"])
}

func registerAndOpenTheLink(t *testing.T, s *system) {
	email := newEmail()
	username := "Ada." + email[5:15]
	got := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{
		"username": username, "email": email, "password": password, "marketingOptIn": true,
	}}).object(t)
	require.Equal(t, []any{strings.ToLower(username), email, "Registration successful"}, []any{got["username"], got["email"], got["message"]})
	token, _ := got["token"].(string)
	s.requireAlive(t, token)
	s.requireBalance(t, token, false, 0)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND marketing_opt_in`, email))
	s.refused(t, http.StatusBadRequest, "identity_already_used",
		call{Path: pathRegister, Body: fields{"username": username, "email": newEmail(), "password": password}})

	mail := s.awaitMail(t, email, 1)
	require.Len(t, mail.Code, 6)
	require.True(t, strings.HasPrefix(linkOf(t, mail), s.base+"/confirm-email?token="), mail.Text)
	confirm := call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}}
	s.want(t, http.StatusOK, confirm)
	s.requireBalance(t, token, true, 100)
	s.refused(t, http.StatusBadRequest, "invalid_token", confirm)
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": email, "code": mail.Code}})
	s.requireBalance(t, token, true, 100)
	require.Equal(t, "Welcome to Gatehouse", s.awaitMail(t, email, 2).Subject)

	for _, name := range []string{username, strings.ToUpper(username), email, "@" + username} {
		s.want(t, http.StatusOK, call{Path: pathAuthenticate, Body: fields{"username": name, "password": password}})
	}
}

func (s *system) requireBalance(t *testing.T, token string, verified bool, credits int) {
	t.Helper()
	me := s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)
	balances, _ := me["credits"].(map[string]any)
	require.Equal(t, verified, me["is_verified"])
	require.EqualValues(t, credits, balances["credits_balance"])
}

func registerAndEnterTheCode(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, email, email) // the document's clients send the email as the username
	mail := s.awaitMail(t, email, 1)
	verify := call{Path: pathVerifyCode, Body: fields{"email": strings.ToUpper(email), "code": mail.Code}}
	got := s.want(t, http.StatusOK, verify).object(t)
	require.Equal(t, true, got["success"])
	require.EqualValues(t, 100, got["credits_awarded"])

	again := s.refused(t, http.StatusBadRequest, "invalid_code", verify).object(t)
	require.Equal(t, []any{false, 0.0}, []any{again["success"], again["credits_awarded"]})
	s.refused(t, http.StatusBadRequest, "invalid_token",
		call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	s.requireBalance(t, token, true, 100)
	require.Equal(t, "Welcome to Gatehouse", s.awaitMail(t, email, 2).Subject)
	require.Equal(t, 1, s.db.number(t, bonuses, email))
}

func signupAlias(t *testing.T, s *system) {
	for _, body := range []any{nil, fields{}, fields{"email": nil, "name": "nobody"}} {
		got := s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathSignup, Body: body})
		require.JSONEq(t, `{"status":"ok"}`, string(got.Body))
	}
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathSignup, Body: fields{"email": newEmail()}})

	email := newEmail()
	got := s.want(t, http.StatusOK, call{Path: pathSignup, Body: fields{"email": email, "password": password}})
	require.Equal(t, "ok", got.text(t, "status"))
	body := fields{"email": email, "code": s.awaitCode(t, email)}
	s.requireAlive(t, s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: body}).text(t, "session_token"))
}

// SES-09 in passing: every sign-in is a session of its own, and ends alone and everywhere.
func sessionsEndAlone(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	second := s.login(t, email, password).text(t, "session_token")
	third := s.authenticate(t, email, password).object(t)
	access, _ := third["accessToken"].(string)
	require.Equal(t, []any{access, third["expires"]}, []any{third["token"], third["expiresAt"]})
	expires, err := time.Parse(time.RFC3339, third["expires"].(string))
	require.NoError(t, err)
	require.InDelta(t, 600, time.Until(expires).Seconds(), 30)
	for _, token := range []string{first, second, access} {
		s.requireAlive(t, token)
	}

	for _, ended := range []string{second, access} {
		s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: ended})
		s.requireDead(t, ended)
		s.want(t, http.StatusUnauthorized, call{Method: http.MethodPost, Path: pathLogout, Token: ended})
	}
	s.requireAlive(t, first)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sessions s JOIN accounts a ON a.id = s.account_id
		WHERE a.email = $1 AND s.revoked_at IS NULL`, email))
}

// PRE-01, PRE-09 and D5: whoever proves the mailbox gets it clean.
func squatterDiesAtTheProof(t *testing.T, s *system) {
	email := newEmail()
	username := "squat_" + email[5:15]
	squatter := s.register(t, username, email)
	squatted := s.awaitMail(t, email, 1)
	again := s.login(t, email, password).text(t, "session_token")

	owned := password + " of the owner"
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": owned}})
	code := s.awaitMail(t, email, 2).Code
	token := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).text(t, "session_token")

	s.requireAlive(t, token)
	s.requireDead(t, squatter)
	s.requireDead(t, again)
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusUnauthorized, s.authenticate(t, username, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, owned).Status)
	s.refused(t, http.StatusBadRequest, "invalid_token",
		call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, squatted)}})
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": email, "code": squatted.Code}})
	s.requireBalance(t, token, true, 100)
	require.Equal(t, 1, s.db.number(t, accounts, email))
	s.register(t, username, newEmail()) // the name is free again
}

func twoPasswordsOpenNothing(t *testing.T, s *system) {
	email := newEmail()
	attacker, victim := password+" A", password+" V"
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": attacker, "name": "Mallory"}})
	s.awaitMail(t, email, 1)
	s.passTime(t, "signup", email, time.Minute)
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": victim, "name": "Vera"}})
	code := s.awaitMail(t, email, 2).Code
	got := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).object(t)
	require.Nil(t, got["name"], "a name of unknown origin")
	for _, pass := range []string{attacker, victim, ""} {
		require.NotEqual(t, http.StatusOK, s.login(t, email, pass).Status)
		require.NotEqual(t, http.StatusOK, s.authenticate(t, email, pass).Status)
	}
	token, _ := got["session_token"].(string)
	can := s.want(t, http.StatusOK, call{Path: pathCanSetPassword, Token: token}).object(t)
	require.Equal(t, "You can set a password", can["message"])
	require.Equal(t, map[string]any{"canSetPassword": true, "authProvider": "EMAIL"}, can["data"])
}

func samePasswordIsTheSamePerson(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	s.want(t, http.StatusOK, call{Path: pathSignup, Body: fields{"email": email, "password": password}})
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
}

func confirmingAContestedAddress(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, email, email)
	mail := s.awaitMail(t, email, 1)
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password + " A"}})
	code := s.awaitMail(t, email, 2).Code

	s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	s.requireDead(t, token)
	for _, pass := range []string{password, password + " A"} {
		require.Equal(t, http.StatusUnauthorized, s.login(t, email, pass).Status)
	}
	got := s.send(t, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.Contains(t, []int{http.StatusBadRequest, http.StatusConflict}, got.Status)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts
		WHERE email = $1 AND email_verified_at IS NOT NULL AND password_hash IS NULL`, email))
}

func inboxFilters(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	s.awaitMail(t, email, 2)
	list := func(query url.Values) []inboxMessage {
		var found []inboxMessage
		got := s.want(t, http.StatusOK, call{Path: "/dev/inbox.json?" + query.Encode()})
		requireJSON(t, got.Body, &found)
		return found
	}
	both := list(url.Values{"to": {strings.ToUpper(email)}})
	require.Len(t, both, 2)
	require.Equal(t, []string{"Welcome to Gatehouse", "Your Gatehouse code"}, []string{both[0].Subject, both[1].Subject}, "newest first")
	require.Equal(t, []string{"", email}, []string{both[0].Code, both[1].To})
	require.Contains(t, both[1].Text, both[1].Code)
	require.Equal(t, both, list(url.Values{"to": {email}, "channel": {"email"}}))
	require.Empty(t, list(url.Values{"to": {email}, "channel": {"sms"}}))
	for _, near := range []string{email[1:], email + ".", "%", "_" + email[1:], " " + email, "' OR true --"} {
		require.Empty(t, list(url.Values{"to": {near}}), near)
	}
	require.NotEmpty(t, list(url.Values{"channel": {"email"}}))
}

// Real time passes here, so lives are short.
func TestJourney_WhatIsNotProvenInTimeLeavesNothing(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_SIGNUP_TTL", "2s", "GATEHOUSE_CODE_TTL", "2s", "GATEHOUSE_LINK_TTL", "2s",
		"GATEHOUSE_UNVERIFIED_TTL", "3s", "GATEHOUSE_SEND_GAP", "1s")
	abandoned, registered := newEmail(), newEmail()
	s.initiate(t, abandoned)
	token := s.register(t, registered, registered)
	code, mail := s.awaitCode(t, abandoned), s.awaitMail(t, registered, 1)
	s.requireAlive(t, token)

	for _, table := range []string{
		"signup_attempts", "challenges", "accounts", "sessions", "settings", "credits", "welcomes", "credit_moves", "refresh_tokens",
	} {
		s.db.eventually(t, 0, `SELECT count(*) FROM `+table)
	}
	s.requireDead(t, token)
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathCompleteSignup, Body: fields{"email": abandoned, "code": code}})
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": registered, "code": mail.Code}})
	s.refused(t, http.StatusBadRequest, "invalid_token",
		call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	require.Equal(t, http.StatusUnauthorized, s.login(t, registered, password).Status)
	require.Len(t, s.inbox(t, abandoned), 1, "nothing more was sent")

	// Both addresses may begin anew.
	s.initiate(t, registered)
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": registered, "code": s.awaitMail(t, registered, 2).Code}})
	s.register(t, abandoned, abandoned)
}
