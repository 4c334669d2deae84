//go:build unix

package e2e_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pathProfile       = "/api/v1/auth/profile"
	pathOnboarding    = "/api/v1/auth/onboarding-event"
	pathWelcomeStatus = "/api/v1/auth/welcome-status"
	pathWelcomeShown  = "/api/v1/auth/welcome-shown"
	pathUnlock        = "/api/v1/auth/unlock-welcome-bonus"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	for name, journey := range map[string]func(*testing.T, *system){
		"ChangeEverything":                changeEverything,
		"AUT01_MassAssignment":            changeNothingElse,
		"AUT07_AChangedNumber":            changedNumber,
		"Onboarding":                      onboarding,
		"PRE11_Siblings":                  siblings,
		"RaceUnlock_GrantsTheRestOnce":    unlockAtOnce,
		"UnverifiedAccountsUnlockNothing": unverifiedUnlock,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journey(t, s)
		})
	}
}

func changeEverything(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	got := s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{
		"full_name": " John Smith ", "user_type": "company", "audio_usage": "business", "referral_source": "word_of_mouth",
		"phone_number": "+1987654321", "country_code": "us",
	}})
	me := s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	require.JSONEq(t, string(me.Body), string(got.Body), "A02 answers as A01")
	for field, want := range map[string]any{
		"full_name": "John Smith", "name": "John Smith", "user_type": "company", "audio_usage": "business",
		"referral_source": "word_of_mouth", "phone_number": "+1987654321", "country_code": "US", "phone_verified": false,
	} {
		require.Equal(t, want, me.object(t)[field], field)
	}
	profile := s.want(t, http.StatusOK, call{Path: pathProfile, Token: token}).object(t)
	require.Equal(t, []any{email, "John Smith", nil, "free", me.object(t)["id"]},
		[]any{profile["email"], profile["name"], profile["avatar_url"], profile["subscription_tier"], profile["id"]})

	for _, nothing := range []fields{{}, {"full_name": nil, "phone_number": nil, "country_code": nil}} {
		got = s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: nothing})
		require.JSONEq(t, string(me.Body), string(got.Body))
	}
	change := func(body fields) call { return call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: body} }
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", change(fields{"user_type": "robot"}))
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", change(fields{"audio_usage": "", "phone_number": "1"}))
	s.refused(t, http.StatusBadRequest, "invalid_phone", change(fields{"phone_number": "0171 234567", "full_name": "X"}))
	s.refused(t, http.StatusBadRequest, "invalid_phone", change(fields{"country_code": "EU"}))
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Method: http.MethodPatch, Path: pathMe, Body: fields{"full_name": "X"}})
	require.JSONEq(t, string(me.Body), string(s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).Body))
}

func changeNothingElse(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	const row = `SELECT a::text || c::text || (SELECT count(*) FROM subscriptions) FROM accounts a JOIN credits c ON c.account_id = a.id
		WHERE a.email = $1`
	before := s.db.texts(t, row, email)
	for _, body := range []fields{
		{
			"is_superuser": true, "is_verified": false, "phone_verified": true, "id": "x", "email": newEmail(), "roles": []string{"admin"},
			"credits": fields{"credits_balance": 1_000_000}, "subscription": fields{"plan_id": "premium_monthly"},
		},
		{"IS_SUPERUSER": true, "Full_Name": "x", "PHONE_NUMBER": "+1987654321", "is_active": false, "onboarding_completed": true},
	} {
		s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: body})
	}
	require.Equal(t, before, s.db.texts(t, row, email), "the row is unchanged")
}

func changedNumber(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	change := func(number string) any {
		got := s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"phone_number": number}})
		return got.object(t)["phone_verified"]
	}
	require.Equal(t, false, change("+1234567890"))
	s.verifyPhone(t, email)
	require.Equal(t, true, change("+1234567890"))
	require.Equal(t, false, change("+1234567891"))
	require.Equal(t, false, change("+1234567890"))
}

// verifyPhone makes the number of an account proven behind the system's back.
func (s *system) verifyPhone(t *testing.T, email string) {
	t.Helper()
	_, err := s.db.Exec(t.Context(), `UPDATE accounts SET phone_number = coalesce(phone_number, '+1234567890'), phone_verified_at = now()
		WHERE email = $1`, email)
	require.NoError(t, err)
}

func onboarding(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	report := func(body fields) any {
		s.want(t, http.StatusOK, call{Path: pathOnboarding, Token: token, Body: body})
		return s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)["onboarding_completed"]
	}
	require.Equal(t, false, report(fields{"event": "skipped", "at_step": 2}))
	require.Equal(t, true, report(fields{"event": "completed"}))
	require.Equal(t, true, report(fields{"event": "skipped"}))
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathOnboarding, Token: token, Body: fields{"event": "..."}})
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Path: pathOnboarding, Body: fields{"event": "completed"}})
}

// signUpOn is signUp from a device.
func (s *system) signUpOn(t *testing.T, email, device string) string {
	t.Helper()
	s.initiate(t, email)
	body := fields{"email": email, "code": s.awaitCode(t, email), "device_fingerprint": fields{"canvas": device}}
	return s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: body}).text(t, "session_token")
}

func (s *system) welcome(t *testing.T, token string) map[string]any {
	t.Helper()
	return s.want(t, http.StatusOK, call{Path: pathWelcomeStatus, Token: token}).object(t)
}

func siblings(t *testing.T, s *system) {
	victim, attacker := newEmail(), newEmail()
	first := s.signUpOn(t, victim, victim)
	require.Equal(t, map[string]any{
		"reduced": false, "full_bonus": 100.0, "received": 100.0, "remaining": 0.0, "sibling_accounts": []any{}, "can_unlock": false,
	}, s.welcome(t, first))
	second := s.signUpOn(t, attacker, victim)
	require.Equal(t, map[string]any{
		"reduced": true, "full_bonus": 100.0, "received": 50.0, "remaining": 50.0, "sibling_accounts": []any{"account-1"}, "can_unlock": false,
	}, s.welcome(t, second))
	shown := call{Method: http.MethodPost, Path: pathWelcomeShown, Token: second}
	require.JSONEq(t, `{"status":"ok"}`, string(s.want(t, http.StatusOK, shown).Body))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM welcomes w JOIN accounts a ON a.id = w.account_id
		WHERE a.email = $1 AND w.shown_at IS NOT NULL`, attacker))
}

func unlockAtOnce(t *testing.T, s *system) {
	email := newEmail()
	s.signUpOn(t, newEmail(), email)
	token := s.signUpOn(t, email, email)
	unlock := call{Method: http.MethodPost, Path: pathUnlock, Token: token}
	require.JSONEq(t, `{"status":"ok","credits_awarded":0,"received":50}`, string(s.want(t, http.StatusOK, unlock).Body))
	s.verifyPhone(t, email)
	require.Equal(t, true, s.welcome(t, token)["can_unlock"])
	var awarded atomic.Int64
	atOnce(100, func(int) {
		got, err := s.try(t.Context(), unlock)
		if err == nil && got.Status == http.StatusOK {
			n, _ := got.object(t)["credits_awarded"].(float64)
			awarded.Add(int64(n))
		}
	})
	require.EqualValues(t, 50, awarded.Load())
	require.Equal(t, false, s.welcome(t, token)["can_unlock"])
	s.requireBalance(t, token, true, 100)
	require.Equal(t, 100, s.db.number(t, `SELECT sum(amount)::int FROM credit_moves m JOIN accounts a ON a.id = m.account_id
		WHERE a.email = $1`, email))
}

func unverifiedUnlock(t *testing.T, s *system) {
	email := newEmail()
	token := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{
		"username": email, "email": email, "password": password,
	}}).text(t, "token")
	s.refused(t, http.StatusForbidden, "email_not_verified", call{Method: http.MethodPost, Path: pathUnlock, Token: token})
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "Ada"}})
}
