//go:build unix

package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
	"gatehouse/workflows"
)

// nextBuild is gatehouse with one step more in every flow: before its first activity behind the change "next-first", and before
// any later one behind "next-later". With NEXT_BUILD=careless there is nothing before the steps.
func nextBuild(t *testing.T) string {
	t.Helper()
	const interceptors = "func interceptors("
	return stacktest.BuildVariant(t, "next", map[string]func(string) string{
		"worker/worker.go": func(text string) string { return strings.Replace(text, interceptors, "func todaysInterceptors(", 1) },
		"worker/next.go":   func(string) string { return nextInterceptor },
	})
}

const nextInterceptor = `package worker

import (
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"
)

func interceptors(logger *slog.Logger) []interceptor.WorkerInterceptor {
	return append(todaysInterceptors(logger), &next{careless: os.Getenv("NEXT_BUILD") == "careless"})
}

type next struct {
	interceptor.WorkerInterceptorBase
	careless bool
}

func (n *next) InterceptWorkflow(_ workflow.Context, in interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &nextInbound{interceptor.WorkflowInboundInterceptorBase{Next: in}, n.careless}
}

type nextInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	careless bool
}

func (n *nextInbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return n.Next.Init(&nextOutbound{interceptor.WorkflowOutboundInterceptorBase{Next: out}, n.careless, "next-first"})
}

type nextOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	careless bool
	change   string
}

func (n *nextOutbound) step(ctx workflow.Context) {
	if n.careless || workflow.GetVersion(ctx, n.change, workflow.DefaultVersion, 1) == 1 {
		n.Next.NewTimer(ctx, time.Hour)
	}
	n.change = "next-later"
}

func (n *nextOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	n.step(ctx)
	return n.Next.ExecuteActivity(ctx, name, args...)
}

func (n *nextOutbound) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	n.step(ctx)
	return n.Next.ExecuteLocalActivity(ctx, name, args...)
}
`

const (
	heldChanges = "next-first,next-later"
	heldSetting = "GATEHOUSE_HELD_CHANGES"
	buildID     = "GATEHOUSE_WORKER_BUILD_ID"
	// nextSteps finds the runs that took a step of the next build in their middle.
	nextSteps = "TemporalChangeVersion = 'next-later-1'"
)

// flows is a client of the stack's Temporal that has its keys.
func flows(t *testing.T, s *stacktest.Stack) *durable.Client {
	t.Helper()
	keys, err := durable.NewKeyring(s.Setting("GATEHOUSE_CODEC_KEYS"))
	require.NoError(t, err)
	client, err := durable.Dial(durable.Options{
		Address: s.TemporalAddress, Namespace: s.Namespace, Keyring: keys, Logger: slog.New(slog.DiscardHandler), Timeout: patience,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// Old and new workers side by side, as a rolling update has them: first new ones that hold their change back, then, once no
// worker is left that does not know it, ones that begin it.
func TestDeploy_F07_I18_OldAndNewWorkersShareTheFlows(t *testing.T) {
	t.Parallel()
	next := nextBuild(t)
	s := startSystem(t)
	temporal := flows(t, s.stack)
	const more = 6
	r := s.underLoad(t, s.client, 3)
	r.await(t, more)

	hold := map[string]string{heldSetting: heldChanges}
	held := s.stack.Using(next).StartWorker(t, hold)
	r.await(t, more)
	held.Stop(t, stopPatience) // what it had goes back to the old one
	r.await(t, more)
	held = s.stack.Using(next).StartWorker(t, hold)
	s.worker.Stop(t, stopPatience)
	r.await(t, more)
	require.Zero(t, count(t, temporal, nextSteps), "the change is held back")
	begun := s.stack.Using(next).StartWorker(t, nil)
	r.await(t, more)
	begun.Stop(t, stopPatience) // what has begun the change goes back to one that knows it
	r.await(t, more)
	begun = s.stack.Using(next).StartWorker(t, nil)
	held.Stop(t, stopPatience)
	r.await(t, more)
	r.end(t)

	runs, ids := blocked(t, temporal)
	require.Greater(t, runs, len(r.made))
	require.Empty(t, ids, "flows that a worker's code did not fit")
	require.Positive(t, count(t, temporal, nextSteps), "flows took the new way")
	require.Positive(t, count(t, temporal, nextSteps+" AND TemporalChangeVersion = 'next-first-1'"))
	begun.Stop(t, stopPatience)
}

// Why a change is held: what begins it goes back to a worker that does not know it as soon as the new one stops, and is blocked
// until one comes again.
func TestDeploy_AChangeThatIsNotHeldBlocksWhatGoesBack(t *testing.T) {
	t.Parallel()
	next := nextBuild(t)
	s := startSystem(t)
	temporal := flows(t, s.stack)
	begun := s.stack.Using(next).StartWorker(t, nil)
	tokens, ids := s.payers(t, 2, 4)
	testkit.Eventually(t, patience, func() bool { return count(t, temporal, nextSteps+" AND WorkflowType = 'Subscription'") > 0 }, "the change to begin")
	begun.Stop(t, stopPatience)
	testkit.Eventually(t, patience, func() bool {
		_, stuck := blocked(t, temporal)
		return slices.ContainsFunc(stuck, func(id string) bool { return strings.HasPrefix(id, "sub/") })
	}, "a subscription to be blocked")

	again := s.stack.Using(next).StartWorker(t, nil)
	s.worker.Stop(t, stopPatience)
	for i, id := range ids {
		s.stillPaying(t, tokens[i], id, repairPatience)
	}
	again.Stop(t, stopPatience)
}

// Versioned workers: a build gets nothing before it is promoted; then what starts goes to it and so do open flows, but for those
// of minutes, which end with the build that they began with.
func TestDeploy_ABuildIsPromoted(t *testing.T) {
	t.Parallel()
	next := nextBuild(t)
	stack := stacktest.Start(t, stacktest.Options{Env: quick()})
	v1 := stack.StartWorker(t, map[string]string{buildID: "v1"})
	require.Contains(t, stack.Command(t, nil, "worker", "promote", "v1"), "build v1 gets 100% of the flows")
	s := onStack(t, stack)
	temporal := flows(t, stack)
	const more = 6
	r := s.underLoad(t, s.client, 3)
	r.await(t, more)

	v2 := stack.Using(next).StartWorker(t, map[string]string{buildID: "v2"})
	r.await(t, more)
	require.Zero(t, count(t, temporal, nextSteps), "it gets no work yet")
	// Both begin with the old build. One of them ends before its workers are gone.
	inTime, tooLate := newEmail(), newEmail()
	tokens := map[string]string{}
	for _, email := range []string{inTime, tooLate} {
		s.signUp(t, email)
		r.others++
		tokens[email] = s.forgot(t, email, 1)
	}
	stack.Command(t, nil, "worker", "promote", "v2", "--percent", "50")
	r.await(t, more)
	stack.Command(t, nil, "worker", "promote", "v2")
	r.await(t, more)
	require.Positive(t, count(t, temporal, nextSteps), "open flows and new ones went over to it")
	require.Equal(t, http.StatusOK, s.reset(t, tokens[inTime], newPassword).Status)
	r.end(t)
	testkit.Eventually(t, patience, func() bool { return pinnedTo(t, stack, "v1") == 1 }, "all but one to have ended where they began")
	runs, ids := blocked(t, temporal)
	require.Greater(t, runs, len(r.made))
	require.Empty(t, ids, "flows that a worker's code did not fit")

	v1.Stop(t, stopPatience)
	require.Contains(t, stack.Command(t, nil, "worker", "release", "v1"), "released 1 flows")
	done := retry(t, s.client, call{Path: pathResetPassword, Key: rand.Text(), Body: fields{"token": tokens[tooLate], "new_password": newPassword}})
	require.Equal(t, http.StatusOK, done.Status, "%s", done.Body)
	v2.Stop(t, stopPatience)
}

// pinnedTo is how many open flows only the workers of a build can go on with.
func pinnedTo(t *testing.T, s *stacktest.Stack, build string) int {
	t.Helper()
	var versions []struct {
		BuildID string `json:"build_id"`
		Pinned  int    `json:"pinned"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.Command(t, nil, "worker", "versions", "--json")), &versions))
	for _, v := range versions {
		if v.BuildID == build {
			return v.Pinned
		}
	}
	t.Fatalf("no build %s in %v", build, versions)
	return 0
}

// A build that changes steps without a thought for what is open is found before it is deployed; and if it is deployed, it blocks
// flows, which the scan of these tests sees, and the build before frees them.
func TestDeploy_F32_I18_ACarelessBuildIsFound(t *testing.T) {
	t.Parallel()
	careful := nextBuild(t)
	careless := map[string]string{"NEXT_BUILD": "careless"}
	s := startSystem(t)
	temporal := flows(t, s.stack)
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	s.payers(t, 1, 60)
	testkit.Eventually(t, patience, func() bool { return count(t, temporal, "ExecutionStatus = 'Running'") >= 2 }, "flows to be listed")

	require.Regexp(t, `replayed \d+ flows, 0 of them fail`, s.stack.Command(t, nil, "flows", "replay"))
	require.Regexp(t, `replayed \d+ flows, 0 of them fail`, s.stack.Using(careful).Command(t, nil, "flows", "replay"))
	require.Contains(t, s.stack.Using(careful).Command(t, careless, "flows", "replay", "--query", "FlowKind = 'nothing'"), "replayed 0 flows")
	said, err := s.stack.Using(careful).TryCommand(t, careless, "flows", "replay", "--query", "ExecutionStatus = 'Running'")
	require.ErrorContains(t, err, "do not deploy it")
	require.Contains(t, said, "TMPRL1100")
	require.Contains(t, said, "Signup\tsignup/")
	require.Contains(t, said, "Subscription\tsub/")
	require.NotContains(t, said, email)

	s.worker.Stop(t, stopPatience)
	wrong := s.stack.Using(careful).StartWorker(t, careless)
	finish := call{Path: pathCompleteSignup, Key: rand.Text(), Body: fields{"email": email, "code": code}}
	require.Equal(t, http.StatusServiceUnavailable, s.tolerant(t).send(t, finish).Status)
	_, ids := blocked(t, temporal)
	require.True(t, slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, "signup/") }), "%v", ids)
	wrong.Stop(t, stopPatience)
	s.worker = s.stack.StartWorker(t, nil)
	require.Equal(t, http.StatusOK, retry(t, s.tolerant(t).client, finish).Status)
}

// Every process is replaced, one after the other, beside a second one: whoever is connected notices nothing but a connection
// that closes.
func TestDeploy_F07_EveryProcessIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_DRAIN_DELAY", "1s")
	second, addr := secondAPI(t)
	other := s.stack.StartAPI(t, second)
	both := newClient(s.base)
	both.http.Transport = &balancer{next: both.http.Transport, hosts: []string{strings.TrimPrefix(s.base, "http://"), addr}}
	const more = 6
	r := s.underLoad(t, both, 4)
	r.await(t, more)
	for range 2 {
		stopping := make(chan struct{})
		go func(p *stacktest.Process) {
			defer close(stopping)
			p.Stop(t, stopPatience)
		}(s.api)
		testkit.Eventually(t, patience, func() bool {
			_, ready := probe(t, s.stack.OpsURL+"/readyz")
			return strings.Contains(ready, "stopping: failed")
		}, "the load balancer to hear of it")
		status, _ := probe(t, s.stack.BaseURL+"/docs")
		require.Equal(t, http.StatusOK, status, "it still serves whoever has not heard")
		<-stopping
		s.api = s.stack.StartAPI(t, nil)
		r.await(t, more)
		other.Stop(t, stopPatience)
		other = s.stack.StartAPI(t, second)
		next := s.stack.StartWorker(t, nil)
		s.worker.Stop(t, stopPatience)
		s.worker = next
		r.await(t, more)
	}
	r.end(t)
}

// A worker that is told to stop in the middle of a step finishes it, and nobody does it again.
func TestDeploy_AStoppingWorkerFinishesItsStep(t *testing.T) {
	t.Parallel()
	const slow = 2 * time.Second
	mails := smtptest.Start(t)
	s, _, worker := stacktest.StartAll(t, stacktest.Options{Env: withMail(mails)})
	c, db, email := newClient(s.BaseURL), openDatabase(t, s), newEmail()
	mails.Next(smtptest.Slow(smtptest.Accepted, slow))
	c.initiate(t, email)
	testkit.Eventually(t, patience, func() bool { return mails.Attempts() == 1 }, "the sending to begin")
	worker.Stop(t, stopPatience)
	require.Equal(t, 1, db.number(t, `SELECT count(*) FROM messages WHERE state = 'sent' AND attempts = 1`), "it has heard the answer")
	s.StartWorker(t, nil)
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": mails.Wait(email, 1)[0].Code}})
	mails.Wait(email, 2) // the welcome
	require.Equal(t, 2, mails.Attempts(), "the code was sent once")
}

// heldSince are the ids of the changes of flows since the commit before the newest migration, as GATEHOUSE_HELD_CHANGES would have
// them on the day of the deploy.
const heldSince = durable.ChangeBarePayloads + "," + workflows.ChangeSharedRuns + "," + workflows.ChangeRecheckDue + "," +
	workflows.ChangeDoubtReloads + "," + workflows.ChangeLookReloads + "," + workflows.ChangeCancelUncharged +
	"," + workflows.ChangeLateOpening

// The build from before the newest migration and this one, as a deploy has them: old processes on the new schema, old and new ones
// side by side.
func TestDeploy_F07_FromTheSchemaBefore(t *testing.T) {
	t.Parallel()
	before, commit := stacktest.BuildBefore(t)
	t.Logf("the build before is of %s", commit)
	stack := stacktest.Start(t, stacktest.Options{Env: quick(), Empty: true})
	old := stack.Using(before)
	old.Command(t, nil, "migrate")
	oldWorker := old.StartWorker(t, nil)
	s := onStack(t, old)
	s.http.Transport.(*checked).mixed = true
	second, addr := secondAPI(t)
	both := newClient(s.base)
	both.http.Transport = &balancer{next: both.http.Transport, hosts: []string{strings.TrimPrefix(s.base, "http://"), addr}}
	const more = 6
	r := s.underLoad(t, both, 3)
	r.await(t, more)

	_, err := stack.TryCommand(t, second, "api")
	require.ErrorContains(t, err, "run `gatehouse migrate` first")
	_, err = stack.TryCommand(t, nil, "worker")
	require.ErrorContains(t, err, "run `gatehouse migrate` first")
	require.Regexp(t, `replayed [1-9]\d* flows, 0 of them fail`, stack.Command(t, nil, "flows", "replay"))
	require.Contains(t, stack.Command(t, nil, "migrate"), "applied")
	r.await(t, more)
	worker := stack.StartWorker(t, map[string]string{heldSetting: heldSince})
	r.await(t, more)
	oldWorker.Stop(t, stopPatience)
	r.await(t, more)
	second[heldSetting] = heldSince
	next := stack.StartAPI(t, second)
	r.await(t, more)
	s.api.Stop(t, stopPatience)
	s.api = stack.StartAPI(t, map[string]string{heldSetting: heldSince})
	next.Stop(t, stopPatience)
	r.await(t, more)
	r.end(t)
	_, ids := blocked(t, flows(t, stack))
	require.Empty(t, ids, "flows that a worker's code did not fit")
	worker.Stop(t, stopPatience)
}

// probe is what a check of a load balancer sees; 0 when nobody answers.
func probe(t *testing.T, url string) (status int, body string) {
	t.Helper()
	got, err := newClient(url).try(t.Context(), call{})
	if err != nil {
		return 0, ""
	}
	return got.Status, string(got.Body)
}

// balancer sends requests to hosts in turns.
type balancer struct {
	next  http.RoundTripper
	hosts []string
	turn  atomic.Uint64
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Host = b.hosts[b.turn.Add(1)%uint64(len(b.hosts))]
	request.Host = request.URL.Host
	return b.next.RoundTrip(request)
}
