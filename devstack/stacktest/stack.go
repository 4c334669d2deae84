//go:build unix

// Package stacktest runs Gatehouse whole for an end-to-end test: real PostgreSQL, real Temporal, and API and worker as real
// processes, each of which a test can kill and start again.
package stacktest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/devstack/stack"
	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const (
	startPatience = time.Minute
	readyPatience = 30 * time.Second
)

// Options of a stack. The zero value is right for most tests.
type Options struct {
	// Env are settings for every process, beyond those that make it work.
	Env map[string]string
	// OwnTemporal gives the test a server of its own, which keeps its state in a file and which the test may restart;
	// otherwise the tests of a process share one, each in a namespace of its own.
	OwnTemporal bool
	// OwnPostgres gives the test a durable cluster of its own, which it may crash, stop and start again; nil means that the tests
	// of a process share one. Where it lives is the stack's business, unless Dir is set.
	OwnPostgres *postgres.Options
	// Empty leaves the database without a schema.
	Empty bool
	// Change may put other settings in place of those of the stack, once it knows where everything is; nil leaves them.
	Change func(s *Stack, env map[string]string)
}

// Stack is a database, a Temporal namespace and the settings to run processes on them.
type Stack struct {
	// DatabaseURL is a database of this test alone, migrated unless it was to be empty.
	DatabaseURL string
	// TemporalAddress and Namespace are where its workflows live.
	TemporalAddress, Namespace string
	// BaseURL and OpsURL are where the API and its ops listener answer, once StartAPI has returned.
	BaseURL, OpsURL string
	// Temporal is set with OwnTemporal, Postgres with OwnPostgres.
	Temporal *stack.Temporal
	Postgres *postgres.Cluster

	binary string
	env    map[string]string
	// processes are all that were started.
	processes *processes
	// temporal is how its own server was started.
	temporal stack.TemporalOptions
	// postgres is how its own cluster was started.
	postgres postgres.Options
}

// Start prepares a stack without starting any process. Everything ends with the test.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	s := &Stack{binary: Binary(t), Namespace: "test-" + strings.ToLower(rand.Text()[:10]), processes: &processes{}}
	switch {
	case o.OwnPostgres != nil:
		s.startPostgres(ctx, t, *o.OwnPostgres, o.Empty)
	case o.Empty:
		s.DatabaseURL = testkit.NewDatabase(t, func(context.Context, string) error { return nil }, "stacktest: empty")
	default:
		s.DatabaseURL = testkit.NewDatabase(t, migrate, store.MigrationFingerprint())
	}
	s.startTemporal(ctx, t, o.OwnTemporal)
	keys, err := stack.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	apiPort, opsPort := freePort(t), freePort(t)
	s.BaseURL, s.OpsURL = "http://"+machine.LoopbackAddress(apiPort), "http://"+machine.LoopbackAddress(opsPort)
	s.env = keys
	maps.Copy(s.env, map[string]string{
		"DATABASE_URL":                 s.DatabaseURL,
		"TEMPORAL_ADDRESS":             s.TemporalAddress,
		"GATEHOUSE_TEMPORAL_NAMESPACE": s.Namespace,
		"GATEHOUSE_API_ADDR":           machine.LoopbackAddress(apiPort),
		"GATEHOUSE_OPS_ADDR":           machine.LoopbackAddress(opsPort),
		"GATEHOUSE_BASE_URL":           s.BaseURL,
		"GOMEMLIMIT":                   "460MiB", // as deploy/kubernetes
	})
	maps.Copy(s.env, o.Env)
	if o.Change != nil {
		o.Change(s, s.env)
	}
	s.watchEnd(t)
	return s
}

// StartAll is Start, then a worker and an API, both ready.
func StartAll(t testing.TB, o Options) (s *Stack, api, worker *Process) {
	t.Helper()
	s = Start(t, o)
	worker = s.StartWorker(t, nil)
	api = s.StartAPI(t, nil)
	return s, api, worker
}

func migrate(ctx context.Context, url string) error {
	db, err := store.Open(store.Options{URL: url, Application: "stacktest", StatementTimeout: -1}) //nolint:contextcheck // the pool ends with Close
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.Migrate(ctx)
	return err
}

func (s *Stack) startTemporal(ctx context.Context, t testing.TB, own bool) {
	t.Helper()
	if own {
		s.temporal = stack.TemporalOptions{
			Port: freePort(t), File: filepath.Join(t.TempDir(), "temporal.db"), Namespaces: []string{s.Namespace},
		}
		s.launchTemporal(ctx, t)
		return
	}
	server, err := sharedTemporal(ctx)
	if err == nil {
		err = stack.EnsureNamespace(ctx, server.Address, s.Namespace)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.TemporalAddress = server.Address
}

func (s *Stack) launchTemporal(ctx context.Context, t testing.TB) {
	t.Helper()
	server, err := stack.StartTemporal(ctx, s.temporal)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // the test may have stopped it
	s.Temporal, s.TemporalAddress = server, server.Address
}

// RestartTemporal starts the stack's own server again, which the test has stopped, with the state and the address it had.
func (s *Stack) RestartTemporal(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	s.launchTemporal(ctx, t)
}

// RestartTemporalRefusing is RestartTemporal with a server that refuses what goes beyond so many calls a second; 0 is no bound.
func (s *Stack) RestartTemporalRefusing(t testing.TB, beyond int) {
	t.Helper()
	s.temporal.MaxCalls = beyond
	s.RestartTemporal(t)
}

// Env returns the settings of the processes as NAME=value, for a test that runs a command line or reads the keys.
func (s *Stack) Env(extra map[string]string) []string {
	all := maps.Clone(s.env)
	maps.Copy(all, extra)
	env := inherited()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}

// Setting returns the value of one setting of the processes.
func (s *Stack) Setting(name string) string { return s.env[name] }

// Command runs the gatehouse binary with arguments to its end and returns what it printed on standard output.
func (s *Stack) Command(t testing.TB, extra map[string]string, args ...string) string {
	t.Helper()
	out, err := s.TryCommand(t, extra, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryCommand is Command for one that may fail, or that must end within a minute. The error has what it printed on standard error.
func (s *Stack) TryCommand(t testing.TB, extra map[string]string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, args...) //nolint:gosec // our own binary
	cmd.Env = s.Env(extra)
	var faults strings.Builder
	cmd.Stderr = &faults
	out, err := cmd.Output()
	lookAtCommand(t, args, string(out), faults.String())
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(s.binary), strings.Join(args, " "), err, faults.String())
	}
	return string(out), err
}

// StartAPI starts an API with settings beyond those of the stack and returns once it is ready. With another
// GATEHOUSE_API_ADDR and GATEHOUSE_OPS_ADDR it is a second replica.
func (s *Stack) StartAPI(t testing.TB, extra map[string]string) *Process {
	t.Helper()
	p := s.start(t, "api", extra)
	ops := s.OpsURL
	if addr := extra["GATEHOUSE_OPS_ADDR"]; addr != "" {
		ops = "http://" + addr
	}
	client := &http.Client{Timeout: time.Second}
	p.await(t, "the API to be ready", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ops+"/readyz", nil)
		if err != nil {
			return false
		}
		answer, err := client.Do(request)
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	return p
}

// Launch starts a command of the gatehouse binary, which the test may kill, and returns at once.
func (s *Stack) Launch(t testing.TB, name string, extra map[string]string) *Process {
	t.Helper()
	return s.start(t, name, extra)
}

// LaunchAPI is StartAPI for one that is not expected to become ready: it returns at once.
func (s *Stack) LaunchAPI(t testing.TB, extra map[string]string) *Process {
	t.Helper()
	return s.start(t, "api", extra)
}

// StartWorker starts a worker with settings beyond those of the stack and returns once it polls for work.
func (s *Stack) StartWorker(t testing.TB, extra map[string]string) *Process {
	t.Helper()
	p := s.start(t, "worker", extra)
	p.await(t, "the worker to be ready", func() bool { return strings.Contains(p.Output(), `"worker started"`) })
	ctx, cancel := context.WithTimeout(t.Context(), readyPatience)
	defer cancel()
	if err := stack.AwaitPollers(ctx, s.TemporalAddress, s.Namespace, durable.QueueFlows); err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
	return p
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := machine.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// String names the stack in messages of tests.
func (s *Stack) String() string { return fmt.Sprintf("stack %s at %s", s.Namespace, s.BaseURL) }
