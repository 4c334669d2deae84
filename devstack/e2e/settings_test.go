//go:build unix

package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

const (
	pathSettings      = "/v1/users/settings"
	pathDataProviders = "/v1/users/dataproviders"
)

func pathMemberships(email string) string {
	return "/v1/users/" + strings.ReplaceAll(url.PathEscape(email), "@", "%40") + "/memberships"
}

const (
	documentedSettings = `{"timezone":"UTC","oddsFormat":"american","notifications":{"email":true,"push":true,"sms":false},"theme":"dark","language":"en"}`
	changedSettings    = `{"timezone":"America/Los_Angeles","oddsFormat":"decimal","notifications":{"email":true,"push":false,"sms":false},"theme":"dark","language":"en"}`
)

func userSettings(t *testing.T, s *system) {
	ann, unproven := s.signUp(t, newEmail()), s.register(t, "u"+strings.ReplaceAll(uuid.NewString(), "-", "")[:20], newEmail())
	for _, token := range []string{ann, unproven} {
		require.JSONEq(t, documentedSettings, string(s.want(t, http.StatusOK, call{Path: pathSettings, Token: token}).Body))
		change := call{Method: "PATCH", Path: pathSettings, Token: token, Body: fields{
			"timezone": "America/Los_Angeles", "oddsFormat": "decimal", "notifications": fields{"email": true, "push": false},
		}}
		require.JSONEq(t, changedSettings, string(s.want(t, http.StatusOK, change).Body))
		require.JSONEq(t, changedSettings, string(s.want(t, http.StatusOK, call{Path: pathSettings, Token: token}).Body))
		require.JSONEq(t, changedSettings, string(s.want(t, http.StatusOK, call{Method: "PATCH", Path: pathSettings, Token: token, Body: fields{}}).Body))
	}
	got := s.refused(t, http.StatusBadRequest, "invalid_request", call{Method: "PATCH", Path: pathSettings, Token: ann, Body: fields{
		"timezone": "Mars/Olympus", "oddsFormat": "roman", "notifications": fields{"push": "yes"}, "theme": 1, "language": "?",
	}})
	require.Equal(t, map[string]any{"notifications.push": "must be a boolean", "theme": "must be a string"}, got.object(t)["fields"])
	got = s.refused(t, http.StatusBadRequest, "invalid_request", call{Method: "PATCH", Path: pathSettings, Token: ann, Body: fields{
		"timezone": "Mars/Olympus", "oddsFormat": "roman", "theme": "blue", "language": "?", "notifications": fields{"push": true},
	}})
	require.Len(t, got.object(t)["fields"], 4)
	require.JSONEq(t, changedSettings, string(s.want(t, http.StatusOK, call{Path: pathSettings, Token: ann}).Body), "nothing of a refused change")
	s.want(t, http.StatusUnauthorized, call{Path: pathSettings})
}

// AUT-01: no body of these routes reaches what they are not for.
func settingsMassAssignment(t *testing.T, s *system) {
	email, other := newEmail(), newEmail()
	ann, bob := s.signUp(t, email), s.signUp(t, other)
	evil := fields{
		"accountId": s.want(t, http.StatusOK, call{Path: pathDetails, Token: bob}).text(t, "userId"), "roles": []string{"admin"}, "email": other,
		"NOTIFICATIONS": fields{"sms": true}, "Theme": "light", "notify_sms": true, "notifications": fields{"SMS": true, "account_id": "x"},
	}
	require.JSONEq(t, documentedSettings, string(s.want(t, http.StatusOK, call{Method: "PATCH", Path: pathSettings, Token: ann, Body: evil}).Body))
	evil["dataProviders"] = []fields{{"name": "mine", "enabled": true, "accountId": evil["accountId"], "apiKey": "canary-secret"}}
	s.want(t, http.StatusOK, call{Method: "PATCH", Path: pathDataProviders, Token: ann, Body: evil})
	require.JSONEq(t, `{"dataProviders":[]}`, string(s.want(t, http.StatusOK, call{Path: pathDataProviders, Token: bob}).Body))
	require.JSONEq(t, documentedSettings, string(s.want(t, http.StatusOK, call{Path: pathSettings, Token: bob}).Body))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND roles = '{user}'`, email))
}

func dataProviders(t *testing.T, s *system) {
	ann := s.signUp(t, newEmail())
	patch := func(list any) call {
		return call{Method: "PATCH", Path: pathDataProviders, Token: ann, Body: fields{"dataProviders": list}}
	}
	require.JSONEq(t, `{"dataProviders":[]}`, string(s.want(t, http.StatusOK, call{Path: pathDataProviders, Token: ann}).Body))
	s.want(t, http.StatusOK, patch([]fields{{"name": "b", "enabled": true}, {"name": "a", "enabled": true}}))
	got := s.want(t, http.StatusOK, patch([]fields{{"name": "b", "enabled": false}}))
	require.JSONEq(t, `{"dataProviders":[{"name":"a","enabled":true},{"name":"b","enabled":false}]}`, string(got.Body))
	for _, bad := range []any{nil, "a", fields{}, []any{"a"}, []fields{{"name": "a"}}, []fields{{"enabled": true}}, []fields{{"name": "", "enabled": true}}} {
		s.refused(t, http.StatusBadRequest, "invalid_request", patch(bad))
	}
	for i := range 4 {
		list := make([]fields, 32)
		for j := range list {
			list[j] = fields{"name": strings.Repeat("x", i+1) + strings.Repeat("y", j+1), "enabled": true}
		}
		if i < 3 {
			s.want(t, http.StatusOK, patch(list))
			continue
		}
		s.refused(t, http.StatusBadRequest, "invalid_request", patch(list))
	}
}

func memberships(t *testing.T, s *system) {
	email := "plus+" + newEmail()
	ann, bob := s.signUp(t, email), s.signUp(t, newEmail())
	for _, args := range [][]string{
		{"--organization", "Secret Ltd", "--role", "member"}, {"--organization", "Open Ltd", "--role", "admin", "--public"},
	} {
		s.stack.Command(t, nil, append([]string{"memberships", "set", "--account", email}, args...)...)
	}
	key := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "test"))
	accountKey := s.apiKey(t, ann, "account:read")
	named := func(path string, headers ...string) (names []string) {
		got := s.raw(t, "GET", path, "", headers...)
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		list, ok := got.object(t)["memberships"].([]any)
		require.True(t, ok, "%s", got.Body)
		for _, m := range list {
			one, _ := m.(map[string]any)
			require.Len(t, one, 3)
			names = append(names, one["organization"].(string))
		}
		return names
	}
	all, open := []string{"Secret Ltd", "Open Ltd"}, []string{"Open Ltd"}
	for _, path := range []string{pathMemberships(email), "/v1/users/" + email + "/memberships", pathMemberships(strings.ToUpper(email))} {
		require.Equal(t, open, named(path), path)
		require.Equal(t, all, named(path, "Authorization", "Bearer "+ann), path)
		require.Equal(t, all, named(path, "X-API-Key", key), path)
		require.Equal(t, open, named(path, "Authorization", "Bearer "+bob), "another account")
		require.Equal(t, open, named(path, "X-API-Key", accountKey), "an account's key is no credential here")
		require.Equal(t, all, named(path, "Authorization", "Bearer "+key), path)
		require.Equal(t, open, named(path, "Authorization", "nonsense"))
	}
	require.Empty(t, named(pathMemberships(newEmail())))
	require.Empty(t, named(pathMemberships("no address")))
	s.stack.Command(t, nil, "memberships", "remove", "--account", email, "--organization", "Open Ltd")
	require.Empty(t, named(pathMemberships(email)))
}
