//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	pathRefresh        = "/v1/users/refresh-token"
	pathResetB         = "/v1/users/reset-password"
	pathUpdatePassword = "/v1/users/update-password"
	pathPasswordsB     = "/v1/users/passwords"

	refreshName = "sk-refresh-token"
	pageOrigin  = "https://app.example.com"
)

// TestUsers plays the rows of document B that no other test plays.
func TestUsers(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_ALLOWED_ORIGINS", pageOrigin)
	playAll(t, s, map[string]func(*testing.T, *system){
		"B03_Refresh":                          refreshes,
		"SES-01_ReuseEndsTheFamily":            refreshReuse,
		"SES-03_GraceEndsWithTheSuccessorsUse": refreshGrace,
		"SES-11_CookieOfAForeignOrigin":        refreshCookie,
		"JWT-05_WhatIsNoRefreshToken":          refreshConfusion,
		"B05_B06_X28_LinksWorkInBothDocuments": resetByDocumentB,
		"B07_ChangePassword":                   changePasswordB,
		"B13_B14_Settings":                     userSettings,
		"B15_B16_DataProviders":                dataProviders,
		"B17_Memberships":                      memberships,
		"B24_B26_PushTokens":                   pushTokens,
		"AUT-03_PushHijack":                    pushHijack,
		"AUT-05_PushTokensOfOthers":            pushOfOthers,
		"AUT-01_SettingsTakeWhatTheyAreFor":    settingsMassAssignment,
	})
}

// pair is what B01 and B03 hand out.
type pair struct{ access, refresh string }

func pairOf(t *testing.T, got answer) pair {
	t.Helper()
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	return pair{got.text(t, "accessToken"), got.text(t, "refreshToken")}
}

// pairs signs up and in.
func (s *system) pairs(t *testing.T) (email string, first pair) {
	t.Helper()
	email = newEmail()
	s.signUp(t, email)
	return email, pairOf(t, s.authenticate(t, email, password))
}

func (s *system) refresh(t testing.TB, token string) answer {
	t.Helper()
	return s.raw(t, "POST", pathRefresh, "", refreshName, token)
}

func (s *system) refusedRefresh(t *testing.T, token string) {
	t.Helper()
	got := s.refresh(t, token)
	require.Equal(t, http.StatusUnauthorized, got.Status, "%s", got.Body)
	require.Equal(t, "invalid_token", got.code())
}

// outlive moves the use of the used tokens of an address out of the grace.
func (s *system) outlive(t *testing.T, email string) {
	t.Helper()
	_, err := s.db.Exec(t.Context(), `UPDATE refresh_tokens SET rotated_at = rotated_at - interval '11 seconds'
		WHERE rotated_at IS NOT NULL AND session_id IN (
			SELECT s.id FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE a.email = $1)`, email)
	require.NoError(t, err)
}

func refreshes(t *testing.T, s *system) {
	email, first := s.pairs(t)
	second := pairOf(t, s.refresh(t, first.refresh))
	require.NotEqual(t, first.refresh, second.refresh)
	require.Equal(t, second.refresh, pairOf(t, s.refresh(t, first.refresh)).refresh, "a repetition gets the same successor")
	s.requireAlive(t, second.access)
	s.want(t, http.StatusOK, call{Method: "POST", Path: pathLogout, Token: second.access})
	s.refusedRefresh(t, second.refresh)
	s.requireDead(t, first.access)

	// A new password ends the other sessions with their tokens.
	other := pairOf(t, s.authenticate(t, email, password))
	mine := pairOf(t, s.authenticate(t, email, password))
	s.want(t, http.StatusOK, call{Method: "PUT", Path: pathPasswordsB, Token: mine.access, Body: fields{
		"currentPassword": password, "newPassword": newPassword,
	}})
	s.refusedRefresh(t, other.refresh)
	pairOf(t, s.refresh(t, mine.refresh))
}

func refreshReuse(t *testing.T, s *system) {
	email, first := s.pairs(t)
	second := pairOf(t, s.refresh(t, first.refresh))
	third := pairOf(t, s.refresh(t, second.refresh))
	s.outlive(t, email)
	s.refusedRefresh(t, first.refresh)
	for _, p := range []pair{first, second, third} {
		s.requireDead(t, p.access)
		s.refusedRefresh(t, p.refresh)
	}
	s.requireMail(t, email, "A device was signed out of your Gatehouse account")
}

func refreshGrace(t *testing.T, s *system) {
	_, first := s.pairs(t)
	second := pairOf(t, s.refresh(t, first.refresh))
	third := pairOf(t, s.refresh(t, second.refresh))
	s.refusedRefresh(t, first.refresh)
	s.requireDead(t, third.access)
	s.refusedRefresh(t, third.refresh)
}

func refreshCookie(t *testing.T, s *system) {
	email, first := s.pairs(t)
	cookie := "__Host-" + refreshName + "=" + first.refresh
	for _, origin := range []string{"", "null", "https://evil.example", pageOrigin + ".evil.example", "https://x.app.example.com"} {
		got := s.raw(t, "POST", pathRefresh, "", "Origin", origin, "Cookie", cookie)
		require.Equal(t, http.StatusUnauthorized, got.Status, origin)
		require.Equal(t, "invalid_token", got.code())
		require.Empty(t, got.Header.Values("Set-Cookie"))
	}
	got := s.raw(t, "POST", pathRefresh, "", "Origin", pageOrigin, "Cookie", cookie)
	second := pairOf(t, got)
	set, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.Equal(t, "__Host-"+refreshName, set.Name)
	require.Equal(t, second.refresh, set.Value)
	require.True(t, set.Secure && set.HttpOnly && set.Path == "/" && set.Domain == "" && set.SameSite == http.SameSiteStrictMode, "%s", set)
	third := pairOf(t, s.raw(t, "POST", pathRefresh, "", "Origin", s.base, "Cookie", refreshName+"="+second.refresh))
	// JWT-11: two credentials are one too many, and use up nothing.
	other := pairOf(t, s.authenticate(t, email, password))
	got = s.raw(t, "POST", pathRefresh, "", "Origin", pageOrigin, "Cookie", refreshName+"="+third.refresh, refreshName, other.refresh)
	require.Equal(t, http.StatusUnauthorized, got.Status)
	require.Equal(t, "ambiguous_credentials", got.code())
	pairOf(t, s.refresh(t, third.refresh))
	pairOf(t, s.refresh(t, other.refresh))
}

func refreshConfusion(t *testing.T, s *system) {
	email, first := s.pairs(t)
	token := s.signedIn(t, email, password)
	for _, no := range []string{
		"", "ghr_", first.access, token, s.apiKey(t, token, "account:security"), first.refresh + "x", first.refresh[:len(first.refresh)-1],
		strings.ToUpper(first.refresh), "Bearer " + first.refresh,
	} {
		s.refusedRefresh(t, no)
	}
	s.requireDead(t, first.refresh)
	pairOf(t, s.refresh(t, first.refresh))
}

func resetByDocumentB(t *testing.T, s *system) {
	s.want(t, http.StatusNoContent, call{Path: pathResetB, Body: fields{"email": newEmail()}})
	s.refused(t, http.StatusBadRequest, "invalid_request", call{Path: pathResetB, Body: fields{}})
	email, first := s.pairs(t)
	s.want(t, http.StatusNoContent, call{Path: pathResetB, Body: fields{"email": strings.ToUpper(email)}})
	token := tokenOf(t, s.resetMail(t, email, 1))
	update := func(token, pass string) call {
		return call{Method: "PUT", Path: pathUpdatePassword, Body: fields{"token": token, "password": pass}}
	}
	s.refused(t, http.StatusBadRequest, "invalid_token", update(token+"x", newPassword))
	got := s.refused(t, http.StatusBadRequest, "invalid_request", update(token, "short"))
	require.Contains(t, got.object(t)["fields"], "password")
	got = s.refused(t, http.StatusBadRequest, "invalid_request", update("", ""))
	require.Len(t, got.object(t)["fields"], 2)
	s.want(t, http.StatusNoContent, update(token, newPassword))
	s.refused(t, http.StatusBadRequest, "invalid_token", update(token, newPassword))
	s.requireDead(t, first.access)
	s.refusedRefresh(t, first.refresh)
	require.Equal(t, http.StatusOK, s.authenticate(t, email, newPassword).Status)

	// The other document's link, here, and the other way round.
	other := newEmail()
	s.signUp(t, other)
	s.want(t, http.StatusNoContent, update(s.forgot(t, other, 1), newPassword))
	third := newEmail()
	s.signUp(t, third)
	s.want(t, http.StatusNoContent, call{Path: pathResetB, Body: fields{"email": third}})
	require.Equal(t, http.StatusOK, s.reset(t, tokenOf(t, s.resetMail(t, third, 1)), newPassword).Status)
}

func changePasswordB(t *testing.T, s *system) {
	email, first := s.pairs(t)
	mine := pairOf(t, s.authenticate(t, email, password))
	change := func(current, next string) call {
		return call{Method: "PUT", Path: pathPasswordsB, Token: mine.access, Body: fields{"currentPassword": current, "newPassword": next}}
	}
	got := s.refused(t, http.StatusUnauthorized, "invalid_credentials", change("not-the-password-1", newPassword))
	require.Equal(t, "Current password is incorrect", got.text(t, "message"))
	for _, next := range []string{"short1", "password1", email, ""} {
		got := s.refused(t, http.StatusBadRequest, "invalid_request", change(password, next))
		require.Contains(t, got.object(t)["fields"], "newPassword", next)
	}
	// Document A's rule of letters and numbers is not this document's.
	s.want(t, http.StatusOK, change(password, "no-digits-in-here"))
	s.requireAlive(t, mine.access)
	s.requireDead(t, first.access)
	require.Equal(t, http.StatusOK, s.authenticate(t, email, "no-digits-in-here").Status)
	s.requireMail(t, email, "Your Gatehouse password was changed")
}
