//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const wrongOTP, deadToken = "OTP is incorrect", "Invalid or expired token"

// D23 and D24: an address that is proven from within the account.
func TestEmailLink(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"Linked":                linkByCode,
		"Refused":               linkRefused,
		"TheNewestOnly_OTP09":   linkTwice,
		"OTP01_Guessing":        linkGuessed,
		"OTP07_AnothersToken":   linkOfAnother,
		"OTP05_JWT05_Tokens":    linkTokens,
		"OfEitherKindTheNewest": linkAndMove,
		"NoRecoveryForADay":     linkAndForget,
	})
}

func linkTo(token, email string) call {
	return call{Path: pathLinkEmail + "/initiate", Token: token, Body: fields{"email": email}}
}

func verifyLink(token, temp, otp string) call {
	return call{Path: pathLinkEmail + "/verify", Token: token, Body: fields{"tempToken": temp, "otp": otp}}
}

// link asks for another address and returns the token and the code that went there.
func (s *system) link(t *testing.T, token, email string) (temp, otp string) {
	t.Helper()
	got := s.send(t, linkTo(token, email))
	require.Equal(t, "Verification code sent", got.said(t, 200))
	temp, _ = got.data(t)["tempToken"].(string)
	require.NotEmpty(t, temp)
	mail := s.awaitMail(t, email, 1)
	require.Equal(t, "Your code to link this email address", mail.Subject)
	require.NotContains(t, mail.Text, "token=")
	return temp, mail.Code
}

func linkByCode(t *testing.T, s *system) {
	before, after := newEmail(), newEmail()
	token := s.signUp(t, before)
	got := s.send(t, linkTo(token, " "+strings.ToUpper(after[:5])+after[5:]))
	hint := after[:2] + "***@example.com"
	data := got.data(t)
	require.Equal(t, []any{hint, 600.0, false, "Verification code sent to " + hint},
		[]any{data["maskedValue"], data["expiresIn"], data["linked"], data["message"]})
	mail := s.awaitMail(t, after, 1)
	s.awaitSubject(t, before, "A new email address was asked for")
	require.Equal(t, before, s.emailOf(t, token), "the old email until the proof")
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": after, "code": mail.Code}})

	again := s.send(t, linkTo(token, after))
	require.Equal(t, data["tempToken"], again.data(t)["tempToken"], "it joins, and sends nothing")
	left, _ := again.data(t)["expiresIn"].(float64)
	require.InDelta(t, 590, left, 11)
	require.Len(t, s.inbox(t, after), 1)

	temp, _ := data["tempToken"].(string)
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(token, temp, mail.Code)).said(t, 200))
	require.Equal(t, after, s.emailOf(t, token))
	s.awaitSubject(t, before, "Your Gatehouse email address was changed")
	s.awaitSubject(t, after, "Your Gatehouse email address was changed")
	require.Equal(t, http.StatusOK, s.login(t, after, password).Status)
	require.Equal(t, http.StatusUnauthorized, s.login(t, before, password).Status)
	s.db.eventually(t, 0, `SELECT count(*) FROM email_changes WHERE new_email = $1`, after)
}

func linkRefused(t *testing.T, s *system) {
	email, other := newEmail(), newEmail()
	token := s.signUp(t, email)
	s.signUp(t, other)
	for _, taken := range []string{other, strings.ToUpper(other), email} {
		require.Equal(t, "Email already in use", s.send(t, linkTo(token, taken)).said(t, 400))
	}
	require.Equal(t, "Validation failed", s.send(t, linkTo(token, "nobody")).said(t, 422))
	got := s.send(t, verifyLink(token, "", "12345"))
	require.Equal(t, "Validation failed", got.said(t, 422))
	require.Len(t, got.data(t), 2)
	require.Equal(t, deadToken, s.send(t, verifyLink(token, "nothing", "123456")).said(t, 400))
	require.Equal(t, http.StatusUnauthorized, s.send(t, linkTo("", newEmail())).Status)

	unproven := newEmail()
	fresh := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": unproven, "email": unproven, "password": password}}).text(t, "token")
	require.Equal(t, "Verify your email address first.", s.send(t, linkTo(fresh, newEmail())).said(t, 403))
	unlink := call{Method: http.MethodDelete, Path: pathLinkEmail, Token: fresh}
	require.Equal(t, "Verify your email address first.", s.send(t, unlink).said(t, 403))

	_, err := s.db.Exec(t.Context(), `UPDATE sessions SET auth_time = now() - interval '11 minutes'
		WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	require.NoError(t, err)
	require.Equal(t, "Sign in again to do this.", s.send(t, linkTo(token, newEmail())).said(t, 403))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM email_changes WHERE old_email = $1`, email))
}

func linkTwice(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	first, second := newEmail(), newEmail()
	stale, staleCode := s.link(t, token, first)
	temp, code := s.link(t, token, second)
	require.Equal(t, deadToken, s.send(t, verifyLink(token, stale, staleCode)).said(t, 400))
	require.Equal(t, deadToken, s.send(t, verifyLink(token, stale, code)).said(t, 400), "the code of one with the token of the other")
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(token, temp, code)).said(t, 200))
	require.Equal(t, second, s.emailOf(t, token))
}

func linkGuessed(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	temp, code := s.link(t, token, newEmail())
	for nth := range 5 {
		require.Equal(t, wrongOTP, s.send(t, verifyLink(token, temp, wrong(code, nth+1))).said(t, 403))
	}
	require.NotEqual(t, http.StatusOK, s.send(t, verifyLink(token, temp, code)).Status, "five tries")
	require.Equal(t, email, s.emailOf(t, token))
}

func linkOfAnother(t *testing.T, s *system) {
	ann, bob := newEmail(), newEmail()
	mine, theirs := s.signUp(t, ann), s.signUp(t, bob)
	temp, code := s.link(t, mine, newEmail())
	require.Equal(t, deadToken, s.send(t, verifyLink(theirs, temp, code)).said(t, 400))
	own, _ := s.link(t, theirs, newEmail())
	require.Equal(t, wrongOTP, s.send(t, verifyLink(theirs, own, code)).said(t, 403))
	require.Equal(t, []any{ann, bob}, []any{s.emailOf(t, mine), s.emailOf(t, theirs)})
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(mine, temp, code)).said(t, 200), "nobody can use up another's tries")
}

// A token is of one kind and for one use.
func linkTokens(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	temp, code := s.link(t, token, newEmail())
	for _, other := range []string{token, temp[:len(temp)-1], temp + "A", strings.ToLower(temp)} {
		require.Equal(t, deadToken, s.send(t, verifyLink(token, other, code)).said(t, 400))
	}
	require.Equal(t, http.StatusUnauthorized, s.send(t, call{Path: pathMe, Token: temp}).Status)
	for path, body := range map[string]fields{
		pathResetPassword: {"token": temp, "new_password": password + " anew"},
		pathConfirmEmail:  {"token": temp},
	} {
		method := http.MethodPost
		if path == pathConfirmEmail {
			method = http.MethodPut
		}
		s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: method, Path: path, Body: body})
	}
	keyed := verifyLink(token, temp, code)
	keyed.Key = "link-" + temp[:8]
	require.Equal(t, "Email linked successfully", s.send(t, keyed).said(t, 200))
	require.Equal(t, "Email linked successfully", s.send(t, keyed).said(t, 200), "the same request again")
	require.Equal(t, deadToken, s.send(t, verifyLink(token, temp, code)).said(t, 400))
}

// A change that document C asks for and a link of document D are one thing to the account: the newest counts.
func linkAndMove(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	temp, code := s.link(t, token, newEmail())
	moved := newEmail()
	mail := s.move(t, token, moved)
	require.Equal(t, deadToken, s.send(t, verifyLink(token, temp, code)).said(t, 400))
	linked := newEmail()
	temp, code = s.link(t, token, linked)
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": moved, "code": mail.Code}})
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(token, temp, code)).said(t, 200))
	require.Equal(t, linked, s.emailOf(t, token))
}

// Whoever got hold of a session gets no password by an address of theirs while the owner may still act.
func linkAndForget(t *testing.T, s *system) {
	token, after := s.signUp(t, newEmail()), newEmail()
	temp, code := s.link(t, token, after)
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(token, temp, code)).said(t, 200))
	s.awaitSubject(t, after, "Your Gatehouse email address was changed")
	forgot := call{Path: pathForgotPassword, Body: fields{"email": after}}
	s.want(t, http.StatusOK, forgot)
	_, err := s.db.Exec(t.Context(), `UPDATE accounts SET email_changed_at = now() - interval '24 hours' WHERE email = $1`, after)
	require.NoError(t, err)
	_, err = s.db.Exec(t.Context(), `DELETE FROM quotas WHERE key = $1`, s.keys.Subject("send/reset", after))
	require.NoError(t, err)
	require.Len(t, s.inbox(t, after), 2, "no link")
	s.want(t, http.StatusOK, forgot)
	testkit.Eventually(t, patience, func() bool { return len(s.inbox(t, after)) == 3 }, "the link, a day later")
}

// An account whose address was taken away gets another one, and nobody else is told.
func TestEmailLink_WhereThereIsNone(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	var settings []string
	for name, value := range o.settings() {
		settings = append(settings, name, value)
	}
	s := startSystem(t, settings...)
	before, after := newEmail(), newEmail()
	token := s.signUp(t, before)
	body := fields{"provider": "GOOGLE", "idToken": o.idToken(t, o.oidc.ClientID, "sub-1", "")}
	require.Equal(t, "GOOGLE linked successfully", s.send(t, call{Path: pathLinkOAuth, Token: token, Body: body}).said(t, 200))
	require.Equal(t, "Email unlinked", s.send(t, call{Method: http.MethodDelete, Path: pathLinkEmail, Token: token}).said(t, 200))
	s.awaitSubject(t, before, "Your email address was unlinked from Gatehouse")
	told := len(s.inbox(t, before))
	temp, code := s.link(t, token, after)
	require.Equal(t, "Email linked successfully", s.send(t, verifyLink(token, temp, code)).said(t, 200))
	require.Equal(t, after, s.emailOf(t, token))
	s.awaitSubject(t, after, "Your Gatehouse email address was changed")
	require.Equal(t, http.StatusOK, s.login(t, after, password).Status, "its password has a name again")
	s.db.eventually(t, 0, `SELECT count(*) FROM email_changes WHERE new_email = $1`, after)
	require.Len(t, s.inbox(t, before), told)
}

// In hidden mode nothing tells whoever asks that an address is taken: not the answer, and not what becomes of wrong codes.
func TestEmailLink_Hidden_ENU03(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_ENUMERATION", "hidden")
	victim := newEmail()
	s.signUp(t, victim)
	s.awaitMail(t, victim, 2)
	var said [2][]string
	for i, email := range []string{newEmail(), victim} {
		token := s.signUp(t, newEmail())
		got := s.send(t, linkTo(token, email))
		require.Equal(t, "Verification code sent", got.said(t, 200))
		require.InDelta(t, 600, got.data(t)["expiresIn"], 0)
		temp, _ := got.data(t)["tempToken"].(string)
		testkit.Eventually(t, patience, func() bool {
			return s.db.number(t, `SELECT count(*) FROM challenges WHERE purpose = 'email_link' AND destination = $1 AND code_hash IS NOT NULL`, email) == 1
		}, "a code, or what seems to be one")
		for _, wrong := range []string{"000000", "aaaaaa", "taken!", "000001", "000002", "000003"} {
			answered := s.send(t, verifyLink(token, temp, wrong))
			said[i] = append(said[i], answered.text(t, "message"))
		}
	}
	require.Equal(t, said[0], said[1])
	require.Equal(t, wrongOTP, said[1][0])
	mail := s.awaitMail(t, victim, 3)
	require.Equal(t, existsSubject, mail.Subject)
	require.Empty(t, mail.Code)
}
