//go:build unix

package e2e_test

import (
	"net/http"
	"slices"
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
	playAll(t, s, map[string]func(*testing.T, *system){
		"ChangeEverything":                changeEverything,
		"AUT01_MassAssignment":            changeNothingElse,
		"AUT07_AChangedNumber":            changedNumber,
		"Onboarding":                      onboarding,
		"PRE11_Siblings":                  siblings,
		"RaceUnlock_GrantsTheRestOnce":    unlockAtOnce,
		"UnverifiedAccountsUnlockNothing": unverifiedUnlock,
	})
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

func TestEmailChange(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"ByCode":                  moveByCode,
		"ByLink":                  moveByLink,
		"Refused":                 moveRefused,
		"TheNewestOnly":           moveTwice,
		"APasswordResetEndsIt":    moveAndReset,
		"LogoutDoesNotEndIt":      moveAndLogOut,
		"RaceSignUp_OneGetsIt":    moveAgainstSignUp,
		"UnverifiedSquatterGives": moveOverSquatter,
	})
}

// TestEmailChange_EndsWithAccess_RST03 has a thief with a stolen session ask for another address, and the owner do what the notice
// of that tells them: neither the link nor the code that the thief got may change anything then.
func TestEmailChange_EndsWithAccess_RST03(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	type way struct {
		end     func(t *testing.T, s *system, w thief) call
		refused func(t *testing.T, mail inboxMessage)
	}
	ways := map[string]way{}
	for name, end := range map[string]func(t *testing.T, s *system, w thief) call{
		"A05": func(_ *testing.T, _ *system, w thief) call { return change(w.own, password, newPassword) },
		"B07": func(_ *testing.T, _ *system, w thief) call {
			return call{Method: http.MethodPut, Path: pathPasswordsB, Token: w.own, Body: fields{"currentPassword": password, "newPassword": newPassword}}
		},
		"D07": func(t *testing.T, s *system, w thief) call {
			temp, code := s.newOTP(t, w.own, w.email, 1)
			return withOTP(w.own, temp, code, newPassword)
		},
		"A10": func(_ *testing.T, _ *system, w thief) call {
			return call{Path: pathRevokeSession, Token: w.own, Body: fields{"revoke_all_others": true}}
		},
		"C25": func(_ *testing.T, _ *system, w thief) call {
			return call{Method: http.MethodDelete, Path: pathSessions, Token: w.own}
		},
		"D17": func(t *testing.T, s *system, w thief) call {
			return call{Path: pathSignOutOthers, Token: w.own, Body: fields{"password": password}, Header: map[string]string{"X-Session-Id": s.sessionID(t, w.own)}}
		},
		"D17_ByCode": func(t *testing.T, s *system, w thief) call {
			_, code := s.newOTP(t, w.own, w.email, 1)
			return call{Path: pathSignOutOthers, Token: w.own, Body: fields{"otp": code}, Header: map[string]string{"X-Session-Id": s.sessionID(t, w.own)}}
		},
		"D18": func(_ *testing.T, _ *system, w thief) call {
			return call{Path: pathSignOutAll, Token: w.own, Body: fields{"password": password}}
		},
		"D19": func(t *testing.T, s *system, w thief) call {
			return call{Method: http.MethodDelete, Path: pathAccountSessions + "/" + s.sessionID(t, w.token), Token: w.own}
		},
	} {
		for proof, refused := range map[string]func(*testing.T, inboxMessage){
			"B08": func(t *testing.T, mail inboxMessage) {
				s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
			},
			"C31": func(t *testing.T, mail inboxMessage) {
				s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": mail.To, "code": mail.Code}})
			},
		} {
			ways[name+"_"+proof] = way{end, refused}
		}
	}
	beside(t, ways, func(t *testing.T, by way) {
		w := thief{email: newEmail()}
		w.own = s.signUp(t, w.email)
		w.token = s.signedIn(t, w.email, password)
		theirs := newEmail()
		mail := s.move(t, w.token, theirs)
		got := s.send(t, by.end(t, s, w))
		require.True(t, got.ok(), "%s", got.Body)
		by.refused(t, mail)
		require.Equal(t, 1, s.db.number(t, accounts, w.email))
		require.Zero(t, s.db.number(t, accounts, theirs))
	})
}

func moveAndLogOut(t *testing.T, s *system) {
	before, after := newEmail(), newEmail()
	token := s.signUp(t, before)
	mail := s.move(t, token, after)
	s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathSignOut, Token: token, Header: map[string]string{"X-Session-Id": s.sessionID(t, token)}})
	s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	require.Equal(t, 1, s.db.number(t, accounts, after))
}

func moveTo(token, email string) call {
	return call{Method: http.MethodPatch, Path: pathProfile, Token: token, Body: fields{"email": email}}
}

// move asks for another email and returns the mail that went there.
func (s *system) move(t testing.TB, token, email string) inboxMessage {
	t.Helper()
	s.want(t, http.StatusOK, moveTo(token, email))
	mail := s.awaitMail(t, email, 1)
	require.Equal(t, "Confirm your new email address", mail.Subject)
	require.Contains(t, linkOf(t, mail), "/confirm-email?for=email_change&token=", "the page is to say that it is no sign-up")
	return mail
}

func (s *system) emailOf(t *testing.T, token string) any {
	t.Helper()
	return s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)["email"]
}

func (s *system) awaitSubject(t *testing.T, email, subject string) {
	t.Helper()
	s.db.eventually(t, 1, `SELECT count(*) FROM dev_inbox WHERE recipient = $1 AND subject = $2`, email, subject)
}

func moveByCode(t *testing.T, s *system) {
	before, after := newEmail(), newEmail()
	token := s.signUp(t, before)
	got := s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathProfile, Token: token, Body: fields{"name": "Ada", "email": " " + after}}).object(t)
	require.Equal(t, []any{before, "Ada"}, []any{got["email"], got["name"]}, "the old email until the proof")
	mail := s.awaitMail(t, after, 1)
	s.awaitSubject(t, before, "A new email address was asked for")
	require.Equal(t, before, s.emailOf(t, token))
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": before, "code": mail.Code}})
	done := s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": after, "code": mail.Code}}).object(t)
	require.Equal(t, []any{true, 0.0}, []any{done["success"], done["credits_awarded"]})
	require.Equal(t, after, s.emailOf(t, token))
	s.awaitSubject(t, before, "Your Gatehouse email address was changed")
	s.awaitSubject(t, after, "Your Gatehouse email address was changed")
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": after, "code": mail.Code}})
	require.Equal(t, http.StatusOK, s.login(t, after, password).Status)
	require.Equal(t, http.StatusUnauthorized, s.login(t, before, password).Status)
	s.db.eventually(t, 0, `SELECT count(*) FROM email_changes WHERE new_email = $1`, after)
}

func moveByLink(t *testing.T, s *system) {
	before, after := newEmail(), newEmail()
	token := s.signUp(t, before)
	confirm := call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, s.move(t, token, after))}}
	s.want(t, http.StatusOK, confirm)
	require.Equal(t, after, s.emailOf(t, token))
	s.refused(t, http.StatusBadRequest, "invalid_token", confirm)
}

func moveRefused(t *testing.T, s *system) {
	email, other := newEmail(), newEmail()
	token := s.signUp(t, email)
	s.signUp(t, other)
	s.refused(t, http.StatusConflict, "email_exists", moveTo(token, other))
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", moveTo(token, "nobody"))
	s.want(t, http.StatusOK, moveTo(token, email)) // the present one changes nothing
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathProfile, Token: token})
	s.refused(t, http.StatusUnauthorized, "unauthorized", moveTo("", newEmail()))

	unproven := newEmail()
	fresh := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": unproven, "email": unproven, "password": password}}).text(t, "token")
	s.refused(t, http.StatusForbidden, "email_not_verified", moveTo(fresh, newEmail()))

	_, err := s.db.Exec(t.Context(), `UPDATE sessions SET auth_time = now() - interval '11 minutes'
		WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	require.NoError(t, err)
	s.refused(t, http.StatusForbidden, "reauthentication_required", moveTo(token, newEmail()))
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathProfile, Token: token, Body: fields{"name": "Ada"}})
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM email_changes WHERE old_email = $1`, email))
}

func moveTwice(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	first, second := newEmail(), newEmail()
	stale := s.move(t, token, first)
	s.want(t, http.StatusOK, moveTo(token, first)) // joins, and sends nothing
	mail := s.move(t, token, second)
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": first, "code": stale.Code}})
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, stale)}})
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": second, "code": mail.Code}})
	require.Equal(t, second, s.emailOf(t, token))
	require.Len(t, s.inbox(t, first), 1)
}

func moveAndReset(t *testing.T, s *system) {
	email, other := newEmail(), newEmail()
	token := s.signUp(t, email)
	s.awaitMail(t, email, 2)
	mail := s.move(t, token, other)
	s.awaitSubject(t, email, "A new email address was asked for")
	s.want(t, http.StatusOK, call{Path: pathResetPassword, Body: fields{"token": s.forgot(t, email, 1), "new_password": password + " anew"}})
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": other, "code": mail.Code}})
	require.Zero(t, s.db.number(t, accounts, other))
}

func moveAgainstSignUp(t *testing.T, s *system) {
	token, wanted := s.signUp(t, newEmail()), newEmail()
	s.initiate(t, wanted)
	code := s.awaitCode(t, wanted)
	s.want(t, http.StatusOK, moveTo(token, wanted))
	mail := s.awaitMail(t, wanted, 2)
	answers := make([]answer, 2)
	atOnce(2, func(i int) {
		in := []call{
			{Path: pathVerifyCode, Body: fields{"email": wanted, "code": mail.Code}},
			{Path: pathCompleteSignup, Body: fields{"email": wanted, "code": code}},
		}[i]
		answers[i], _ = s.try(t.Context(), in)
	})
	require.Equal(t, 1, s.db.number(t, accounts, wanted))
	won := slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return !a.ok() })
	require.Len(t, won, 1, "%v", answers)
}

func moveOverSquatter(t *testing.T, s *system) {
	token, wanted := s.signUp(t, newEmail()), newEmail()
	squatter := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": wanted, "email": wanted, "password": password}}).text(t, "token")
	s.awaitMail(t, wanted, 1) // of the two mails this one first
	s.want(t, http.StatusOK, moveTo(token, wanted))
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": wanted, "code": s.awaitMail(t, wanted, 2).Code}})
	require.Equal(t, wanted, s.emailOf(t, token))
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Path: pathMe, Token: squatter})
}

// In hidden mode nothing tells whoever asks that an address is taken: not the answer, and not the mail to the present one.
func TestEmailChange_Hidden(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_ENUMERATION", "hidden")
	victim := newEmail()
	s.signUp(t, victim)
	s.awaitMail(t, victim, 2)
	email := newEmail()
	token := s.signUp(t, email)
	free := s.want(t, http.StatusOK, moveTo(token, newEmail()))
	taken := s.want(t, http.StatusOK, moveTo(token, victim))
	require.JSONEq(t, string(free.Body), string(taken.Body))
	s.db.eventually(t, 2, `SELECT count(*) FROM dev_inbox WHERE recipient = $1 AND subject = 'A new email address was asked for'`, email)
	mail := s.awaitMail(t, victim, 3)
	require.Equal(t, existsSubject, mail.Subject)
	require.Empty(t, mail.Code)
	s.want(t, http.StatusOK, moveTo(token, victim)) // joins, as for any other
	require.Len(t, s.inbox(t, victim), 3)
}
