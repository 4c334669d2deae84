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
