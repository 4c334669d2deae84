//go:build unix

package e2e_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"
)

// Attacks on accounts that need what the first rows of the attack table did not: keys, changes under way, old hashes.
func TestAccountAttack(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"PRE07_TokenBeforeTheProof":          tokenBeforeTheProof,
		"RST03_NothingOfAThiefOutlivesReset": thiefAfterReset,
		"USR07_CarriersOfScripts":            carriersOfScripts,
	})
}

// weakly hashes a password as a release with other parameters would have.
func (s *system) weakly(t *testing.T, password string, params argon2id.Params) string {
	t.Helper()
	master, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.stack.Setting("GATEHOUSE_SECRET_KEY"), "dev:"))
	require.NoError(t, err)
	pepper, err := hkdf.Key(sha256.New, master, nil, "gatehouse/password-pepper", 32)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, pepper)
	require.NoError(t, binary.Write(mac, binary.BigEndian, uint64(len(password))))
	_, _ = mac.Write([]byte(password))
	hash, err := argon2id.CreateHash(base64.RawStdEncoding.EncodeToString(mac.Sum(nil)), &params)
	require.NoError(t, err)
	return hash
}

// define changes the schema, for what a test must see or break.
func (d database) define(t testing.TB, statement string) {
	t.Helper()
	_, err := d.Exec(t.Context(), statement)
	require.NoError(t, err)
}

// The token of an unproven address reads and edits itself; what binds something, or grants it, waits for the proof.
func tokenBeforeTheProof(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, strings.ToLower(newEmail()[5:25]), email)
	for _, own := range []string{
		pathMe, pathDetails, pathCanSetPassword, pathProfile, pathSessions, pathValidate, pathSecurityOverview, pathWelcomeStatus, pathProviders, pathLinked,
	} {
		s.want(t, http.StatusOK, call{Path: own, Token: token})
	}
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "Ada"}})
	for _, binds := range []call{
		{Path: pathSendPhoneCode, Body: fields{"phone_number": newNumber(t)}},
		phoneProof("", newNumber(t), "123456"),
		{Path: pathProviders, Body: fields{"provider": "google", "provider_account_id": "1", "access_token": "ya29.x"}},
		{Path: pathLinked + "/initiate", Body: fields{"provider": "google"}},
		{Path: pathAPIKeys, Body: fields{"name": "key", "scopes": []string{"account:read"}}},
		{Method: http.MethodPatch, Path: pathProfile, Body: fields{"email": newEmail()}},
		{Method: http.MethodPost, Path: pathUnlock},
	} {
		binds.Token = token
		s.refused(t, http.StatusForbidden, "email_not_verified", binds)
	}
	s.refused(t, http.StatusConflict, "password_exists", call{Path: pathAddPassword, Token: token, Body: fields{"password": newPassword}})
	for _, table := range []string{"api_keys", "linked_providers", "phone_attempts", "email_changes", "provider_links", "credit_moves"} {
		require.Zero(t, s.db.number(t, `SELECT count(*) FROM `+table+` WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email), table)
	}
	// The same token may do it all once the address is proven.
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": email, "code": s.awaitCode(t, email)}})
	s.apiKey(t, token, "account:read")
}

// Whatever a thief had of an account, and whatever they began, ends with the reset; the mail names the keys.
func thiefAfterReset(t *testing.T, s *system) {
	email, theirs := newEmail(), newEmail()
	s.signUp(t, email)
	stolen := []string{s.signedIn(t, email, password), s.authenticate(t, email, password).text(t, "token")}
	refresh := s.authenticate(t, email, password).text(t, "refreshToken")
	created := func(name string, scopes ...string) string {
		got := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: stolen[0], Body: fields{"name": name, "scopes": scopes}})
		return got.text(t, "key")
	}
	revoked := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: stolen[0], Body: fields{"name": "long gone", "scopes": []string{"account:read"}}})
	s.want(t, http.StatusNoContent, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + revoked.text(t, "id"), Token: stolen[0]})
	keys := []string{created("deploy_bot", "account:read", "account:security"), created("see https://evil.example/ now", "account:write")}
	s.want(t, http.StatusOK, call{Path: pathMe, Token: keys[0]}) // its implicit session is there
	move := s.move(t, stolen[0], theirs)
	number := newNumber(t)
	s.sendPhoneCode(t, stolen[0], number)
	phoneCode := s.awaitPhoneCode(t, number, 1)

	require.Equal(t, http.StatusOK, s.reset(t, s.forgot(t, email, 1), newPassword).Status)
	for _, dead := range append(stolen, keys...) {
		s.requireDead(t, dead)
	}
	for _, key := range keys {
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "", "X-API-Key", key).Status)
	}
	s.refused(t, http.StatusBadRequest, "invalid_code", call{Path: pathVerifyCode, Body: fields{"email": theirs, "code": move.Code}})
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, move)}})
	owner := s.signedIn(t, email, newPassword)
	s.refused(t, http.StatusBadRequest, "invalid_otp", phoneProof(owner, number, phoneCode))
	require.Equal(t, email, s.emailOf(t, owner))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id
		JOIN accounts a ON a.id = s.account_id WHERE a.email = $1 AND s.revoked_at IS NULL`, email), refresh[:4])
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sessions s JOIN accounts a ON a.id = s.account_id
		WHERE a.email = $1 AND s.revoked_at IS NULL`, email), "the owner's own")

	const subject = "Your Gatehouse password was reset"
	s.requireMail(t, email, subject)
	for _, m := range s.inbox(t, email) {
		if m.Subject == subject {
			require.Contains(t, m.Text, `"deploy_bot"`)
			require.Contains(t, m.Text, `"see https···evil·example· now"`)
			require.NotContains(t, m.Text, "evil.example", "a stranger's link in our mail")
			require.NotContains(t, m.Text, "long gone")
		}
	}
}

// What strangers write comes back as the text that it is, cut to size, and never as a page or an address that runs.
func carriersOfScripts(t *testing.T, s *system) {
	const script = `<script>alert(1)</script><img src=x onerror=alert(2)>"'&`
	email := newEmail()
	got := s.raw(t, http.MethodPost, pathInitiateSignup, mustJSON(t, fields{
		"email": email, "password": password, "name": script,
		"attribution": fields{"utm_source": script + strings.Repeat("x", 600), script: "y"},
	}), "User-Agent", script)
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	token := s.raw(t, http.MethodPost, pathCompleteSignup, mustJSON(t, fields{"email": email, "code": s.awaitCode(t, email)}), "User-Agent", script).
		text(t, "session_token")
	require.Equal(t, script, s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)["full_name"], "text is text")
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM accounts WHERE attribution::text LIKE '%script%'`))
	require.LessOrEqual(t, s.db.number(t, `SELECT max(length(value)) FROM accounts, jsonb_each_text(attribution)
		WHERE email = $1`, email), 500)
	s.want(t, http.StatusOK, call{Path: "/api/v1/auth/sessions/update-device-info", Token: token, Body: fields{"device_info": script}})
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": script, "referral_source": script}})
	for _, path := range []string{pathMe, pathProfile, pathSessions, pathLoginHistory, pathDetails} {
		answer := s.want(t, http.StatusOK, call{Path: path, Token: token})
		require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
		require.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'", "should a browser take it for a page")
	}
	for _, mail := range s.inbox(t, email) {
		require.NotContains(t, mail.Text+mail.Subject, "alert")
	}
	for _, path := range []string{"/api/v1/auth/sessions/update-device-info"} {
		long := s.send(t, call{Path: path, Token: token, Body: fields{"device_info": strings.Repeat("x", 501)}})
		require.Equal(t, http.StatusUnprocessableEntity, long.Status)
	}
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "carriers"))
	for i, avatar := range []string{
		"javascript:alert(1)", "JAVASCRIPT:alert(1)", " javascript:alert(1)", "data:text/html,<script>", "http://pictures.example/a.png", "//pictures.example/a",
		"vbscript:x", "https:alert(1)", "https://user:pass@pictures.example/", "/relative",
	} {
		signedIn := s.want(t, http.StatusOK, call{Path: "/api/v1/auth/oauth-signin", Token: service, Body: fields{
			"email": newEmail(), "provider": "google", "provider_account_id": fmt.Sprint("carrier-", i), "avatar_url": avatar,
		}})
		me := s.want(t, http.StatusOK, call{Path: pathMe, Token: signedIn.text(t, "session_token")}).object(t)
		require.Nil(t, me["avatar_url"], avatar)
		require.Nil(t, me["image"], avatar)
	}
	good := s.want(t, http.StatusOK, call{Path: "/api/v1/auth/oauth-signin", Token: service, Body: fields{
		"email": newEmail(), "provider": "google", "provider_account_id": "carrier", "avatar_url": "https://pictures.example/a.png?s=96",
	}})
	require.Equal(t, "https://pictures.example/a.png?s=96",
		s.want(t, http.StatusOK, call{Path: pathMe, Token: good.text(t, "session_token")}).object(t)["avatar_url"])
}
