//go:build unix

package e2e_test

import (
	"crypto/rand"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"gatehouse/devstack/alerts"
	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

// F-07: an old and a new build of API and worker serve the same users side by side, for as long as a deploy takes; then the new
// one alone. The new one holds its change of the flows back while the old one is there.
func TestFault_F07_I18_OldAndNewSideBySide(t *testing.T) {
	t.Parallel()
	fresh := nextBuild(t)
	s := breakable(t, stacktest.Options{}, "GATEHOUSE_FLOW_TIMEOUT", "14s", "GATEHOUSE_REQUEST_TIMEOUT", "17s")
	next := s.stack.Using(fresh)
	settings, addr := secondAPI(t)
	other := s.stack.StartAPI(t, settings)
	both := newClient(s.base)
	both.http.Transport = &balancer{next: both.http.Transport, hosts: []string{strings.TrimPrefix(s.base, "http://"), addr}}
	port, err := machine.FreePort()
	require.NoError(t, err)
	beside := map[string]string{"GATEHOUSE_WORKER_OPS_ADDR": machine.LoopbackAddress(port), heldSetting: heldChanges}
	var held *stacktest.Process
	s.withstand(t, fault{
		through: []*client{both},
		answers: true,
		strike: func() {
			held = next.StartWorker(t, beside)
			other.Stop(t, stopPatience)
			other = next.StartAPI(t, settings)
		},
		meanwhile: func() {
			outage(t)
			s.worker.Stop(t, stopPatience)
			s.api.Stop(t, stopPatience)
			s.api = next.StartAPI(t, nil)
			s.worker = next.StartWorker(t, nil)
		},
		heal: func() {
			held.Stop(t, stopPatience)
			s.stack = next
		},
	})
	temporal := flows(t, next)
	runs, ids := blocked(t, temporal)
	require.Positive(t, runs)
	require.Empty(t, ids, "flows that a worker's code did not fit")
	require.Positive(t, count(t, temporal, nextSteps), "flows took the new way")
}

// F-32: a build that cannot replay open flows is put to work all the same. Those flows stand still, and no others; the alarm
// rings; with the build before they go on, and nothing is lost.
func TestFault_F32_I18_BuildThatCannotReplay(t *testing.T) {
	t.Parallel()
	careless := nextBuild(t)
	s := breakable(t, stacktest.Options{})
	temporal := flows(t, s.stack)
	l := s.live(t, 3)
	l.await(t, calmDeeds)
	l.stop(t) // a flow that the careless build begins, and leaves open, is lost to every other one

	open := map[string]string{}
	for range 3 {
		email := newEmail()
		s.initiate(t, email)
		open[email] = s.awaitCode(t, email)
	}
	ops := map[string]string{"api": s.stack.OpsURL, "worker": s.workerOps()}
	p := &prometheus{
		t: t, board: alerts.Open(t, alertRules, time.Now()), names: map[string]bool{}, client: &http.Client{Timeout: callTimeout}, targets: ops,
	}
	p.pass(alerts.Step)
	s.worker.Stop(t, stopPatience)
	struck := time.Now().UTC().Format(time.RFC3339Nano)
	poison := s.stack.Using(careless).StartWorker(t, map[string]string{"NEXT_BUILD": "careless"})
	proofs := map[string]call{}
	for email, code := range open {
		proofs[email] = call{Path: pathCompleteSignup, Key: rand.Text(), Body: fields{"email": email, "code": code}}
		s.want(t, http.StatusServiceUnavailable, proofs[email])
	}
	p.until("GatehouseNonDeterminism", true)
	email := newEmail()
	s.signUp(t, email) // what begins now is not touched
	s.awaitMail(t, email, 2)
	testkit.Eventually(t, patience, func() bool {
		return count(t, temporal, "ExecutionStatus = 'Running' AND WorkflowType = 'Signup'") == int64(len(open))
	}, "the new flow to end")
	_, stuck := blocked(t, temporal)
	before := map[string]bool{}
	list, err := temporal.Temporal().ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "ExecutionStatus = 'Running' AND StartTime < '" + struck + "'",
	})
	require.NoError(t, err)
	for _, run := range list.GetExecutions() {
		before[run.GetExecution().GetWorkflowId()] = true
	}
	signups := map[string]bool{}
	for _, id := range stuck {
		require.True(t, before[id], "%s began with this build", id)
		signups[id] = strings.HasPrefix(id, "signup/")
	}
	maps.DeleteFunc(signups, func(_ string, is bool) bool { return !is })
	require.Len(t, signups, len(open), "those that were open stand still")
	s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}})
	outage(t)

	poison.Stop(t, stopPatience)
	s.worker = s.stack.StartWorker(t, nil)
	for email, proof := range proofs {
		require.Equal(t, http.StatusOK, retry(t, s.client, proof).Status)
		require.Equal(t, 1, s.db.number(t, accounts, email))
	}
	p.until("GatehouseNonDeterminism", false)
	again := s.live(t, 3)
	again.await(t, calmDeeds)
	again.stop(t)
	s.requireInvariants(t)
}
