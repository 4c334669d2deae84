//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

const (
	pathSessions      = "/api/v1/auth/sessions"
	pathValidate      = "/api/v1/auth/session/validate"
	pathValidateC     = "/api/v1/auth/sessions/validate"
	pathLoginHistory  = "/api/v1/auth/login-history"
	pathAPIKeys       = "/api/v1/auth/api-keys"
	pathRevokeSession = pathSessions + "/revoke"
)

// replicas are two API processes on one database: what one of them ends, the other refuses at once.
func replicas(t testing.TB) (first, second *client) {
	t.Helper()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	settings, addr := secondAPI(t)
	s.StartAPI(t, settings)
	return newClient(s.BaseURL), newClient("http://" + addr)
}

func (c *client) login(t testing.TB, email string) string {
	t.Helper()
	return c.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}}).text(t, "session_token")
}

// sessionsOf lists the sessions in document A's shape.
func (c *client) sessionsOf(t testing.TB, token string) []map[string]any {
	t.Helper()
	var list []map[string]any
	require.NoError(t, json.Unmarshal(c.want(t, http.StatusOK, call{Path: pathSessions, Token: token}).Body, &list))
	return list
}

func (c *client) sessionID(t testing.TB, token string) string {
	t.Helper()
	info, _ := c.want(t, http.StatusOK, call{Path: pathValidate, Token: token}).object(t)["session_info"].(map[string]any)
	id, _ := info["session_id"].(string)
	require.NotEmpty(t, id)
	return id
}

// requireDead is O-dead: the next request is refused, on every API.
func requireDead(t testing.TB, token string, clients ...*client) {
	t.Helper()
	for _, c := range clients {
		for _, path := range []string{pathMe, pathSessions, pathValidate, pathValidateC, pathLoginHistory} {
			c.want(t, http.StatusUnauthorized, call{Path: path, Token: token})
		}
	}
}

func TestSession_ListValidateNameAndEnd(t *testing.T) {
	t.Parallel()
	a, b := replicas(t)
	email := newEmail()
	first := a.signUp(t, email)
	second, third := a.login(t, email), b.login(t, email)

	list := a.sessionsOf(t, third)
	require.Len(t, list, 3)
	require.Equal(t, a.sessionID(t, third), list[0]["session_id"], "the current one comes first")
	for i, s := range list {
		require.Equal(t, i == 0, s["is_current"])
	}
	valid := b.want(t, http.StatusOK, call{Path: pathValidate, Token: third}).object(t)
	require.Equal(t, true, valid["is_valid"])
	require.Equal(t, false, valid["needs_refresh"])
	require.InDelta(t, 2_592_000, valid["expires_in"], 120)
	require.Equal(t, "ok", b.want(t, http.StatusOK, call{Path: pathValidateC, Token: third}).text(t, "status"))

	named := call{Path: pathSessions + "/update-device-info", Token: third, Body: fields{"device_info": "My laptop"}}
	require.Equal(t, "My laptop", a.want(t, http.StatusOK, named).text(t, "device_info"))
	require.Equal(t, "My laptop", b.sessionsOf(t, third)[0]["device_info"])
	named.Body = fields{}
	require.Equal(t, "Go-http-client 1.1", a.want(t, http.StatusOK, named).text(t, "device_info"))

	// A10: one, then all others.
	one := fields{"session_id": a.sessionID(t, second)}
	require.InDelta(t, 1, a.want(t, http.StatusOK, call{Path: pathRevokeSession, Token: third, Body: one}).object(t)["revoked_count"], 0)
	requireDead(t, second, a, b)
	a.want(t, http.StatusNotFound, call{Path: pathRevokeSession, Token: third, Body: one})
	a.want(t, http.StatusUnprocessableEntity, call{Path: pathRevokeSession, Token: third, Body: fields{}})
	others := call{Path: pathRevokeSession, Token: third, Body: fields{"revoke_all_others": true, "session_id": "ignored"}}
	require.InDelta(t, 1, b.want(t, http.StatusOK, others).object(t)["revoked_count"], 0)
	requireDead(t, first, a, b)
	a.want(t, http.StatusOK, call{Path: pathMe, Token: third})

	// C28, C27, C25.
	fourth := a.login(t, email)
	path := pathSessions + "/" + a.sessionID(t, fourth)
	require.NotEmpty(t, b.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: path + "/activity", Token: fourth}).text(t, "last_active"))
	a.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: path, Token: third})
	requireDead(t, fourth, a, b)
	a.want(t, http.StatusNotFound, call{Method: http.MethodDelete, Path: path, Token: third})
	a.want(t, http.StatusNotFound, call{Method: http.MethodPatch, Path: path + "/activity", Token: third})
	fifth := b.login(t, email)
	all := call{Method: http.MethodDelete, Path: pathSessions, Token: third}
	require.InDelta(t, 2, b.want(t, http.StatusOK, all).object(t)["revoked_count"], 0)
	requireDead(t, third, a, b)
	requireDead(t, fifth, a, b)
}

// SES-07: a session of somebody else is as unknown as one that never was, and stays untouched.
func TestSession_SES07_OfSomebodyElse(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	victim, eve := c.signUp(t, newEmail()), c.signUp(t, newEmail())
	id := c.sessionID(t, victim)
	touched := `SELECT count(*) FROM sessions WHERE id = $1 AND revoked_at IS NULL AND last_active_at = created_at`
	require.Equal(t, 1, db.number(t, touched, id))
	for _, named := range []string{id, strings.ToUpper(id), uuid.NewString(), "sess_abc123def456", "%20", "validate"} {
		var bodies []string
		for _, in := range []call{
			{Method: http.MethodDelete, Path: pathSessions + "/" + named},
			{Method: http.MethodPatch, Path: pathSessions + "/" + named + "/activity"},
			{Path: pathRevokeSession, Body: fields{"session_id": named}},
		} {
			in.Token = eve
			bodies = append(bodies, string(c.want(t, http.StatusNotFound, in).Body))
		}
		require.Equal(t, []string{bodies[0], bodies[0], bodies[0]}, bodies)
	}
	require.Equal(t, 1, db.number(t, touched, id))
	require.Len(t, c.sessionsOf(t, eve), 1)
	c.want(t, http.StatusOK, call{Path: pathMe, Token: victim})
}

// Keys: shown once, scoped, with a session of their own, dead at once when revoked.
func TestSession_APIKeys(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	settings, addr := secondAPI(t)
	s.StartAPI(t, settings)
	a, b, db := newClient(s.BaseURL), newClient("http://"+addr), openDatabase(t, s)
	owner := a.signUp(t, newEmail())
	create := func(scopes ...string) (id, key string) {
		got := a.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: owner, Body: fields{"name": "ci", "scopes": scopes}})
		return got.text(t, "id"), got.text(t, "key")
	}
	id, key := create("account:read", "account:write")
	_, strong := create("account:security")
	listed := a.want(t, http.StatusOK, call{Path: pathAPIKeys, Token: owner})
	require.NotContains(t, string(listed.Body), key)
	require.Zero(t, db.number(t, `SELECT count(*) FROM api_keys k WHERE k::text LIKE '%' || $1 || '%'`, key), "the secret is not stored")

	for range 3 {
		info := b.want(t, http.StatusOK, call{Path: pathValidate, Token: key}).object(t)["session_info"]
		require.Equal(t, true, info.(map[string]any)["is_current"])
	}
	implicit := `SELECT count(*) FROM sessions WHERE api_key_id = $1 AND revoked_at IS NULL`
	require.Equal(t, 1, db.number(t, implicit, id))
	require.Len(t, a.sessionsOf(t, key), 2, "its own and its owner's")
	for _, in := range []call{
		{Path: pathAPIKeys},
		{Path: pathAPIKeys, Body: fields{"name": "x", "scopes": []string{"account:read"}}},
		{Method: http.MethodDelete, Path: pathAPIKeys + "/" + id},
	} {
		in.Token = key
		require.Equal(t, "insufficient_scope", a.want(t, http.StatusForbidden, in).text(t, "error"))
	}
	more := call{Path: pathAPIKeys, Token: strong, Body: fields{"name": "x", "scopes": []string{"account:security"}}}
	require.Equal(t, "insufficient_scope", a.want(t, http.StatusForbidden, more).text(t, "error"))
	a.want(t, http.StatusUnauthorized, call{Path: pathDetails, Token: key}) // X05: documents B and D take none
	a.want(t, http.StatusUnauthorized, call{Path: pathCanSetPassword, Token: key})

	// C25: the sessions go, the keys stay.
	a.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathSessions, Token: key})
	requireDead(t, owner, a, b)
	require.Zero(t, db.number(t, implicit, id))
	b.want(t, http.StatusOK, call{Path: pathValidate, Token: key})
	require.Equal(t, 1, db.number(t, implicit, id))

	b.want(t, http.StatusNoContent, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + id, Token: strong})
	requireDead(t, key, a, b)
	require.Zero(t, db.number(t, implicit, id))
	b.want(t, http.StatusNotFound, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + id, Token: strong})
	eve := a.signUp(t, newEmail())
	var left []map[string]any
	require.NoError(t, json.Unmarshal(a.want(t, http.StatusOK, call{Path: pathAPIKeys, Token: strong}).Body, &left))
	require.Len(t, left, 1)
	a.want(t, http.StatusNotFound, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + left[0]["id"].(string), Token: eve})
	a.want(t, http.StatusOK, call{Path: pathAPIKeys, Token: strong})
}

func TestSession_LoginHistory(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c := newClient(s.BaseURL)
	email := newEmail()
	c.signUp(t, email)
	c.want(t, http.StatusUnauthorized, call{Path: pathLogin, Body: fields{"email": email, "password": "wrong"}})
	token := c.login(t, email)
	history := func(query string) []map[string]any {
		var got struct{ History []map[string]any }
		require.NoError(t, json.Unmarshal(c.want(t, http.StatusOK, call{Path: pathLoginHistory + query, Token: token}).Body, &got))
		return got.History
	}
	all := history("")
	require.Len(t, all, 3)
	for i, want := range []struct {
		method  string
		success bool
	}{{"password", true}, {"password", false}, {"signup", true}} {
		require.Equal(t, want.method, all[i]["method"])
		require.Equal(t, want.success, all[i]["success"])
		require.Equal(t, "127.0.0.1", all[i]["ip_address"])
		require.Contains(t, all[i]["user_agent"], "Go-http-client")
	}
	require.Len(t, history("?limit=1"), 1)
	for _, limit := range []string{"0", "101", "-1", "x"} {
		c.want(t, http.StatusUnprocessableEntity, call{Path: pathLoginHistory + "?limit=" + limit, Token: token})
	}
}
