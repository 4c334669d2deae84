//go:build unix

package e2e_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// OTP-09: the old code dies with the new one.
func resendReplacesTheCode(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	old := s.awaitCode(t, email)
	tooSoon := s.refused(t, http.StatusTooManyRequests, "too_many_requests", call{Path: pathSendCode, Body: fields{"email": email}})
	wait, err := strconv.Atoi(tooSoon.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, wait > 0 && wait <= 60, wait)
	s.initiate(t, email) // joins, and sends nothing within the gap

	codes := 2
	fresh := s.resend(t, "signup", email, codes)
	for old == fresh { // once in a million
		codes++
		fresh = s.resend(t, "signup", email, codes)
	}
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathCompleteSignup, Body: fields{"email": email, "code": old}})
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": email, "code": old}})
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": fresh}})
	s.db.eventually(t, codes+1, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, email) // the codes and the welcome
}

func resendForARegistration(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, email, email)
	old := s.awaitMail(t, email, 1)
	s.passTime(t, "email", email, time.Minute)
	s.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": email}})
	fresh := s.awaitMail(t, email, 2)
	require.NotEqual(t, linkOf(t, old), linkOf(t, fresh))
	s.refused(t, http.StatusBadRequest, "invalid_token",
		call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, old)}})
	s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, fresh)}})
	s.requireBalance(t, token, true, 100)

	// A proven address awaits nothing: ok, and no mail.
	s.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": email}})
	s.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": newEmail()}})
	s.db.eventually(t, 3, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, email)
}

func tooManyCodes(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	s.awaitMail(t, email, 1)
	for n := 2; n <= 5; n++ {
		s.resend(t, "signup", email, n)
	}
	s.passTime(t, "signup", email, time.Minute)
	got := s.refused(t, http.StatusTooManyRequests, "too_many_requests", call{Path: pathSendCode, Body: fields{"email": email}})
	wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, wait > 60 && wait <= 3600, wait)
	s.initiate(t, email) // the live code stays good, and no other is sent
	require.Len(t, s.inbox(t, email), 5)

	s.passTime(t, "signup", email, time.Hour)
	s.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": email}})
	s.awaitMail(t, email, 6)
}

func fiveWrongCodesKillTheRightOne(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	for n := 1; n <= 5; n++ {
		path := []string{pathCompleteSignup, pathVerifyCode}[n%2] // one budget for both
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: path, Body: fields{"email": email, "code": wrong(code, n)}})
	}
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.Equal(t, 5, s.db.number(t, attemptsOf, email))
	fresh := s.resend(t, "signup", email, 2)
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": fresh}})
}

// D9: a new code brings new tries, but no more than ten in an hour.
func guessesOutliveTheirCodes(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	for n := 1; n <= 5; n++ {
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": email, "code": wrong(code, n)}})
	}
	code = s.resend(t, "signup", email, 2)
	for n := 1; n <= 5; n++ {
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": email, "code": wrong(code, n)}})
	}
	code = s.resend(t, "signup", email, 3)
	got := s.refused(t, http.StatusTooManyRequests, "too_many_requests", call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.Zero(t, s.db.number(t, accounts, email))
}

func expiredCode(t *testing.T, s *system) {
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`, email)
	s.db.change(t, `UPDATE challenges SET code_expires_at = now() WHERE destination = $1`, email)
	for _, path := range []string{pathVerifyCode, pathCompleteSignup} {
		s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: path, Body: fields{"email": email, "code": code}})
	}
	fresh := s.resend(t, "signup", email, 2)
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": fresh}})
}

func expiredLink(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, email, email)
	mail := s.awaitMail(t, email, 1)
	s.db.eventually(t, 1, `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`, email)
	s.db.change(t, `UPDATE challenges SET link_expires_at = now() WHERE destination = $1`, email)
	s.refused(t, http.StatusBadRequest, "invalid_token",
		call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	s.requireBalance(t, token, false, 0)
}

// A sign-up by code that somebody else opens must not take the code of the register mail from its owner.
func verifyCodeWithBothKinds(t *testing.T, s *system) {
	var email, registered, opened string
	for registered == opened { // again once in a million
		email = newEmail()
		s.register(t, email, email)
		registered = s.awaitMail(t, email, 1).Code
		s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password + " A"}})
		opened = s.awaitMail(t, email, 2).Code
	}

	checked := s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": email, "code": opened}}).object(t)
	require.EqualValues(t, 0, checked["credits_awarded"])
	proven := s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": email, "code": registered}}).object(t)
	require.EqualValues(t, 100, proven["credits_awarded"])
}
