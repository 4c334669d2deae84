//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	temporal "go.temporal.io/sdk/client"

	"gatehouse/account"
	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
	"gatehouse/workflows"
)

// foundFlows is what `gatehouse flows find --json` prints.
type foundFlows struct {
	Accounts []string `json:"accounts"`
	Flows    []struct {
		ID           string  `json:"id"`
		Kind         string  `json:"kind"`
		State        string  `json:"state"`
		Stage        string  `json:"stage"`
		NextActionAt *string `json:"next_action_at"`
		Link         string  `json:"link"`
	} `json:"flows"`
	Codes []struct {
		Purpose     string `json:"purpose"`
		State       string `json:"state"`
		Destination string `json:"destination"`
		TriesLeft   int    `json:"tries_left"`
	} `json:"codes"`
}

func findFlows(t *testing.T, s *stacktest.Stack, whose ...string) foundFlows {
	t.Helper()
	var found foundFlows
	require.NoError(t, json.Unmarshal([]byte(s.Command(t, nil, append([]string{"flows", "find", "--json"}, whose...)...)), &found))
	return found
}

// Where is this user's flow, why, and what next: by address before there is an account, then by address, number and account
// alike. Wrong guesses never reach Temporal, so the tries come from the database.
func TestFlowsFind(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	email := newEmail()
	require.Empty(t, findFlows(t, s.stack, "--email", email).Flows)
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	s.want(t, http.StatusBadRequest, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": wrong(code, 1)}})

	// What is listed lags a moment behind.
	testkit.Eventually(t, patience, func() bool { return len(findFlows(t, s.stack, "--email", email).Flows) == 1 }, "the sign-up")
	found := findFlows(t, s.stack, "--email", email)
	require.Empty(t, found.Accounts)
	flow := found.Flows[0]
	require.Equal(t, []string{"signup", "running", "awaiting_proof"}, []string{flow.Kind, flow.State, flow.Stage})
	require.NotNil(t, flow.NextActionAt)
	require.Regexp(t, `/workflows/signup%2F[0-9a-f]{32}/[0-9a-f-]{36}$`, flow.Link)
	require.Len(t, found.Codes, 1)
	require.Equal(t, "live", found.Codes[0].State)
	require.Equal(t, 4, found.Codes[0].TriesLeft)
	require.Equal(t, account.MaskEmail(email), found.Codes[0].Destination)

	token := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).text(t, "session_token")
	s.want(t, 200, subscribe(token, starterPlan, visa))
	s.db.change(t, `UPDATE accounts SET phone_number = '+491701234567' WHERE email = $1`, email)
	stages := func(found foundFlows) map[string]string {
		kinds := map[string]string{}
		for _, f := range found.Flows {
			kinds[f.Kind] = f.Stage
		}
		return kinds
	}
	testkit.Eventually(t, patience, func() bool {
		kinds := stages(findFlows(t, s.stack, "--email", email))
		return kinds["subscription"] == "active" && kinds["signup"] == "completed"
	}, "both flows")
	byEmail := findFlows(t, s.stack, "--email", email)
	require.Len(t, byEmail.Accounts, 1)
	require.Empty(t, byEmail.Codes)
	byAccount, byPhone := findFlows(t, s.stack, "--account", byEmail.Accounts[0]), findFlows(t, s.stack, "--phone", "+491701234567")
	require.Equal(t, byEmail.Accounts, byPhone.Accounts)
	for _, found := range []foundFlows{byEmail, byAccount, byPhone} {
		require.Equal(t, "active", stages(found)["subscription"])
		require.Equal(t, "completed", stages(found)["signup"])
	}
	plain := s.stack.Command(t, nil, "flows", "find", "--email", email)
	require.Contains(t, plain, "subscription")
	require.NotContains(t, plain, email)
}

var tableQuery = regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`]+)` \\|")

// Every query of the runbook is one that Temporal runs, and there is one for every kind of flow.
func TestOperations_EveryQueryRuns(t *testing.T) {
	t.Parallel()
	s := stacktest.Start(t, stacktest.Options{})
	c, err := temporal.Dial(temporal.Options{HostPort: s.TemporalAddress, Namespace: s.Namespace})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, durable.RegisterSearchAttributes(t.Context(), c, s.Namespace))
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	_, section, there := strings.Cut(string(text), "\n### Queries\n")
	require.True(t, there)
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for _, found := range tableQuery.FindAllStringSubmatch(section, -1) {
		query := strings.NewReplacer("<id>", "00000000-0000-4000-8000-000000000001", "<now>", "2026-11-22T00:00:00Z", "<hash>", "00").Replace(found[1])
		require.NotRegexp(t, "<[a-z]+>", query, "a placeholder that this test does not know")
		_, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 1})
		require.NoError(t, err, query)
		all = append(all, query)
	}
	for kind := range workflows.Stages() {
		require.Contains(t, strings.Join(all, "\n"), "FlowKind = '"+kind+"'", "no query finds the flows of this kind")
	}
	_, err = c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: "FlowKin = 'signup'", PageSize: 1})
	require.Error(t, err, "a query that cannot run is told from one that finds nothing")
}
