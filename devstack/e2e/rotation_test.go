//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	temporalclient "go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
)

const (
	codecKeys     = "GATEHOUSE_CODEC_KEYS"
	codecPassword = "open-sesame-open-sesame"
)

// rotation is a system in which processes come and go with the keysets of a rotation's steps.
type rotation struct {
	*system

	t        *testing.T
	temporal temporalclient.Client
	// keysets are those of the steps so far, old is the id of the key that is rotated out.
	keysets []string
	old     string
}

// member is an API and a worker of one step.
type member struct {
	*client
	api, worker *stacktest.Process
	ops         string
}

func startRotation(t *testing.T) (r *rotation, first member) {
	t.Helper()
	s := startSystem(t, "GATEHOUSE_CODEC_PASSWORD", codecPassword)
	r = &rotation{system: s, t: t, temporal: readTemporal(t, s.stack), keysets: []string{s.stack.Setting(codecKeys)}}
	ring, err := durable.NewKeyring(r.keysets[0])
	require.NoError(t, err)
	r.old = ring.KeyID()
	return r, member{client: s.client, api: s.api, worker: s.worker, ops: s.stack.OpsURL}
}

// command runs `gatehouse keys codec` with the newest keyset.
func (r *rotation) command(args ...string) (string, error) {
	return r.stack.TryCommand(r.t, map[string]string{codecKeys: r.newest()}, append([]string{"keys", "codec"}, args...)...)
}

func (r *rotation) newest() string { return r.keysets[len(r.keysets)-1] }

// step has the command make the next keyset.
func (r *rotation) step(args ...string) {
	r.t.Helper()
	out, err := r.command(append([]string{"rotate"}, args...)...)
	require.NoError(r.t, err)
	keys, found := strings.CutPrefix(strings.TrimSpace(out), codecKeys+"=")
	require.True(r.t, found, "the keyset alone is printed")
	r.keysets = append(r.keysets, keys)
}

// join starts an API and a worker with the newest keyset beside those that run.
func (r *rotation) join() member {
	r.t.Helper()
	settings, addr := secondAPI(r.t)
	settings[codecKeys] = r.newest()
	m := member{client: newClient("http://" + addr), ops: "http://" + settings["GATEHOUSE_OPS_ADDR"]}
	m.worker = r.stack.StartWorker(r.t, map[string]string{codecKeys: r.newest()})
	m.api = r.stack.StartAPI(r.t, settings)
	r.t.Cleanup(func() { requireCleanLog(r.t, m.api); requireCleanLog(r.t, m.worker) })
	return m
}

func (r *rotation) leave(m member) {
	r.t.Helper()
	m.api.Stop(r.t, stopPatience)
	m.worker.Stop(r.t, stopPatience)
}

// openSignup is a sign-up that waits for its code.
type openSignup struct{ email, code string }

func (m member) open(t *testing.T) openSignup {
	t.Helper()
	email := newEmail()
	m.initiate(t, email)
	return openSignup{email: email, code: m.awaitCode(t, email)}
}

func (m member) finish(t *testing.T, o openSignup) string {
	t.Helper()
	return m.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": o.email, "code": o.code}}).text(t, "session_token")
}

// mixed has each of two members open flows that the other finishes, while both workers take tasks.
func (r *rotation) mixed(a, b member) {
	r.t.Helper()
	for range 3 {
		fromA, fromB := a.open(r.t), b.open(r.t)
		b.finish(r.t, fromA)
		a.finish(r.t, fromB)
	}
}

// runs lists the runs of a query.
func (r *rotation) runs(query string) []*workflow.WorkflowExecutionInfo {
	r.t.Helper()
	list, err := r.temporal.ListWorkflow(r.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 1000})
	require.NoError(r.t, err)
	return list.GetExecutions()
}

func (r *rotation) history(of *common.WorkflowExecution) []*history.HistoryEvent {
	r.t.Helper()
	var all []*history.HistoryEvent
	events := r.temporal.GetWorkflowHistory(r.t.Context(), of.GetWorkflowId(), of.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(r.t, err)
		all = append(all, event)
	}
	return all
}

// requireNoLostTask says that no process failed at what another one wrote.
func (r *rotation) requireNoLostTask() {
	r.t.Helper()
	for _, run := range r.runs("") {
		for _, event := range r.history(run.GetExecution()) {
			failed := event.GetWorkflowTaskFailedEventAttributes()
			if failed.GetCause() == enums.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND {
				continue // something came while the flow was about to end, as happens any day
			}
			require.Nil(r.t, failed, "%s", run.GetExecution().GetWorkflowId())
		}
	}
}

// decode asks the codec endpoint of a member.
func (m member) decode(ctx context.Context, t *testing.T, in *common.Payload) *common.Payload {
	t.Helper()
	body, err := protojson.Marshal(&common.Payloads{Payloads: []*common.Payload{in}})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.ops+"/decode", bytes.NewReader(body))
	require.NoError(t, err)
	request.SetBasicAuth("codec", codecPassword)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	var content bytes.Buffer
	_, err = content.ReadFrom(answer.Body)
	require.NoError(t, err)
	var out common.Payloads
	require.NoError(t, protojson.Unmarshal(content.Bytes(), &out))
	return out.GetPayloads()[0]
}

// The whole rotation as the runbook has it, with old and new processes side by side at every step: what was open before
// it goes on and ends after it, what was closed stays readable, and the old key goes when nothing needs it, not before.
func TestRotation_OpenFlowsGoOnAndOldHistoriesStayReadable(t *testing.T) {
	t.Parallel()
	r, first := startRotation(t)
	waiting, closed := first.open(t), first.open(t)
	key := call{Path: pathCompleteSignup, Body: fields{"email": closed.email, "code": closed.code}, Key: "rotation-" + closed.code}
	answered := first.want(t, http.StatusOK, key)
	_, subscription := r.subscribed(t, r.secondsPlan(t, 2))

	r.step("add")
	second := r.join()
	r.mixed(first, second)
	fromSecond := second.open(t)
	r.leave(first)

	r.step("promote")
	third := r.join()
	r.mixed(second, third)
	require.JSONEq(t, string(answered.Body), string(third.want(t, http.StatusOK, key).Body), "a kept answer is opened by the key that sealed it")
	fromThird := third.open(t)
	second.finish(t, fromThird)
	r.leave(second)
	third.finish(t, fromSecond)

	r.requireRefusedWhileNeeded(subscription)
	r.requireReadable(third, closed.email)
	third.finish(t, waiting)
	r.requireNoLostTask()

	r.forgetOldRuns()
	r.step("remove", "--forget-closed", r.old)
	last := third.open(t)
	fourth := r.join()
	r.mixed(third, fourth)
	r.leave(third)
	fourth.finish(t, last)
	before := r.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, subscription)
	r.db.eventually(t, 1, fmt.Sprintf(`SELECT (count(*) > %d)::int FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, before), subscription)
	r.requireNoLostTask()
}

// requireRefusedWhileNeeded says that an old key is found to be needed: by flows that run, flows that are kept, kept answers.
func (r *rotation) requireRefusedWhileNeeded(subscription string) {
	r.t.Helper()
	r.db.eventually(r.t, 1, `SELECT (count(*) >= 3)::int FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, subscription)
	out, err := r.command("prune-check")
	require.ErrorContains(r.t, err, "needed beside the key that encrypts: "+r.old)
	require.Regexp(r.t, `(?m)^`+r.old+`\s+needed\s+[1-9]\d*\s+[1-9]\d*\s+0\s+[1-9]\d*$`, out)
	_, err = r.command("rotate", "remove", r.old)
	require.ErrorContains(r.t, err, "key "+r.old+" is needed: ")
	_, err = r.command("rotate", "remove", "--forget-closed", r.old)
	require.ErrorContains(r.t, err, "0 closed flows", "running flows are not forgotten")
	_, err = r.command("rotate", "promote")
	require.ErrorContains(r.t, err, "encrypts already")

	// Somebody who has dropped the key without asking is told that it is missing.
	ring, err := durable.RemoveKey(r.newest(), r.old)
	require.NoError(r.t, err)
	r.keysets = append(r.keysets, ring)
	out, err = r.command("prune-check")
	r.keysets = r.keysets[:len(r.keysets)-1]
	require.ErrorContains(r.t, err, r.old+" (missing)")
	require.Regexp(r.t, `(?m)^`+r.old+`\s+missing`, out)
}

// requireReadable says that the codec endpoint decodes what the old key wrote into a history that is closed.
func (r *rotation) requireReadable(m member, email string) {
	r.t.Helper()
	id := r.db.texts(r.t, `SELECT id::text FROM accounts WHERE email = $1`, email)[0]
	runs := r.runs("FlowKind = 'signup' AND AccountID = '" + id + "' AND ExecutionStatus = 'Completed'")
	require.NotEmpty(r.t, runs)
	input := r.history(runs[0].GetExecution())[0].GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()[0]
	require.Equal(r.t, r.old, strconv.FormatUint(uint64(binary.BigEndian.Uint32(input.GetData()[1:])), 10), "Tink puts the number of the key in front")
	clear := m.decode(r.t.Context(), r.t, input)
	require.Equal(r.t, "json/plain", string(clear.GetMetadata()["encoding"]))
	require.Contains(r.t, string(clear.GetData()), "{")
	require.NotContains(r.t, string(input.GetData()), string(clear.GetData()))
	testkit.Eventually(r.t, patience, func() bool {
		return strings.Contains(m.api.Output(), `"msg":"codec used"`) && strings.Contains(m.api.Output(), `"who":"codec","payloads":1,"status":200`)
	}, "the line in the log of who read it")
}

// forgetOldRuns waits until nothing that runs needs the old key. It does not wait for the end of two days and of the
// retention: it lets the kept answers expire, and closed flows go.
func (r *rotation) forgetOldRuns() {
	r.t.Helper()
	_, err := r.db.Exec(r.t.Context(), `UPDATE idempotency_keys SET expires_at = now()`)
	require.NoError(r.t, err)
	testkit.Eventually(r.t, patience, func() bool { return len(r.runs("ExecutionStatus = 'Running'")) == 1 }, "all flows but the subscription to end")
	closedOnly := regexp.MustCompile(`(?m)^` + r.old + `\s+needed\s+0\s+[1-9]\d*\s+0\s+0$`)
	testkit.Eventually(r.t, patience, func() bool {
		out, err := r.command("prune-check")
		require.ErrorContains(r.t, err, r.old)
		return closedOnly.MatchString(out)
	}, "the subscription's next run, all of which the new key has encrypted")
	out, err := r.command("prune-check", "--started-before", "2020-01-01T00:00:00Z")
	require.NoError(r.t, err, "no flow is that old")
	require.Regexp(r.t, `(?m)^`+r.old+`\s+may be removed\s+0\s+0\s+0\s+0$`, out)
}

// A worker without the key of what it is given holds the flow, and does not fail it: a worker that has the key goes on with it.
func TestRotation_AWorkerWithoutTheKeyLosesNothing(t *testing.T) {
	t.Parallel()
	r, first := startRotation(t)
	r.step("add")
	r.step("promote")
	lacking, err := durable.RemoveKey(r.newest(), r.old)
	require.NoError(t, err)
	first.worker.Stop(t, stopPatience)
	blind := r.stack.StartWorker(t, map[string]string{codecKeys: lacking})

	email := newEmail()
	status := r.tolerant(t).send(t, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}).Status
	require.NotEqual(t, http.StatusOK, status, "nobody can read what it asks for")
	var flow *workflow.WorkflowExecutionInfo
	testkit.Eventually(t, patience, func() bool {
		runs := r.runs("FlowKind = 'signup'")
		if len(runs) != 1 {
			return false
		}
		flow = runs[0]
		for _, event := range r.history(flow.GetExecution()) {
			if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED {
				return true
			}
		}
		return false
	}, "the flow's task to fail")
	require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_RUNNING, flow.GetStatus())
	blind.Stop(t, stopPatience)
	sighted := r.join()
	sighted.finish(t, openSignup{email: email, code: sighted.awaitCode(t, email)})
	testkit.Eventually(t, patience, func() bool {
		return r.runs("FlowKind = 'signup'")[0].GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}, "the flow to end")
}
