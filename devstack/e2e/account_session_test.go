//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func accountSessions(t *testing.T, s *system) {
	email := newEmail()
	mine := s.signUp(t, email)
	other := s.signedIn(t, email, password)
	third := s.signedIn(t, email, password)
	id, otherID, thirdID := s.sessionID(t, mine), s.sessionID(t, other), s.sessionID(t, third)
	_, data := s.mark(t, "GET", pathAccountSessions, "", mine, id).told(t)
	list := data.(map[string]any)
	require.InDelta(t, 3, list["totalCount"], 0)
	require.Equal(t, id, list["currentSession"].(map[string]any)["id"])
	require.Equal(t, list["currentSession"], list["sessions"].([]any)[0])
	for _, mark := range []string{"", s.sessionID(t, s.signUp(t, newEmail()))} {
		_, data = s.mark(t, "GET", pathAccountSessions, "", mine, mark).told(t)
		require.Nil(t, data.(map[string]any)["currentSession"], "no mark by the token alone, none of another account")
		for _, one := range data.(map[string]any)["sessions"].([]any) {
			require.Equal(t, false, one.(map[string]any)["currentSession"])
		}
	}
	require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "GET", pathAccountSessions, "", mine, "no-uuid").Status)

	s.refuses(t, http.StatusBadRequest, "X-Session-Id header is required", call{Method: "POST", Path: pathSignOut, Token: mine})
	require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "POST", pathSignOut, "", mine, strings.ReplaceAll(id, "-", "")).Status)
	message, data := s.mark(t, "POST", pathSignOut, "", mine, otherID).told(t)
	require.Equal(t, "Signed out successfully", message)
	require.Nil(t, data)
	s.requireDead(t, other)
	require.Equal(t, http.StatusNotFound, s.mark(t, "POST", pathSignOut, "", mine, otherID).Status, "once")

	revoke := call{Method: "DELETE", Path: pathAccountSessions + "/" + thirdID, Token: mine}
	message, _ = s.want(t, http.StatusOK, revoke).told(t)
	require.Equal(t, "Session revoked", message)
	s.requireDead(t, third)
	s.refuses(t, http.StatusNotFound, "Session not found", revoke)
	_, data = s.want(t, http.StatusUnprocessableEntity, call{Method: "DELETE", Path: pathAccountSessions + "/sess_1", Token: mine}).told(t)
	require.Equal(t, map[string]any{"sessionId": "must be a UUID"}, data)
	s.requireAlive(t, mine)
	require.Equal(t, http.StatusOK, s.mark(t, "POST", pathSignOut, "", mine, id).Status)
	s.requireDead(t, mine)
}

func signOutGates(t *testing.T, s *system) {
	email := newEmail()
	mine := s.signUp(t, email)
	id := s.sessionID(t, mine)
	for n, proof := range []func() string{
		func() string { return fmt.Sprintf(`{"password":%q}`, password) },
		func() string {
			_, code := s.newOTP(t, mine, email, 1)
			return fmt.Sprintf(`{"otp":%q}`, code)
		},
	} {
		other := s.signedIn(t, email, password)
		for body, sentence := range map[string]string{`{"password":"not-the-password-1"}`: "Password is incorrect", `{"otp":"000000"}`: "OTP is incorrect"} {
			got := s.mark(t, "POST", pathSignOutOthers, body, mine, id)
			require.Equal(t, http.StatusForbidden, got.Status, "%s", got.Body)
			message, _ := got.told(t)
			require.Equal(t, sentence, message)
		}
		require.Equal(t, http.StatusUnprocessableEntity, s.mark(t, "POST", pathSignOutOthers, `{}`, mine, id).Status)
		good := proof()
		s.refuses(t, http.StatusBadRequest, "X-Session-Id header is required", call{Path: pathSignOutOthers, Token: mine, Body: json.RawMessage(good)})
		got := s.mark(t, "POST", pathSignOutOthers, good, mine, s.sessionID(t, other))
		require.Equal(t, http.StatusNotFound, got.Status, "only one's own can be kept: %s", got.Body)
		s.requireAlive(t, other)
		got = s.mark(t, "POST", pathSignOutOthers, good, mine, id)
		require.Equal(t, http.StatusOK, got.Status, "%d %s", n, got.Body)
		message, data := got.told(t)
		require.Equal(t, "Signed out of other devices", message)
		require.Nil(t, data)
		s.requireAlive(t, mine)
		s.requireDead(t, other)
	}
	other := s.signedIn(t, email, password)
	message, _ := s.want(t, http.StatusOK, call{Path: pathSignOutAll, Token: mine, Body: fields{"password": password}}).told(t)
	require.Equal(t, "Signed out of all devices", message)
	s.requireDead(t, mine)
	s.requireDead(t, other)
	mine = s.signedIn(t, email, password)
	_, code := s.newOTP(t, mine, email, 2)
	s.want(t, http.StatusOK, call{Path: pathSignOutAll, Token: mine, Body: fields{"otp": code}})
	s.requireDead(t, mine)
}

func sessionsOfOthers(t *testing.T, s *system) {
	mine, theirs := s.signUp(t, newEmail()), s.signUp(t, newEmail())
	id := s.sessionID(t, theirs)
	proof := fmt.Sprintf(`{"password":%q}`, password)
	for _, foreign := range []string{id, "00000000-0000-4000-8000-000000000000"} {
		for _, got := range []answer{
			s.mark(t, "POST", pathSignOut, "", mine, foreign), s.mark(t, "POST", pathSignOutOthers, proof, mine, foreign),
			s.send(t, call{Method: "DELETE", Path: pathAccountSessions + "/" + foreign, Token: mine}),
		} {
			require.Equal(t, http.StatusNotFound, got.Status)
			message, _ := got.told(t)
			require.Equal(t, "Session not found", message)
		}
	}
	s.requireAlive(t, theirs)
	s.requireAlive(t, mine)
}
