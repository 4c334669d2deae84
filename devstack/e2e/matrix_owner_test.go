//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

// things are what somebody has that a route names by an id, by that id's place in the OpenAPI files, and their like that nobody
// has.
func (s *system) things(t *testing.T) (email, token string, things map[string][2]string) {
	t.Helper()
	email = newEmail()
	s.signUp(t, email)
	s.trust(t, email, "laptop")
	device := s.devices(t, s.trust(t, email, "phone")["accessToken"].(string))
	login := s.trust(t, email, "tablet")
	token = login["accessToken"].(string)
	var sessions []string
	require.NoError(t, json.Unmarshal([]byte(s.db.texts(t, `SELECT json_agg(s.id)::text FROM sessions s JOIN accounts a ON a.id = s.account_id
		WHERE a.email = $1 AND s.revoked_at IS NULL AND s.id <> $2::uuid`, email, s.sessionID(t, token))[0]), &sessions))
	key := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: token, Body: fields{"name": "ci", "scopes": []string{"account:read"}}}).text(t, "id")
	push := newPushToken()
	require.Equal(t, http.StatusOK, s.claim(t, push, token).Status)
	subscription := s.pays(t, token, premiumPlan)
	code := s.want(t, http.StatusOK, call{Path: pathSendOTP, Token: token, Body: fields{"channel": "EMAIL"}})
	s.securityCode(t, email, 1)
	operation := strings.TrimPrefix(begun(t, s.client, code, token).path, "/v1/operations/")
	return email, token, map[string][2]string{
		"{session_id}":              {sessions[0], uuid.NewString()},
		"{sessionId}":               {sessions[1], uuid.NewString()},
		"{deviceKeyId}":             {device[0]["id"].(string), uuid.NewString()},
		"api-keys/{id}":             {key, uuid.NewString()},
		"operations/{id}":           {operation, uuid.NewString()},
		"subscriptions/{id}":        {subscription, "sub_" + strings.Repeat("a", len(subscription)-4)},
		"tokens/{token}":            {url.PathEscape(push), url.PathEscape(newPushToken())},
		"{email}":                   {url.PathEscape(email), url.PathEscape(newEmail())},
		"linked-accounts/{provider": {}, "account-providers/{provider": {}, "oauth/{provider": {}, // names, of one's own
		"{username}": {}, // public
	}
}

// TestMatrix_Owners asks for everything of somebody else by its id, on every route that takes one, made from the OpenAPI files, and
// in every member and header that does: it is as unknown as what nobody has, and stays as it was. Its owner reaches it afterwards.
func TestMatrix_Owners(t *testing.T) {
	t.Parallel()
	stacktest.Covers(t, "SES-07", "MFA-15", "AUT-05", "PAY-09", "ENU-07")
	s := startSystem(t, append([]string{"GATEHOUSE_CONTACT_AGE", "1ms"}, quickSends...)...)
	email, owner, things := s.things(t)
	eve := s.signUp(t, newEmail())
	s.db.eventually(t, 0, `SELECT count(*) FROM messages WHERE state = 'queued'`)
	s.db.eventually(t, 0, `SELECT count(*) FROM owed_notices`)
	named := s.namedRoutes(t, things)

	before := s.db.settled(t)
	foreign := map[string]answer{}
	for _, r := range named {
		foreign[r.String()] = r.ask(t, eve, r.thing[0])
	}
	s.namesInBodies(t, eve, email, things)
	require.Equal(t, before, s.db.fingerprint(t), "something of somebody else was touched")
	for _, r := range named {
		got := foreign[r.String()]
		switch r.o.OperationID {
		case "getMemberships":
			require.JSONEq(t, `{"memberships":[]}`, string(got.Body))
		case "addNotificationToken": // a token of nobody is there to be claimed
			require.Equal(t, http.StatusNotFound, got.Status, "%s: %s", r, got.Body)
			continue
		default:
			requireRefusal(t, r.o.Dialect, http.StatusNotFound, "not_found", got, r.String())
		}
		require.Equal(t, look(got), look(r.ask(t, eve, r.thing[1])), "%s: theirs, and nobody's", r)
	}
	for _, r := range named {
		got := r.ask(t, owner, r.thing[0])
		require.NotContains(t, []int{401, 403, 404}, got.Status, "%s by the owner: %s", r, got.Body)
	}
	t.Logf("%d routes that name things", len(named))
	require.Greater(t, len(named), 14)
}

// namedRoute is one that takes an id in its path.
type namedRoute struct {
	route
	thing [2]string
}

// namedRoutes are all of them. One whose thing nobody has made here fails the test.
func (s *system) namedRoutes(t *testing.T, things map[string][2]string) []namedRoute {
	t.Helper()
	var all []namedRoute
	for _, r := range s.routes(t, "") {
		if !strings.Contains(r.o.Path, "{") {
			continue
		}
		found := false
		for place, thing := range things {
			if strings.Contains(r.o.Path, place) {
				found = true
				if thing[0] != "" {
					all = append(all, namedRoute{r, thing})
				}
			}
		}
		require.True(t, found, "%s names something that this test has none of", r)
	}
	return all
}

func (r namedRoute) ask(t *testing.T, token, id string) answer {
	t.Helper()
	path, body := pathParameter.ReplaceAllLiteralString(r.o.Path, id), ""
	if r.o.OperationID == "previewPlanChange" {
		path += "?planId=" + premiumPlan
	}
	if r.o.RequestBody != nil {
		body = mustJSON(t, r.good(t))
	}
	return r.s.raw(t, r.o.Method, path, body, "Authorization", "Bearer "+token)
}

// namesInBodies are ids that are not in a path.
func (s *system) namesInBodies(t *testing.T, eve, email string, things map[string][2]string) {
	t.Helper()
	session := things["{session_id}"][0]
	s.refused(t, http.StatusNotFound, "not_found", call{Path: pathRevokeSession, Token: eve, Body: fields{"session_id": session}})
	for _, path := range []string{pathSignOut, pathSignOutOthers} {
		got := s.mark(t, http.MethodPost, path, mustJSON(t, fields{"password": "not the password"}), eve, session)
		require.Contains(t, []int{400, 403, 404}, got.Status, "%s: %s", path, got.Body)
	}
	listed := s.mark(t, http.MethodGet, pathAccountSessions, "", eve, session)
	require.Equal(t, http.StatusOK, listed.Status)
	require.NotContains(t, string(listed.Body), session, "another's session in the list")
	method := s.db.texts(t, `SELECT m.id::text FROM payment_methods m JOIN accounts a ON a.id = m.account_id WHERE a.email = $1`, email)[0]
	s.refused(t, http.StatusNotFound, "not_found", subscribe(eve, premiumPlan, method))
	// ENU-07: what is public of somebody, or told by mistake, names nothing anywhere.
	id := s.accountID(t, email)
	for _, in := range []call{
		{Method: http.MethodDelete, Path: pathSessions + "/" + id},
		{Method: http.MethodDelete, Path: pathAPIKeys + "/" + id},
		{Method: http.MethodDelete, Path: pathDevices + "/" + id},
		{Path: "/v1/operations/" + id},
		{Path: pathSubscriptions + "/" + id + "/invoices"},
		{Path: pathRevokeSession, Body: fields{"session_id": id}},
	} {
		in.Token = eve
		require.Equal(t, http.StatusNotFound, s.send(t, in).Status, in.Path)
	}
	s.requireDead(t, id)
	for _, name := range []string{id, strings.ToUpper(id)} {
		require.Equal(t, http.StatusUnauthorized, s.authenticate(t, name, password).Status, fmt.Sprint(name, " as a username"))
	}
}
