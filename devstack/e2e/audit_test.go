//go:build unix

package e2e_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// logged are the events that a command prints, newest first.
func (s *system) logged(t *testing.T, args ...string) (events []map[string]any) {
	t.Helper()
	out := bufio.NewScanner(strings.NewReader(s.stack.Command(t, nil, append([]string{"audit", "list", "--json"}, args...)...)))
	for out.Scan() {
		e := map[string]any{}
		require.NoError(t, json.Unmarshal(out.Bytes(), &e), out.Text())
		events = append(events, e)
	}
	return events
}

// Operators read the log of an account, of one that is gone too, and are in it themselves.
func TestAudit_Commands(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	email := newEmail()
	token := s.signUp(t, email)
	id := s.accountID(t, email)
	s.stack.Command(t, nil, "keys", "create", "--account", email, "--name", "ci")
	s.awaitSubject(t, email, "A new API key of your Gatehouse account")
	s.want(t, http.StatusOK, call{Path: pathAPIKeys, Token: token})
	service := s.stack.Command(t, nil, "keys", "create", "--service", "--name", "backend")
	require.NotEmpty(t, service)

	events := s.logged(t, "--email", strings.ToUpper(email))
	require.Len(t, events, 2)
	require.Equal(t, []any{"api_key.created", "account.created"}, []any{events[0]["type"], events[1]["type"]})
	operator := events[0]["actor"].(map[string]any)
	require.Equal(t, "operator", operator["kind"])
	require.NotEmpty(t, operator["id"])
	require.Equal(t, "visitor", events[1]["actor"].(map[string]any)["kind"])
	require.Equal(t, "service_key.created", s.logged(t, "--installation")[0]["type"])

	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	require.Equal(t, "account.closed", s.logged(t, "--account", id)[0]["type"])
	require.Equal(t, "account.closed", s.logged(t, "--email", email)[0]["type"], "until it is erased")
	_, err := s.stack.TryCommand(t, nil, "audit", "list", "--email", newEmail())
	require.ErrorContains(t, err, "no account has or had")

	require.Contains(t, s.stack.Command(t, nil, "audit", "check"), "every change is in the log")
	require.Contains(t, s.stack.Command(t, nil, "audit", "prune", "--before", "2020-01-01"), "removed 0 events")
	_, err = s.stack.TryCommand(t, nil, "audit", "prune", "--before", "2999-01-01")
	require.ErrorContains(t, err, "30 days")
	s.db.change(t, `UPDATE accounts SET password_changed_at = now() WHERE id = $1::uuid`, id)
	_, err = s.stack.TryCommand(t, nil, "audit", "check")
	require.ErrorContains(t, err, "disagree")

	// Nothing in the log names anybody.
	for _, row := range s.db.texts(t, `SELECT to_jsonb(e)::text FROM audit_events e`) {
		require.NotContains(t, row, email)
		require.NotContains(t, row, "127.0.0.1")
	}
}
