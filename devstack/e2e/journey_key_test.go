//go:build unix

package e2e_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func apiKeys(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	key := func(args ...string) string {
		return strings.TrimSpace(s.stack.Command(t, nil, append([]string{"keys", "create", "--name", "test"}, args...)...))
	}
	reading, writing, service := key("--account", email, "--scopes", "account:read"),
		key("--account", email, "--scopes", "account:write"), key("--service")
	require.Equal(t, 3, s.db.number(t, `SELECT count(*) FROM api_keys k LEFT JOIN accounts a ON a.id = k.account_id
		WHERE a.email = $1 OR k.is_service`, email))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM api_keys WHERE encode(key_hash, 'escape') LIKE '%gh%_%' ESCAPE '!'`))

	show := func(path string, headers ...string) answer { return s.raw(t, http.MethodGet, path, "", headers...) }
	for _, shown := range [][]string{
		{"Authorization", "Bearer " + reading},
		{"X-Api-Key", reading},
		{"Authorization", "Bearer " + token, "X-Api-Key", reading},
		{"Authorization", "Bearer " + reading, "X-Api-Key", reading},
	} {
		got := show(pathMe, shown...)
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		require.Equal(t, email, got.text(t, "email"))
	}
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		prefix := map[string]string{"Authorization": "Bearer "}[name]
		for _, path := range []string{pathDetails, pathCanSetPassword} { // documents B and D take none (contract X05)
			require.Equal(t, http.StatusUnauthorized, show(path, name, prefix+reading).Status)
		}
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodPost, pathLogout, "", name, prefix+writing).Status)
		for _, refused := range []string{writing, service} {
			got := show(pathMe, name, prefix+refused)
			require.Equal(t, http.StatusForbidden, got.Status)
			require.Equal(t, "insufficient_scope", got.code())
		}
		for _, unknown := range []string{reading[:len(reading)-1], reading + "A", strings.ToUpper(reading), "ghk_", "ghs_" + reading[4:]} {
			require.Equal(t, http.StatusUnauthorized, show(pathMe, name, prefix+unknown).Status)
		}
	}
	s.requireCredentialsOfOne(t, token, reading, service)

	s.requireKeysEnd(t, email, reading, service)
}

// requireKeysEnd says that a key that an operator revokes is refused with the next request, and that the log tells.
func (s *system) requireKeysEnd(t *testing.T, email, reading, service string) {
	t.Helper()
	byService := func() int { return s.raw(t, http.MethodGet, pathMe, "", "X-Api-Key", service).Status }
	require.Equal(t, http.StatusForbidden, byService())
	listed := func(scope string, args ...string) string {
		all := s.stack.Command(t, nil, append([]string{"keys", "list"}, args...)...)
		require.NotContains(t, all, "never", "each was used")
		found := regexp.MustCompile(`(?m)^(\S+)  test  ` + scope + ` `).FindStringSubmatch(all)
		require.Len(t, found, 2, all)
		return found[1]
	}
	for _, one := range []struct {
		id, said, event string
		ended           func() int
	}{
		{listed("service"), "a service key", "service_key.revoked", byService},
		{listed("account:read", "--account", email), "a key of account ", "api_key.revoked", func() int {
			return s.raw(t, http.MethodGet, pathMe, "", "X-Api-Key", reading).Status
		}},
	} {
		require.NotEqual(t, http.StatusUnauthorized, one.ended())
		require.Contains(t, s.stack.Command(t, nil, "keys", "revoke", one.id), "revoked "+one.id+": "+one.said)
		require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM audit_events WHERE name = $1 AND details->>'key_id' = $2`, one.event, one.id))
		require.Equal(t, http.StatusUnauthorized, one.ended())
	}
	require.Equal(t, 1, strings.Count(s.stack.Command(t, nil, "keys", "list"), "\n"), "the head alone")
}

// JWT-11: two credentials of two people are none.
func (s *system) requireCredentialsOfOne(t *testing.T, token, key, service string) {
	t.Helper()
	other := s.signUp(t, newEmail())
	for _, shown := range [][]string{
		{"Authorization", "Bearer " + other, "X-Api-Key", key},
		{"Authorization", "Bearer " + token, "X-Api-Key", service},
		{"Authorization", "Bearer " + token, "X-Api-Key", key[:len(key)-1]},
		{"Authorization", "Bearer " + token, "Authorization", "Bearer " + other},
		{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token},
		{"X-Api-Key", key, "X-Api-Key", service},
		{"Authorization", "Basic dXNlcjpwYXNz", "X-Api-Key", key},
	} {
		got := s.raw(t, http.MethodGet, pathMe, "", shown...)
		require.Equal(t, http.StatusUnauthorized, got.Status, "%v", shown)
	}
	got := s.raw(t, http.MethodGet, pathMe, "", "Authorization", "Bearer "+other, "X-Api-Key", key)
	require.Equal(t, "ambiguous_credentials", got.code())
}

func idempotencyKeys(t *testing.T, s *system) {
	email := newEmail()
	initiate := call{Path: pathInitiateSignup, Key: "1", Body: fields{"email": email, "password": password}}
	first := s.want(t, http.StatusOK, initiate)
	code := s.awaitCode(t, email)
	again := s.want(t, http.StatusOK, initiate)
	require.Equal(t, string(first.Body), string(again.Body))
	require.Equal(t, []string{"", "true"}, []string{first.Header.Get("Idempotent-Replayed"), again.Header.Get("Idempotent-Replayed")})
	initiate.Body = fields{"email": email, "password": password + "!"}
	s.refused(t, http.StatusUnprocessableEntity, "idempotency_key_reused", initiate)

	complete := call{Path: pathCompleteSignup, Key: email, Body: fields{"email": email, "code": code}}
	done := s.want(t, http.StatusOK, complete)
	require.Equal(t, string(done.Body), string(s.want(t, http.StatusOK, complete).Body))
	complete.Key = ""
	s.refused(t, http.StatusBadRequest, "invalid_code", complete)
	require.Equal(t, 1, s.db.number(t, sessions, email))
	// What is kept is sealed.
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM idempotency_keys WHERE position(convert_to($1, 'UTF8') IN answer) > 0
		OR key LIKE '%' || $1 || '%'`, email))
}
