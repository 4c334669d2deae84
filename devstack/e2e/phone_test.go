//go:build unix

package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
	"gatehouse/providers/sms/twiliotest"
)

const (
	pathSendPhoneCode = "/api/v1/auth/send-phone-verification"
	pathVerifyPhone   = "/api/v1/auth/verify-phone"
)

// newNumber is a number that nobody has used, in a range of its own.
func newNumber(t testing.TB) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(900_000_000))
	require.NoError(t, err)
	return fmt.Sprintf("+49151%09d", n)
}

func (s *system) sendPhoneCode(t testing.TB, token, number string) {
	t.Helper()
	got := s.want(t, http.StatusOK, call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": number, "country_code": "US"}})
	require.JSONEq(t, `{"message":"Verification code sent successfully","expires_in_minutes":10}`, string(got.Body))
}

// awaitPhoneCode waits for the n-th code to a number in the development inbox.
func (s *system) awaitPhoneCode(t testing.TB, number string, n int) string {
	t.Helper()
	var messages []inboxMessage
	testkit.Eventually(t, patience, func() bool {
		got := s.want(t, http.StatusOK, call{Path: "/dev/inbox.json?channel=sms&to=" + url.QueryEscape(number)})
		require.NoError(t, json.Unmarshal(got.Body, &messages))
		return len(messages) >= n
	}, "a code to a phone")
	return messages[len(messages)-n].Code
}

func phoneProof(token, number, code string) call {
	return call{Path: pathVerifyPhone, Token: token, Body: fields{"phone_number": number, "otp_code": code}}
}

// requireUnlogged looks for a number and a code in the logs of both processes (WEB-14).
func (s *system) requireUnlogged(t testing.TB, number, code string) {
	t.Helper()
	for _, output := range []string{s.api.Output(), s.worker.Output()} {
		require.NotContains(t, output, number[1:])
		require.NotContains(t, output, code)
	}
}

func (s *system) requirePhone(t testing.TB, token string, number, country any, verified bool) {
	t.Helper()
	me := s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)
	require.Equal(t, []any{number, country, verified}, []any{me["phone_number"], me["country_code"], me["phone_verified"]})
}

func TestPhone(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"SendAndVerify":                     sendAndVerifyPhone,
		"RefusedNumbers":                    refusedNumbers,
		"PRE03_UnverifiedBindsNothing":      unverifiedBindsNothing,
		"OTP01_FiveWrongCodesKillTheRight":  fiveWrongPhoneCodes,
		"OTP07_SomebodyElsesCode":           somebodyElsesPhoneCode,
		"OTP09_AnotherNumberReplacesTheOld": anotherNumberReplacesTheOld,
		"OTP13_OneAccountManyNumbers":       oneAccountManyNumbers,
		"D13_OldSession":                    oldSessionBindsNothing,
		"KeysNeedTheScope":                  phoneKeysNeedTheScope,
		"IdempotencyKey":                    phoneIdempotencyKey,
	})
}

func sendAndVerifyPhone(t *testing.T, s *system) {
	email := newEmail()
	token, number := s.signUp(t, email), newNumber(t)
	s.sendPhoneCode(t, token, number)
	code := s.awaitPhoneCode(t, number, 1)
	s.requirePhone(t, token, nil, nil, false)
	s.sendPhoneCode(t, token, number) // joins: the code that is on its way stays good
	got := s.want(t, http.StatusOK, phoneProof(token, number, code))
	require.JSONEq(t, `{"verified":true,"message":"Phone number verified successfully"}`, string(got.Body))
	s.requirePhone(t, token, number, "DE", true)
	refused := s.want(t, http.StatusBadRequest, phoneProof(token, number, code))
	require.JSONEq(t, `{"error":"invalid_otp","message":"Invalid or expired verification code","verified":false}`, string(refused.Body), "OTP-05")
	require.Equal(t, "A phone number was added to your Gatehouse account", s.awaitMail(t, email, 3).Subject)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, number))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM messages m JOIN dev_inbox i ON i.message_id = m.id
		WHERE i.recipient = $1 AND m.state = 'sent' AND m.channel = 'sms' AND m.masked_destination = '+***' || right($1, 2)`, number))

	// Another number at once, while the flow of the first may still be ending; the old one stays until the new one is proven.
	next := newNumber(t)
	s.sendPhoneCode(t, token, next)
	nextCode := s.awaitPhoneCode(t, next, 1)
	s.requirePhone(t, token, number, "DE", true)
	s.want(t, http.StatusOK, phoneProof(token, next, nextCode))
	s.requirePhone(t, token, next, "DE", true)
	s.requireUnlogged(t, number, `"`+code+`"`)
}

func refusedNumbers(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for body, sentence := range map[string]string{
		`{"phone_number":"1234567890"}`:                       "Invalid phone number format",
		`{"phone_number":"+0123456789"}`:                      "Invalid phone number format",
		`{"phone_number":"+1 234 567 890"}`:                   "Invalid phone number format",
		`{"phone_number":"+999123456789"}`:                    "Unsupported country code",
		`{"phone_number":"+1234567890","country_code":"ZZ"}`:  "Unsupported country code",
		`{"phone_number":"+1234567890","country_code":"USA"}`: "Unsupported country code",
	} {
		got := s.refused(t, http.StatusBadRequest, "invalid_phone", call{Path: pathSendPhoneCode, Token: token, Body: json.RawMessage(body)})
		require.Equal(t, sentence, got.text(t, "message"), body)
	}
	s.refused(t, http.StatusUnprocessableEntity, "validation_error", call{Path: pathSendPhoneCode, Token: token, Body: fields{}})
	for _, code := range []any{"12345", "1234567", " 123456", "١٢٣٤٥٦", 123456, nil, []string{"123456"}} {
		s.refused(t, http.StatusUnprocessableEntity, "validation_error",
			call{Path: pathVerifyPhone, Token: token, Body: fields{"phone_number": "+1234567890", "otp_code": code}})
	}
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(token, "+1234567890", "123456"))
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Path: pathSendPhoneCode, Body: fields{"phone_number": "+1234567890"}})
	// The documents' own sample passes (design D14).
	s.want(t, http.StatusOK, call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": "+1234567890", "country_code": "us"}})
}

func unverifiedBindsNothing(t *testing.T, s *system) {
	email, number := newEmail(), newNumber(t)
	token := s.register(t, strings.ToLower(rand.Text()[:12]), email)
	s.refused(t, http.StatusForbidden, "email_not_verified", call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": number}})
	s.refused(t, http.StatusForbidden, "email_not_verified", phoneProof(token, number, "123456"))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM phone_attempts WHERE number = $1`, number))
}

// otherCode is a code that is not the right one.
func otherCode(right string, i int) string {
	n := 0
	_, _ = fmt.Sscanf(right, "%d", &n)
	return fmt.Sprintf("%06d", (n+1+i)%1_000_000)
}

func fiveWrongPhoneCodes(t *testing.T, s *system) {
	token, number := s.signUp(t, newEmail()), newNumber(t)
	s.sendPhoneCode(t, token, number)
	code := s.awaitPhoneCode(t, number, 1)
	for i := range 5 {
		s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(token, number, otherCode(code, i)))
	}
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(token, number, code))
	s.requirePhone(t, token, nil, nil, false)
}

func somebodyElsesPhoneCode(t *testing.T, s *system) {
	victim, number := s.signUp(t, newEmail()), newNumber(t)
	thief := s.signUp(t, newEmail())
	s.sendPhoneCode(t, victim, number)
	code := s.awaitPhoneCode(t, number, 1)
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(thief, number, code))
	s.refused(t, http.StatusTooManyRequests, "too_many_requests",
		call{Path: pathSendPhoneCode, Token: thief, Body: fields{"phone_number": number}}) // one number, one code a minute
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(victim, newNumber(t), code))
	s.want(t, http.StatusOK, phoneProof(victim, number, code))
	s.requirePhone(t, thief, nil, nil, false)
}

func anotherNumberReplacesTheOld(t *testing.T, s *system) {
	token, first, second := s.signUp(t, newEmail()), newNumber(t), newNumber(t)
	s.sendPhoneCode(t, token, first)
	old := s.awaitPhoneCode(t, first, 1)
	s.sendPhoneCode(t, token, second)
	code := s.awaitPhoneCode(t, second, 1)
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(token, first, old))
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(token, first, code))
	s.want(t, http.StatusOK, phoneProof(token, second, code))
}

func oneAccountManyNumbers(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for range 10 {
		s.sendPhoneCode(t, token, newNumber(t))
	}
	got := s.refused(t, http.StatusTooManyRequests, "too_many_requests",
		call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": newNumber(t)}})
	require.NotEmpty(t, got.Header.Get("Retry-After"))
}

func oldSessionBindsNothing(t *testing.T, s *system) {
	email, number := newEmail(), newNumber(t)
	token := s.signUp(t, email)
	_, err := s.db.Exec(t.Context(), `UPDATE sessions SET auth_time = now() - interval '11 minutes'
		WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	require.NoError(t, err)
	s.refused(t, http.StatusForbidden, "reauthentication_required", call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": number}})
}

func phoneKeysNeedTheScope(t *testing.T, s *system) {
	email, number := newEmail(), newNumber(t)
	s.signUp(t, email)
	key := func(scopes string) string {
		return strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--name", "phone", "--account", email, "--scopes", scopes))
	}
	writing, securing := key("account:read,account:write"), key("account:read,account:security")
	s.refused(t, http.StatusForbidden, "insufficient_scope", call{Path: pathSendPhoneCode, Token: writing, Body: fields{"phone_number": number}})
	s.refused(t, http.StatusForbidden, "insufficient_scope", phoneProof(writing, number, "123456"))
	s.sendPhoneCode(t, securing, number)
	s.want(t, http.StatusOK, phoneProof(securing, number, s.awaitPhoneCode(t, number, 1)))
}

func phoneIdempotencyKey(t *testing.T, s *system) {
	token, number, key := s.signUp(t, newEmail()), newNumber(t), rand.Text()
	send := call{Path: pathSendPhoneCode, Token: token, Key: key, Body: fields{"phone_number": number}}
	s.want(t, http.StatusOK, send)
	require.Equal(t, "true", s.want(t, http.StatusOK, send).Header.Get("Idempotent-Replayed"))
	proof := phoneProof(token, number, s.awaitPhoneCode(t, number, 1))
	proof.Key = rand.Text()
	s.want(t, http.StatusOK, proof)
	s.want(t, http.StatusOK, proof)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, number))
}

func startTwilio(t *testing.T, settings ...string) (*system, *twiliotest.Server) {
	t.Helper()
	server := twiliotest.Start(t)
	return startSystem(t, append([]string{
		"GATEHOUSE_TWILIO_URL", server.URL, "GATEHOUSE_TWILIO_ACCOUNT_SID", twiliotest.AccountSID,
		"GATEHOUSE_TWILIO_AUTH_TOKEN", twiliotest.AuthToken, "GATEHOUSE_TWILIO_FROM", twiliotest.From,
		"GATEHOUSE_TWILIO_WHATSAPP_FROM", twiliotest.WhatsAppFrom, "GATEHOUSE_PHONE_FAILOVER", "2s",
	}, settings...)...), server
}

// awaitTaken waits for the n-th message that Twilio took for a number.
func awaitTaken(t *testing.T, server *twiliotest.Server, number string, n int) twiliotest.Message {
	t.Helper()
	var found []twiliotest.Message
	testkit.Eventually(t, patience, func() bool {
		found = nil
		for _, m := range server.Messages() {
			if m.To == number {
				found = append(found, m)
			}
		}
		return len(found) >= n
	}, "a message at Twilio")
	return found[n-1]
}

func TestFault_F23_SMSRefusedOrDownGoesByWhatsApp(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]twiliotest.Fault{
		"Refused": {Status: 400, Code: 21408}, "Down": {Status: 503}, "TooMany": {Status: 429, Code: 20429, RetryAfter: 60}, "Hangs": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := startTwilio(t)
			token, number := s.signUp(t, newEmail()), newNumber(t)
			server.Always("sms", &fault)
			s.sendPhoneCode(t, token, number)
			m := awaitTaken(t, server, number, 1)
			require.Equal(t, "whatsapp", m.Channel)
			s.want(t, http.StatusOK, phoneProof(token, number, m.Code()))
			s.requireUnlogged(t, number, twiliotest.AuthToken)
			require.Len(t, server.Messages(), 1)
			require.Equal(t, []string{"sent"}, s.db.texts(t, `SELECT state FROM messages WHERE channel = 'whatsapp'`))
			require.Zero(t, s.db.number(t, `SELECT count(*) FROM messages WHERE channel = 'sms' AND state IN ('sent', 'queued')`))
		})
	}
}

func TestPhone_OTP13_RangesAndTheBudgetOfADay(t *testing.T) {
	t.Parallel()
	s, server := startTwilio(t, "GATEHOUSE_PHONE_PREFIX_PER_HOUR", "3", "GATEHOUSE_PHONE_BUDGET_PER_DAY", "5", "GATEHOUSE_PHONE_COUNTRIES", "DE")
	prefix := newNumber(t)[:11]
	first, second := s.signUp(t, newEmail()), s.signUp(t, newEmail())
	var sent atomic.Int32
	atOnce(16, func(i int) {
		token := []string{first, second}[i%2]
		got := s.send(t, call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": fmt.Sprintf("%s%04d", prefix, i)}})
		if got.ok() {
			sent.Add(1)
		} else if got.Status != http.StatusTooManyRequests {
			t.Errorf("%d: %s", got.Status, got.Body)
		}
	})
	require.EqualValues(t, 3, sent.Load(), "one range of numbers")
	for range 2 {
		s.sendPhoneCode(t, first, newNumber(t))
	}
	s.refused(t, http.StatusTooManyRequests, "too_many_requests",
		call{Path: pathSendPhoneCode, Token: second, Body: fields{"phone_number": newNumber(t)}})
	s.refused(t, http.StatusBadRequest, "invalid_phone", call{Path: pathSendPhoneCode, Token: second, Body: fields{"phone_number": "+33612345678"}})
	require.LessOrEqual(t, server.Requests(), 5)
}

func TestFault_F01_WorkerKilledWhileItSendsToAPhone(t *testing.T) {
	t.Parallel()
	s, server := startTwilio(t, "GATEHOUSE_PHONE_FAILOVER", "60s")
	token, number := s.signUp(t, newEmail()), newNumber(t)
	server.Next(twiliotest.Fault{}) // never answers
	s.sendPhoneCode(t, token, number)
	testkit.Eventually(t, patience, func() bool { return server.Requests() == 1 }, "the worker speaks with Twilio")
	s.worker.Kill()
	s.worker = s.stack.StartWorker(t, nil)
	m := awaitTaken(t, server, number, 1)
	require.Equal(t, "sms", m.Channel)
	s.want(t, http.StatusOK, phoneProof(token, number, m.Code()))
}
