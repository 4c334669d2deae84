//go:build unix

package e2e_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// TestMFALogin plays logins of accounts with a second factor: B01, C14, B11, D20.
func TestMFALogin(t *testing.T) {
	t.Parallel()
	s := startSystem(t, quickSends...)
	playAll(t, s, map[string]func(*testing.T, *system){
		"MFA-01_SkipTheStep":                        skipTheStep,
		"MFA-01_PendingDiesByItself":                pendingFactorDies,
		"MFA-11_RememberedDevice":                   rememberedDevice,
		"X14_MailedCodesUntilThereIsAnApp":          mailedFactor,
		"RST_ResetStillNeedsTheFactor":              resetNeedsFactor,
		"MFA-04_WrongCodesOfOneLoginStopThemInAll":  wrongCodesOfManyLogins,
		"MFA-05_PendingSessionCannotSetUpAnyFactor": pendingSetsUpNothing,
	})
}

// owing signs in somebody with an app, by password alone.
func (s *system) owing(t *testing.T, email string, headers ...string) (access, refresh string) {
	t.Helper()
	login := s.enter(t, email, headers...)
	body := login.object(t)
	require.Equal(t, true, body["mfaRequired"], "%s", login.Body)
	require.NotContains(t, body, "deviceVerificationToken", "an app owes no mailed code")
	return login.text(t, "accessToken"), login.text(t, "refreshToken")
}

func skipTheStep(t *testing.T, s *system) {
	a := s.enrolled(t)
	token, refresh := s.owing(t, a.email)
	contract, err := spec()
	require.NoError(t, err)
	judged := 0
	for _, o := range contract.Operations() {
		r := route{s, o, token}
		if len(*o.Security) == 0 || r.path() == pathMFAVerify || r.path() == pathLogout {
			continue
		}
		got := r.send(t, "{}")
		if slices.ContainsFunc(*o.Security, func(one openapi3.SecurityRequirement) bool { return len(one) == 0 }) {
			anybody := s.raw(t, o.Method, r.path(), "{}")
			require.Equal(t, string(anybody.Body), string(got.Body), "%s: a pending session is nobody", o.Path)
			continue
		}
		require.Equal(t, http.StatusForbidden, got.Status, "%s %s: %s", o.Method, o.Path, got.Body)
		require.Equal(t, "Finish the second sign-in step first.", got.text(t, "message"))
		judged++
	}
	require.Greater(t, judged, 50)
	require.Equal(t, http.StatusUnauthorized, s.refresh(t, refresh).Status, "its refresh token is inert")
	require.False(t, s.valid(t, token, "000000"))
	s.want(t, http.StatusForbidden, call{Path: pathMe, Token: token})
	require.True(t, s.valid(t, token, a.code(t, 0)))
	s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	require.Equal(t, http.StatusOK, s.refresh(t, refresh).Status)
	s.want(t, http.StatusCreated, wantsStrongKey(token))

	// Document C says the same in its words.
	got := s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": a.email, "password": password}}).object(t)
	require.Equal(t, true, got["mfa_required"])
	require.NotContains(t, got, "device_verification_token")
	s.refused(t, http.StatusForbidden, "mfa_required", call{Path: pathMe, Token: got["session_token"].(string)})
	require.True(t, s.valid(t, got["session_token"].(string), a.backup[0]))
	s.want(t, http.StatusOK, call{Path: pathMe, Token: got["session_token"].(string)})
}

func pendingFactorDies(t *testing.T, s *system) {
	a := s.enrolled(t)
	token, refresh := s.owing(t, a.email)
	require.InDelta(t, 300, s.db.number(t, `SELECT extract(epoch FROM s.expires_at - now())::int FROM sessions s
		JOIN accounts a ON a.id = s.account_id WHERE a.email = $1 AND s.state = 'pending'`, a.email), 20)
	s.db.change(t, `UPDATE sessions SET expires_at = now() WHERE state = 'pending' AND account_id = (SELECT id FROM accounts WHERE email = $1)`, a.email)
	s.refused(t, http.StatusUnauthorized, "unauthorized", verify(token, a.code(t, 0)))
	require.Equal(t, http.StatusUnauthorized, s.refresh(t, refresh).Status)
	// One that was signed out is gone as well.
	token, _ = s.owing(t, a.email)
	s.want(t, http.StatusOK, call{Path: pathLogout, Token: token, Body: fields{}})
	s.refused(t, http.StatusUnauthorized, "unauthorized", verify(token, a.code(t, 0)))
	require.True(t, s.valid(t, a.token, a.code(t, 0)), "none of that used the code up")
}

func rememberedDevice(t *testing.T, s *system) {
	a, b := s.enrolled(t), s.enrolled(t)
	token, _ := s.owing(t, a.email, "X-Device-Id", "my-laptop")
	got := s.want(t, http.StatusOK, call{Path: pathMFAVerify, Token: token, Body: fields{"code": a.code(t, 0), "rememberDevice": true}})
	device := got.text(t, "deviceToken")
	until, err := time.Parse(time.RFC3339, got.text(t, "expiresAt"))
	require.NoError(t, err)
	require.InDelta(t, 30*24*time.Hour, time.Until(until), float64(time.Hour))
	require.Equal(t, "my-laptop", s.devices(t, token)[0]["deviceId"])
	s.requireMail(t, a.email, deviceAdded)

	login := s.enter(t, a.email, "X-Device-Token", device)
	require.NotContains(t, login.object(t), "mfaRequired")
	trusted := login.text(t, "accessToken")
	s.want(t, http.StatusOK, call{Path: pathMe, Token: trusted})
	// The device stands for the factor at the door, and no further.
	off := call{Path: pathTwoFactorOff, Token: trusted, Body: fields{"password": password}}
	require.Equal(t, "Sign in again to do this.", s.send(t, off).said(t, http.StatusForbidden))
	s.refused(t, http.StatusForbidden, "reauthentication_required", wantsStrongKey(trusted))
	s.want(t, http.StatusUnauthorized, entering(a.email, "wrong", "X-Device-Token", device))
	s.owing(t, b.email, "X-Device-Token", device)
	s.owing(t, a.email, "X-Device-Token", device[:len(device)-1])
	s.refused(t, http.StatusUnauthorized, "unauthorized", call{Path: pathMe, Token: device})

	// It ends with the factor.
	require.True(t, s.valid(t, trusted, a.backup[0]))
	require.Equal(t, "Two-factor authentication disabled successfully", s.send(t, off).said(t, http.StatusOK))
	require.Empty(t, s.devices(t, trusted))
	require.Equal(t, true, s.enter(t, a.email, "X-Device-Token", device, "X-Device-Id", "my-laptop").object(t)["mfaRequired"])
}

func mailedFactor(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	s.want(t, http.StatusOK, call{Path: pathTwoFactorOn, Token: first, Body: fields{"password": password}})
	login := s.enter(t, email)
	require.Equal(t, true, login.object(t)["mfaRequired"])
	token, dvt := login.text(t, "accessToken"), login.text(t, "deviceVerificationToken")
	require.False(t, s.valid(t, token, s.deviceCode(t, email, dvt)), "there is no app")
	data := s.finish(t, email, dvt, "phone").data(t)
	access := data["accessToken"].(string)
	s.want(t, http.StatusCreated, wantsStrongKey(access))

	// A login that waits for a mailed code cannot be finished by one once there is an app.
	dvt = s.enter(t, email).text(t, "deviceVerificationToken")
	code := s.deviceCode(t, email, dvt)
	a := s.setup(t, access)
	require.True(t, s.valid(t, access, a.code(t, 0)))
	got := s.send(t, finishing(dvt, code, "tablet"))
	require.Contains(t, []int{http.StatusBadRequest, http.StatusForbidden}, got.Status, "%s", got.Body)
	s.owing(t, email, "X-Device-Token", data["deviceToken"].(string))
	off := call{Path: pathTwoFactorOff, Token: access, Body: fields{"password": password}}
	require.Equal(t, "Two-factor authentication disabled successfully", s.send(t, off).said(t, http.StatusOK))
	require.NotContains(t, s.enter(t, email).object(t), "mfaRequired", "neither factor nor device is left")
}

func resetNeedsFactor(t *testing.T, s *system) {
	a := s.enrolled(t)
	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, a.email, 1), newPassword).Status)
	s.requireDead(t, a.token)
	login := s.want(t, http.StatusOK, entering(a.email, newPassword))
	require.Equal(t, true, login.object(t)["mfaRequired"])
	token := login.text(t, "accessToken")
	s.refused(t, http.StatusForbidden, "mfa_required", call{Path: pathMe, Token: token})
	require.True(t, s.valid(t, token, a.code(t, 0)))
}

func wrongCodesOfManyLogins(t *testing.T, s *system) {
	a := s.enrolled(t)
	for range 5 {
		token, _ := s.owing(t, a.email)
		require.False(t, s.valid(t, token, "000000"))
	}
	token, _ := s.owing(t, a.email)
	s.refused(t, http.StatusTooManyRequests, "too_many_requests", verify(token, a.code(t, 0)))
	s.want(t, http.StatusOK, call{Path: pathMe, Token: a.token})
}

func pendingSetsUpNothing(t *testing.T, s *system) {
	email := newEmail()
	first := s.signUp(t, email)
	s.want(t, http.StatusOK, call{Path: pathTwoFactorOn, Token: first, Body: fields{"password": password}})
	a := s.setup(t, first)
	token := s.enter(t, email).text(t, "accessToken")
	require.False(t, s.valid(t, token, a.code(t, 0)), "the code of an app that waits ends no login")
	s.refused(t, http.StatusForbidden, "mfa_required", call{Path: pathMe, Token: token})
	require.True(t, s.valid(t, first, a.code(t, 0)))
}
