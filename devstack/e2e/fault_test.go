//go:build unix

package e2e_test

import (
	"bufio"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

// fault is something that breaks and is mended again while users go on.
type fault struct {
	// strike breaks it, heal mends it.
	strike, heal func()
	// meanwhile is what must hold while it is broken; nil waits for the outage to pass.
	meanwhile func()
	// users are how many go on; 0 means four.
	users int
	// through are the clients that they go through; none means the system's API.
	through []*client
	// answers says that users get on while it is broken.
	answers bool
}

const (
	// recovery is how long it may take, once a fault is mended, until all is as before (I-17).
	recovery = 30 * time.Second
	// calmDeeds are how many answers a test waits for to see that users get on.
	calmDeeds = 12
)

// withstand breaks something under load and mends it. Then all must be as before within recovery, nothing acknowledged may be
// lost (I-14, I-15), nothing ended may have been let in (I-05, I-20), nothing be left behind (I-19), and every rule must hold.
func (s *system) withstand(t *testing.T, f fault) {
	t.Helper()
	stacktest.Covers(t, "I-05", "I-14", "I-15", "I-17", "I-19", "I-20")
	users := f.users
	if users == 0 {
		users = 4
	}
	l := s.live(t, users, f.through...)
	l.patience.Store(int64(repairPatience + stacktest.Outage()))
	l.await(t, calmDeeds)
	before := s.footprint(t)

	f.strike()
	if f.meanwhile != nil {
		f.meanwhile()
	} else {
		outage(t)
	}
	if f.answers {
		l.await(t, calmDeeds)
	}
	f.heal()

	mended := time.Now()
	l.patience.Store(int64(recovery))
	l.await(t, users)
	t.Logf("users got on %s after the fault was mended", time.Since(mended).Round(time.Millisecond))
	l.patience.Store(int64(repairPatience))
	l.await(t, calmDeeds)
	l.stop(t)
	s.requireInvariants(t)
	s.requireFootprint(t, before)
}

// outage waits for as long as something is to stay away: nothing else tells when that is over.
func outage(t testing.TB) {
	t.Helper()
	select {
	case <-time.After(stacktest.Outage()):
	case <-t.Context().Done():
	}
}

// footprint is what the processes hold, by process and kind.
func (s *system) footprint(t testing.TB) map[string]float64 {
	t.Helper()
	held := map[string]float64{}
	listeners := map[string]string{"api": s.stack.OpsURL, "worker": s.workerOps()}
	maps.Copy(listeners, s.ops)
	for name, url := range listeners {
		if url == "" {
			continue
		}
		got, err := http.Get(url + "/metrics")
		if err != nil {
			continue // it is down, or has no ops listener
		}
		lines := bufio.NewScanner(got.Body)
		for lines.Scan() {
			kind, value, _ := strings.Cut(lines.Text(), " ")
			if kind, _, _ = strings.Cut(kind, "{"); slices.Contains([]string{goroutines, "process_open_fds", cachedFlows}, kind) {
				n, err := strconv.ParseFloat(value, 64)
				require.NoError(t, err)
				held[name+" "+kind] = max(held[name+" "+kind], n)
			}
		}
		require.NoError(t, got.Body.Close())
	}
	return held
}

const (
	goroutines = "go_goroutines"
	// cachedFlows counts the open flows that a worker keeps in memory, each with about one goroutine of its own.
	cachedFlows = "temporal_sticky_cache_size"
	ofFlow      = 1
)

// workerOps is where the worker's ops listener is, if the test has set one.
func (s *system) workerOps() string {
	if address := s.stack.Setting("GATEHOUSE_WORKER_OPS_ADDR"); address != "" {
		return "http://" + address
	}
	return ""
}

// requireFootprint checks I-19: with nobody there, a process holds no more than it did with users there.
func (s *system) requireFootprint(t testing.TB, before map[string]float64) {
	t.Helper()
	require.NotEmpty(t, before)
	s.hangUp()
	var after map[string]float64
	defer func() { t.Logf("held before: %v, and after: %v", before, after) }()
	testkit.Eventually(t, settling, func() bool {
		after = s.footprint(t)
		for what, held := range after {
			was, known := before[what]
			space := strings.LastIndexByte(what, ' ')
			process, kind := what[:space], what[space+1:]
			// Pools keep some idle connections, and a poller its goroutines.
			allowed := was*1.1 + 20
			if flows := process + " " + cachedFlows; kind == goroutines {
				allowed += ofFlow * max(0, after[flows]-before[flows])
			}
			if known && kind != cachedFlows && held > allowed {
				return false
			}
		}
		return true
	}, "nothing left behind")
}

// breakable is a system whose parts a test may break, with settings in pairs beside those of startSystem. Its answers may be
// 503 while they are broken.
func breakable(t testing.TB, o stacktest.Options, settings ...string) *system {
	t.Helper()
	port, err := machine.FreePort()
	require.NoError(t, err)
	o.Env = quick(slices.Concat(promptly, settings, []string{"GATEHOUSE_WORKER_OPS_ADDR", machine.LoopbackAddress(port)})...)
	s := &system{}
	s.stack = stacktest.Start(t, o)
	s.db, s.client = openDatabase(t, s.stack), newClient(s.stack.BaseURL)
	s.worker = s.stack.StartWorker(t, nil)
	s.api = s.stack.StartAPI(t, nil)
	s.http.Transport = &checked{t: t, next: s.http.Transport, mayFail: true}
	t.Cleanup(func() { requireCleanLog(t, s.api); requireCleanLog(t, s.worker) })
	return s
}

// F-11's smaller kin: nothing is broken at all, and every rule holds. It shows that the lives and rules themselves are sound.
func TestFault_NoneAtAll(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{})
	s.withstand(t, fault{strike: func() {}, heal: func() {}, answers: true})
}

// F-04: while no worker runs, what can be accepted is; once one is there, all is done, once.
func TestFault_F04_NoWorker(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{})
	s.withstand(t, fault{
		strike: func() { s.worker.Kill() },
		heal:   func() { s.worker = s.stack.StartWorker(t, nil) },
	})
}
