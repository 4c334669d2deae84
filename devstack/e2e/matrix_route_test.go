//go:build unix

package e2e_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// What every route must do, made from the OpenAPI files: a route that is added is tried without anybody thinking of it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	s := startSystem(t, quickSends...)
	playAll(t, s, map[string]func(*testing.T, *system){
		"JWT01_JWT03_ForgedOnEveryRoute":   forgedOnEveryRoute,
		"JWT11_TwoOnEveryRoute":            twoOnEveryRoute,
		"WEB03_OriginsOnEveryRoute":        originsOnEveryRoute,
		"WEB11_NoRouteIsCached":            noRouteIsCached,
		"PRE07_UnverifiedOnEveryRoute":     unverifiedOnEveryRoute,
		"AUT01_ForbiddenMembersEverywhere": forbiddenMembersEverywhere,
	})
}

// routes are all documented operations, for somebody.
func (s *system) routes(t testing.TB, token string) []route {
	t.Helper()
	contract, err := spec()
	require.NoError(t, err)
	var all []route
	for _, o := range contract.Operations() {
		all = append(all, route{s, o, token})
	}
	require.Greater(t, len(all), 100)
	return all
}

func (r route) String() string { return r.o.Dialect + " " + r.o.Method + " " + r.o.Path }

// as sends a request of the route with a body, and nothing else but these headers.
func (r route) as(t testing.TB, body string, headers ...string) answer {
	t.Helper()
	return r.s.raw(t, r.o.Method, r.path(), body, headers...)
}

func forgedOnEveryRoute(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	header, claims := opened(t, token)
	sign := s.ours(t)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	strange := func(signed string) []byte { return ed25519.Sign(stranger, []byte(signed)) }
	var asked atomic.Int32
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	t.Cleanup(keys.Close)
	const marker = "kid-of-an-attacker"
	public := base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey))
	forged := map[string]string{
		"alg none":       forge(t, with(header, "alg", "none"), claims, unsigned),
		"alg nOnE":       forge(t, with(header, "alg", "nOnE"), claims, sign),
		"no alg":         forge(t, with(header, "alg", nil), claims, sign),
		"HS256":          forge(t, with(header, "alg", "HS256"), claims, sign),
		"a stranger's":   forge(t, header, claims, strange),
		"kid, path":      forge(t, with(header, "kid", "../../dev/null"+marker), claims, sign),
		"kid, SQL":       forge(t, with(header, "kid", "' OR 1=1 --"+marker), claims, sign),
		"kid of 8 kB":    forge(t, with(header, "kid", strings.Repeat(marker, 400)), claims, sign),
		"jku":            forge(t, with(header, "jku", keys.URL+"/jwks.json"), claims, strange),
		"x5u":            forge(t, with(header, "x5u", keys.URL+"/cert"), claims, strange),
		"jwk":            forge(t, with(header, "jwk", map[string]any{"kty": "OKP", "crv": "Ed25519", "x": public}), claims, strange),
		"crit":           forge(t, with(header, "crit", []string{"exp"}), claims, sign),
		"another aud":    forge(t, header, with(claims, "aud", "other"), sign),
		"no exp":         forge(t, header, with(claims, "exp", nil), sign),
		"another issuer": forge(t, header, with(claims, "iss", "https://evil.example"), sign),
	}
	tried := 0
	for _, r := range s.routes(t, token) {
		for about, bearer := range forged {
			switch {
			case r.guarded():
				got := r.as(t, "", "Authorization", "Bearer "+bearer)
				requireRefusal(t, r.o.Dialect, http.StatusUnauthorized, "unauthorized", got, fmt.Sprint(about, " at ", r))
				tried++
			case len(*r.o.Security) > 0:
				require.Equal(t, string(r.as(t, "{}").Body), string(r.as(t, "{}", "Authorization", "Bearer "+bearer).Body), "%s at %s: it is nobody", about, r)
			}
		}
	}
	t.Logf("%d forged tokens refused", tried)
	s.requireAlive(t, token)
	require.Zero(t, asked.Load(), "a token sent us somewhere")
	require.NotContains(t, s.api.Output(), marker)
}

// JWT-11: two credentials are refused by whoever takes one, with a line in the log; nobody's wins in silence.
func twoOnEveryRoute(t *testing.T, s *system) {
	mine, theirs := newEmail(), newEmail()
	token, other := s.signUp(t, mine), s.signUp(t, theirs)
	key, own := s.apiKey(t, other, "account:read", "account:write", "account:security"), s.apiKey(t, token, "account:read")
	revoked := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: token, Body: fields{"name": "old", "scopes": []string{"account:read"}}})
	s.want(t, http.StatusNoContent, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + revoked.text(t, "id"), Token: token})
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "two"))
	for _, r := range s.routes(t, token) {
		if !r.guarded() {
			continue
		}
		pairs := [][]string{
			{"Authorization", "Bearer " + token, "Authorization", "Bearer " + other},
			{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token},
			{"X-API-Key", key, "X-API-Key", key, "Authorization", "Bearer " + token},
			{"Authorization", "Bearer " + token, "X-API-Key", key}, // also where the documents know no keys
			{"Authorization", "Bearer " + token, "X-API-Key", service},
		}
		if r.o.Dialect == "authv1" {
			pairs = append(pairs, []string{"Authorization", "Bearer " + key, "X-API-Key", service})
		}
		for _, shown := range pairs {
			requireRefusal(t, r.o.Dialect, http.StatusUnauthorized, "ambiguous_credentials", r.as(t, "", shown...), r.String())
		}
	}
	for _, path := range []string{pathMe, pathDetails, pathSecurityInfo} {
		for _, dead := range []string{revoked.text(t, "key"), own + "x", "ghk_"} {
			got := s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+token, "X-API-Key", dead)
			require.Equal(t, http.StatusUnauthorized, got.Status, "%s beside a key that is none: %s", path, got.Body)
		}
		got := s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+token, "X-API-Key", own)
		require.Equal(t, http.StatusOK, got.Status, "%s beside a key of one's own: %s", path, got.Body)
	}
	for _, path := range []string{pathDetails, pathSecurityInfo} { // a key of somebody else's gateway is none of our business
		got := s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+token, "X-API-Key", "gateway-1")
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	}
	var lines []string
	for line := range strings.Lines(s.api.Output()) {
		if strings.Contains(line, `"code":"ambiguous_credentials"`) && strings.Contains(line, `"route":"`+pathMe+`"`) {
			lines = append(lines, line)
		}
	}
	require.NotEmpty(t, lines, "no line in the log")
	named := strings.Join(lines, "")
	for _, email := range []string{mine, theirs} {
		require.Contains(t, named, s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)[0], "the line names whose they were")
	}
	require.Contains(t, lines[0], `"network":"127.0.0.`)
}

func originsOnEveryRoute(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for _, r := range s.routes(t, token) {
		for _, origin := range []string{"https://evil.example", "null", s.base + ".evil.example"} {
			preflight := s.raw(t, http.MethodOptions, r.path(), "", "Origin", origin, "Access-Control-Request-Method", r.o.Method,
				"Access-Control-Request-Headers", "authorization")
			for what, got := range map[string]answer{"preflight": preflight, "request": r.as(t, "[]", "Origin", origin, "Authorization", "Bearer "+token)} {
				for name := range got.Header {
					require.False(t, strings.HasPrefix(name, "Access-Control-"), "%s of %s from %s: %s", what, r, origin, name)
				}
				require.Contains(t, strings.Join(got.Header.Values("Vary"), ","), "Origin", "%s of %s", what, r)
			}
		}
	}
}

// WEB-11: no answer of any route is kept by anybody, good or bad, with HEAD or a condition.
func noRouteIsCached(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	read := 0
	for _, r := range s.routes(t, token) {
		answers := map[string]answer{"a bad body": r.as(t, "[", "Authorization", "Bearer "+token), "a stranger": r.as(t, "")}
		if r.o.Method == http.MethodGet {
			answers["the owner"] = r.as(t, "", "Authorization", "Bearer "+token)
			answers["HEAD"] = s.raw(t, http.MethodHead, r.path(), "", "Authorization", "Bearer "+token)
			require.Equal(t, answers["the owner"].Status, answers["HEAD"].Status, r.String())
			require.Empty(t, answers["HEAD"].Body)
			for _, condition := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range"} {
				got := r.as(t, "", "Authorization", "Bearer "+token, condition, "*")
				require.Equal(t, answers["the owner"].Status, got.Status, "%s of %s", condition, r)
				answers[condition] = got
			}
			if answers["the owner"].ok() {
				read++
			}
		}
		for about, got := range answers {
			about += " at " + r.String()
			require.Equal(t, "no-store", got.Header.Get("Cache-Control"), about)
			for _, validator := range []string{"Etag", "Last-Modified", "Expires", "Age"} {
				require.Empty(t, got.Header.Get(validator), about)
			}
		}
	}
	require.Greater(t, read, 20)
}

// unproven are the operations that the token of an unproven address may ask for (design D5): what is its own to read and to edit,
// and every way out. Some of them find nothing, as what they need cannot be begun. All others are for whoever has proven the
// address.
var unproven = map[string][]string{
	"accountv1": {
		"canSetPassword", "getSecurityInfo", "listSessions", "listDevices", "canChangeUsername", "changeUsername", "changePassword", "reauthenticate",
		"deactivate", "revokeDevice", "revokeSession", "signOut", "signOutAll", "signOutOthers", "unlinkOAuth", "disableTwoFactor",
		"sendPasswordOTP", "changePasswordWithOTP", "verifyEmailLink", // there is no proven contact to send to
		"setPassword", // whoever has registered has one
	},
	"authv1": {
		"getMe", "changeMe", "getProfile", "getSecurityOverview", "securityEvents", "loginHistory", "listAccountProviders", "getLinkedAccounts", "listApiKeys",
		"listSessions", "validateSession", "validateSessionWithStatus", "updateDeviceInfo", "touchSession", "getWelcomeStatus", "markWelcomeShown",
		"recordOnboarding", "changePassword", "closeAccount", "revokeApiKey", "revokeSession", "revokeSessions", "revokeAllSessions",
		"disconnectAccountProvider", "unlinkAccount", "linkAccountCallback", "completeAccountLink", // their state cannot be had
		"oauthSignin", // for service keys alone
		"addPassword", // whoever has registered has one
	},
	"usersv1": {
		"getDetails", "getSettings", "changeSettings", "getDataProviders", "changeDataProviders", "changePassword", "logout", "listSubscriptions", "listInvoices",
		"verifyMfa", "updateNotificationToken", // there is none
	},
}

// anew signs in once more, as if nobody had guessed a password before.
func (s *system) anew(t *testing.T, email string) string {
	t.Helper()
	_, err := s.db.Exec(t.Context(), `DELETE FROM login_throttles WHERE key IN ($1, $2)`, s.keys.Subject("login", email), s.accountKey(t, email))
	require.NoError(t, err)
	return s.authenticate(t, email, password).text(t, "token")
}

func unverifiedOnEveryRoute(t *testing.T, s *system) {
	email := newEmail()
	s.register(t, email, email)
	free, bound := 0, 0
	for _, r := range s.routes(t, "") {
		if !r.guarded() {
			continue
		}
		r.token = s.anew(t, email)
		got := r.send(t, mustJSON(t, r.good(t)))
		refused := got.Status == http.StatusForbidden && strings.Contains(string(got.Body), "Verify your email address first.")
		if slices.Contains(unproven[r.o.Dialect], r.o.OperationID) {
			require.False(t, refused, "%s: %s", r, got.Body)
			free++
			continue
		}
		require.True(t, refused, "%s, by whoever has not proven the address: %d %s", r, got.Status, got.Body)
		bound++
	}
	t.Logf("%d routes are free, %d wait for the proof", free, bound)
	require.Equal(t, len(slices.Concat(slices.Collect(maps.Values(unproven))...)), free, "a route that is no more")
	for _, table := range []string{
		"api_keys", "linked_providers", "phone_attempts", "email_changes", "provider_links", "credit_moves", "subscriptions", "devices",
		"push_tokens",
	} {
		require.Zero(t, s.db.number(t, `SELECT count(*) FROM `+table+` WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email), table)
	}
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND email_verified_at IS NULL AND is_active AND deleted_at IS NULL`, email))
}

// forbidden are members that no request of anybody sets, by the column or right they name.
var forbidden = map[string]any{
	"id": "11111111-1111-4111-8111-111111111111", "user_id": "11111111-1111-4111-8111-111111111111", "account_id": "11111111-1111-4111-8111-111111111111",
	"is_superuser": true, "is_admin": true, "roles": []string{"user", "admin"}, "role": "admin", "is_verified": true, "verified": true,
	"email_verified_at": "2020-01-01T00:00:00Z", "phone_verified": true, "phone_verified_at": "2020-01-01T00:00:00Z", "is_active": false, "is_locked": true,
	"deleted_at": "2020-01-01T00:00:00Z", "password_hash": "x", "primary_provider": "google", "two_factor": false, "is_two_factor_enabled": false,
	"credits": fields{"credits_balance": 1_000_000}, "balance": 1_000_000, "credits_balance": 1_000_000, "multiplier": 1000,
	"subscription": fields{"plan": "forged-plan", "status": "active"}, "subscription_tier": "forged-plan", "amount": 0, "price": 0, "currency": "XXX", "trial_days": 9999,
	"state": "active", "factor_at": "2030-01-01T00:00:00Z", "auth_time": "2030-01-01T00:00:00Z", "expires_in": 1 << 40, "created_at": "1990-01-01T00:00:00Z",
	"is_service": true, "contested": false, "kind": "register", "session_state": "active",
}

// memberSpellings are the ways in which a lenient reader would take a member's name.
func memberSpellings(name string) []string {
	words := strings.Split(name, "_")
	camel := ""
	for _, w := range words {
		camel += strings.ToUpper(w[:1]) + w[1:]
	}
	return []string{name, strings.ToUpper(name), camel, strings.ToLower(camel[:1]) + camel[1:], strings.Join(words, "-"), strings.ToUpper(name[:1]) + name[1:]}
}

// trojan is a body that a route takes, with all that it must not hear.
func (r route) trojan(t *testing.T) fields {
	t.Helper()
	body, all := fields{}, fields{}
	documented := func(name string) bool { _, found := r.schema().Properties[name]; return found }
	for name, value := range forbidden {
		for _, spelt := range memberSpellings(name) {
			if !documented(spelt) {
				body[spelt], all[spelt] = value, value
			}
		}
	}
	for name := range r.schema().Properties { // a case-insensitive reader would choke on these
		for _, spelt := range memberSpellings(name)[1:3] {
			if !documented(spelt) {
				body[spelt] = fields{"$ne": ""}
			}
		}
	}
	for _, around := range []string{"account", "user", "data", "$set", "__proto__", "constructor", "profile"} {
		if !documented(around) {
			body[around] = all
		}
	}
	maps.Copy(body, r.good(t))
	return body
}

// ownRights is what nobody may give themselves.
const ownRights = `SELECT to_jsonb(x)::text FROM (
	SELECT a.id, a.email, a.email_verified_at, a.phone_verified_at, a.roles, a.is_active, a.is_locked, a.deleted_at, a.primary_provider, a.created_at,
		a.password_hash
	FROM accounts a WHERE a.email = $1) x`

func forbiddenMembersEverywhere(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	before := s.db.texts(t, ownRights, email)
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "trojan"))
	routes := 0
	for _, r := range s.routes(t, "") {
		if r.o.RequestBody == nil {
			continue
		}
		routes++
		r.token = s.anew(t, email)
		if r.o.OperationID == "oauthSignin" {
			r.token = service
		}
		invalid, _ := r.invalid()
		plain := r.send(t, mustJSON(t, r.good(t)))
		r.token = map[bool]string{true: r.token, false: s.anew(t, email)}[r.token == service]
		got := r.send(t, mustJSON(t, r.trojan(t)))
		if plain.Status != invalid {
			require.NotEqual(t, invalid, got.Status, "%s heard a member that it does not document: %s", r, got.Body)
		}
		require.Equal(t, plain.ok(), got.ok(), "%s: %d %s and %d %s", r, plain.Status, plain.Body, got.Status, got.Body)
		for _, echo := range []string{"1000000", "11111111-1111", "forged-plan", "1990-01-01"} {
			require.NotContains(t, string(got.Body), echo, r.String())
		}
		require.Equal(t, before, s.db.texts(t, ownRights, email), r.String())
		for name := range r.good(t) { // which of the two counts must not be for a reader to choose
			for _, twice := range []string{`{"` + name + `":1,"` + name + `":2}`, fmt.Sprintf(`{"%s":1,"\u%04x%s":2}`, name, name[0], name[1:])} {
				requireRefusal(t, r.o.Dialect, http.StatusBadRequest, "malformed_request", r.send(t, twice), r.String()+" "+twice)
			}
		}
	}
	t.Logf("%d routes that write", routes)
	require.Greater(t, routes, 40)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM accounts WHERE roles <> '{user}' OR is_locked OR id::text LIKE '11111111-%'`))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM credits WHERE balance > 100 AND account_id NOT IN (SELECT account_id FROM subscriptions)`))
}
