//go:build unix

package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Attacks from the outside, named after the rows of the attack table.
func TestAttack(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"OTP05_ReplayedCode":         replayedCode,
		"OTP07_CodeOfSomebodyElse":   codeOfSomebodyElse,
		"OTP11_CodeInDisguise":       codeInDisguise,
		"JWT01_NoAlgorithm":          tokenWithoutAlgorithm,
		"JWT03_HeaderInjection":      tokenHeaderInjection,
		"JWT03_ExpiresWhileInUse":    tokenExpiresInUse,
		"JWT05_SecretsOfAnotherKind": secretsOfAnotherKind,
		"JWT07_HugeTokens":           hugeTokens,
		"JWT09_RightsAreRead":        rightsAreRead,
		"SES09_Fixation":             sessionFixation,
		"AUT01_MassAssignment":       massAssignment,
		"LOG01_SequentialGuessing":   sequentialGuessing,
		"LOG01_SpellingsOfAName":     spellingsOfAName,
		"LOG07_UnicodePasswords":     unicodePasswords,
		"RST01_HostHeader":           hostHeader,
		"USR03_Homoglyphs":           homoglyphs,
		"WEB01_ForwardedFor":         forwardedFor,
		"WEB03_CORS":                 corsTricks,
		"WEB11_Caching":              caching,
		"WEB15_LogInjection":         logInjection,
	})
}

func replayedCode(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	body := fields{"email": email, "code": s.awaitCode(t, email)}
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: body})
	for range 3 {
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathCompleteSignup, Body: body})
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: body})
	}
	require.Equal(t, 1, s.db.number(t, sessions, email))
	require.Equal(t, 1, s.db.number(t, bonuses, email))
}

func codeOfSomebodyElse(t *testing.T, s *system) {
	mallory, victim, registered := newEmail(), newEmail(), newEmail()
	s.initiate(t, mallory)
	s.initiate(t, victim)
	token := s.register(t, registered, registered)
	code := s.awaitCode(t, mallory)
	for code == s.awaitCode(t, victim) || code == s.awaitCode(t, registered) { // once in a million
		mallory = newEmail()
		s.initiate(t, mallory)
		code = s.awaitCode(t, mallory)
	}
	for _, path := range []string{pathCompleteSignup, pathVerifyCode} {
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: path, Body: fields{"email": victim, "code": code}})
	}
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": registered, "code": code}})
	require.Equal(t, 2, s.db.number(t, attemptsOf, victim), "not counted")
	require.Equal(t, 1, s.db.number(t, attemptsOf, registered), "not counted")
	s.requireBalance(t, token, false, 0)
	// A code of one purpose proves nothing for another.
	s.refused(t, http.StatusBadRequest, "invalid_code",
		call{Path: pathCompleteSignup, Body: fields{"email": registered, "code": s.awaitCode(t, registered)}})
}

func codeInDisguise(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	number, err := strconv.Atoi(code)
	require.NoError(t, err)
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
	arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, code)
	for _, disguised := range []any{
		number, []string{code}, fields{"$eq": code}, " " + code, code + " ", code + "\n", "0" + code, code + "0", wide, arabic, code[:5], "+" + code[1:], true,
	} {
		s.refused(t, http.StatusUnprocessableEntity, "validation_error",
			call{Path: pathCompleteSignup, Body: fields{"email": email, "code": disguised}})
	}
	require.Zero(t, s.db.number(t, attemptsOf, email), "a malformed code was compared")
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
}

func sessionFixation(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	_, claims := opened(t, first)
	sid := fmt.Sprint(claims["sid"])
	body := mustJSON(t, fields{"email": email, "password": password, "session_id": sid, "sid": sid, "anonymous_id": sid, "session_token": first})
	seen := []string{sid}
	for range 2 {
		got := s.raw(t, http.MethodPost, pathLogin, body, "Cookie", "session="+sid+"; sk-refresh-token="+sid, "X-Session-Id", sid, "Authorization", "Bearer "+first)
		require.Equal(t, http.StatusOK, got.Status)
		_, fresh := opened(t, got.text(t, "session_token"))
		require.NotContains(t, seen, fmt.Sprint(fresh["sid"]))
		seen = append(seen, fmt.Sprint(fresh["sid"]))
	}
	require.Equal(t, 3, s.db.number(t, sessions, email))
}

func massAssignment(t *testing.T, s *system) {
	byCode, byRegister := newEmail(), newEmail()
	id := uuid.NewString()
	extra := fields{
		"id": id, "userId": id, "account_id": id, "roles": []string{"admin"}, "is_admin": true, "is_superuser": true, "IS_SUPERUSER": true, "isAdmin": true,
		"is_verified": true, "email_verified": true, "EmailVerified": true, "email_verified_at": "2020-01-01T00:00:00Z", "is_active": false,
		"credits": fields{"credits_balance": 1_000_000}, "balance": 1_000_000, "contested": false, "password_hash": "x", "primary_provider": "google",
		"subscription": fields{"plan": "premium"}, "EMAIL": "other@example.com", "Password": "another password", "phone_verified": true, "kind": "register",
	}
	join := func(m fields) fields {
		maps.Copy(m, extra)
		return m
	}
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: join(fields{"email": byCode, "password": password})})
	code := s.awaitCode(t, byCode)
	done := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: join(fields{"email": byCode, "code": code})}).object(t)
	require.NotEqual(t, id, done["id"])
	require.Equal(t, false, done["is_admin"])
	extra["username"] = byRegister
	got := s.want(t, http.StatusOK, call{Path: pathRegister, Body: join(fields{"email": byRegister, "password": password})}).object(t)
	require.NotEqual(t, id, got["userId"])

	const untouched = `SELECT count(*) FROM accounts a JOIN credits c ON c.account_id = a.id WHERE a.email = $1 AND a.roles = '{user}' AND a.is_active
		AND a.primary_provider = 'email' AND a.phone_verified_at IS NULL AND (a.email_verified_at IS NOT NULL) = $2 AND c.balance = $3`
	require.Equal(t, 1, s.db.number(t, untouched, byCode, true, 100))
	require.Equal(t, 1, s.db.number(t, untouched, byRegister, false, 0))
	require.Zero(t, s.db.number(t, accounts, "other@example.com"))
	for _, email := range []string{byCode, byRegister} {
		require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	}
	// The same attack as a form or as XML is not even read.
	for _, media := range []string{"application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x"} {
		got := s.raw(t, http.MethodPost, pathRegister, "is_superuser=true&email=x@example.com", "Content-Type", media)
		require.Equal(t, http.StatusUnsupportedMediaType, got.Status)
	}
}

// rest lets the waiting time of a sign-in name and its account pass and says how long it was.
func (s *system) rest(t *testing.T, got answer, email string) time.Duration {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, got.Status, "%s", got.Body)
	seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.LessOrEqual(t, seconds, 900)
	id := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)[0]
	tag, err := s.db.Exec(t.Context(), `UPDATE login_throttles SET not_before = now() WHERE key IN ($1, $2)`,
		s.keys.Subject("login", email), s.keys.Subject("login-account", id))
	require.NoError(t, err)
	require.EqualValues(t, 2, tag.RowsAffected())
	return time.Duration(seconds) * time.Second
}

// An hour of guessing, with the waiting times skipped.
func sequentialGuessing(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	evaluated := 0
	for waited := time.Duration(0); waited < time.Hour; {
		got := s.login(t, email, fmt.Sprint("guess number ", evaluated))
		if got.Status == http.StatusUnauthorized {
			evaluated++
			require.LessOrEqual(t, evaluated, 30, "guesses compared in an hour")
			continue
		}
		// During the delay the right password is not heard either.
		require.Equal(t, http.StatusTooManyRequests, s.login(t, email, password).Status)
		waited += s.rest(t, got, email)
	}
	require.GreaterOrEqual(t, evaluated, 5, "slowed too early")
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
	for range 5 { // success forgets
		require.Equal(t, http.StatusUnauthorized, s.login(t, email, "wrong again").Status)
	}
	require.Equal(t, http.StatusTooManyRequests, s.login(t, email, password).Status)
}

// All spellings of a name share its counter, and all names of an account the account's, which refuses in silence.
func spellingsOfAName(t *testing.T, s *system) {
	email := newEmail()
	username := "spelt" + email[5:12]
	s.register(t, username, email)
	spellings := func(name string) []string {
		return []string{name, strings.ToUpper(name), "@" + name, " " + name + " ", "ｓ" + name[1:], "\u2002" + name, "sᵖ" + name[2:], name}
	}
	for _, name := range []string{username, "spilt" + email[5:12]} { // known and unknown
		heard := 0
		for _, spelt := range spellings(name) {
			got := s.authenticate(t, spelt, "wrong all along")
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, got.Status, "%s", got.Body)
			if got.Status == http.StatusUnauthorized {
				heard++
			}
		}
		require.LessOrEqual(t, heard, 6) // a second may pass, and with it the first delay
	}
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, s.authenticate(t, email, "wrong all along").Status)
	}
	for _, name := range append(spellings(username), email) {
		require.NotEqual(t, http.StatusOK, s.authenticate(t, name, password).Status, "the right password during the delay")
	}
	require.Equal(t, http.StatusUnauthorized, s.authenticate(t, email, password).Status, "tells which names belong together")
}

func unicodePasswords(t *testing.T, s *system) {
	for _, c := range []struct{ name, set, right, wrong string }{
		{"NFC and NFD", "caf\u00e9 cr\u00e8me br\u00fbl\u00e9e", "cafe\u0301 cre\u0300me bru\u0302le\u0301e", "cafe creme brulee"},
		{"NFD and NFC", "\u1112\u1161\u11ab\u1100\u1173\u11af phrase", "\ud55c\uae00 phrase", "\ud55c\uae01 phrase"},
		{"emoji", "🐴🔋📎👍🏽 staple", "🐴🔋📎👍🏽 staple", "🐴🔋📎👍 staple"},
		{"trailing space", "ends with a space ", "ends with a space ", "ends with a space"},
		{"leading space", " begins with one", " begins with one", "begins with one"},
		{"case", "MiXeD case phrase", "MiXeD case phrase", "mixed case phrase"},
		{"256 characters", strings.Repeat("ä", 255) + "x", strings.Repeat("a\u0308", 255) + "x", strings.Repeat("ä", 255) + "y"},
		{"beyond 72 bytes", strings.Repeat("long", 20) + "1", strings.Repeat("long", 20) + "1", strings.Repeat("long", 20) + "2"},
	} {
		email := newEmail()
		s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": c.set}})
		require.Equal(t, http.StatusOK, s.login(t, email, c.right).Status, c.name)
		require.Equal(t, http.StatusOK, s.authenticate(t, email, c.right).Status, c.name)
		require.Equal(t, http.StatusUnauthorized, s.login(t, email, c.wrong).Status, c.name)
	}
	email := newEmail()
	nul := s.raw(t, http.MethodPost, pathInitiateSignup, `{"email":"`+email+`","password":"before\u0000after"}`)
	require.Equal(t, http.StatusUnprocessableEntity, nul.Status)
	require.Equal(t, http.StatusUnprocessableEntity, s.login(t, email, "before\x00after").Status)
	require.Equal(t, http.StatusBadRequest, s.authenticate(t, email, "before\x00after").Status)
}
