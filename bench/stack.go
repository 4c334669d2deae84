//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
	"gatehouse/internal/secret"
)

// stack is what is measured, all of it on free ports of the loopback interface: a durable Postgres with a database of many
// accounts and one of few, a Temporal server, the real binary as API (with its access log off, with the log as it is by default,
// and on the small database) and as worker, and the limit server with its worker.
type stack struct {
	dir string
	// binary is what is measured, dev what starts Temporal.
	binary, dev string
	cluster     *postgres.Cluster
	children    []*machine.Process
	temporal    string

	secretKey, signingKey, codecKeys string

	api, logging, small, worker, limit, limitWorker *server
	// workerPeak is the most memory that workers held which were stopped.
	workerPeak int64
}

// server is a child.
type server struct {
	name string
	// address is where it serves HTTP, ops where its metrics are.
	address, ops string
	pid          int
	child        *machine.Process
}

const (
	database      = "bench"
	smallDatabase = "small"
	namespace     = "gatehouse"
	costNamespace = "costs"
	paymentRate   = "GATEHOUSE_PAYMENT_RATE"
	baseURL       = "http://localhost"
	// poolSize is the default of GATEHOUSE_DATABASE_POOL; the limit server gets the same.
	poolSize = 16

	startPatience = 90 * time.Second
	stopPatience  = 10 * time.Second
)

// startDatabase starts Postgres and makes an empty database with our schema. The caller stops the stack, also after an error.
func (s *stack) startDatabase(ctx context.Context, settings ...string) error {
	_, err := postgres.FindOrInstall(ctx, os.Stderr, func() {
		_, _ = fmt.Fprintln(os.Stderr, "PostgreSQL is missing; installing the package postgresql ...")
	})
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "gatehouse-bench-"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // as root, the server's user must pass through
		return fmt.Errorf("open the directory: %w", err)
	}
	s.cluster, err = postgres.Start(ctx, postgres.Options{Dir: filepath.Join(s.dir, "postgres"), Durable: true, Settings: settings})
	if err != nil {
		return err
	}
	s.secretKey, s.signingKey = secret.GenerateKey(), secret.GenerateKey()
	if s.codecKeys, err = durable.GenerateKeyset(); err != nil {
		return err
	}
	return s.createDatabase(ctx, database)
}

func (s *stack) createDatabase(ctx context.Context, name string) error {
	if err := s.cluster.CreateDatabase(ctx, name); err != nil {
		return err
	}
	migrate := exec.CommandContext(ctx, s.binary, "migrate") //nolint:gosec // what is measured
	migrate.Env = []string{"DATABASE_URL=" + s.cluster.URL(name)}
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w\n%s", err, out)
	}
	return nil
}

func (s *stack) url() string { return s.cluster.URL(database) }

// settings of every process of the product.
func (s *stack) settings() map[string]string {
	return map[string]string{
		"DATABASE_URL": s.url(), "TEMPORAL_ADDRESS": s.temporal, "GATEHOUSE_TEMPORAL_NAMESPACE": namespace,
		"GATEHOUSE_DATABASE_POOL": strconv.Itoa(poolSize), "GATEHOUSE_BASE_URL": baseURL,
		"GATEHOUSE_SECRET_KEY": s.secretKey, "GATEHOUSE_SIGNING_KEY": s.signingKey, "GATEHOUSE_CODEC_KEYS": s.codecKeys,
		// Few addresses ask for everything, and few people ask for many codes: all is counted, but the bounds are far.
		"GATEHOUSE_TRUSTED_PROXIES": "127.0.0.0/8",
		"GATEHOUSE_LIMIT_SCALE":     "1000000", "GATEHOUSE_SEND_GAP": "1ms", "GATEHOUSE_SENDS_PER_HOUR": "100000",
		"GATEHOUSE_SENDS_PER_DAY": "100000",
		// Whoever was seen in the last hour is not written down again: in a run of minutes all would be, in the same half of a second.
		"GATEHOUSE_ACTIVITY_GAP": "1h",
		// What a busy machine delays must not fail the run.
		"GATEHOUSE_REQUEST_TIMEOUT": "25s", "GATEHOUSE_FLOW_TIMEOUT": "20s", "GATEHOUSE_HASH_WAIT": "20s",
	}
}

// startServers starts everything and waits until it works. row is one that the limit server can read.
func (s *stack) startServers(ctx context.Context, row string) (err error) {
	if err = s.startTemporal(ctx, namespace, costNamespace, emptyNamespace); err != nil {
		return err
	}
	if s.worker, err = s.startWorker(ctx, "worker", map[string]string{paymentRate: "100000"}); err != nil {
		return err
	}
	if s.api, err = s.startAPI(ctx, "api", map[string]string{"GATEHOUSE_LOG_LEVEL": "warn"}); err != nil {
		return err
	}
	if s.logging, err = s.startAPI(ctx, "api-logging", nil); err != nil {
		return err
	}
	s.small, err = s.startAPI(ctx, "api-small", map[string]string{
		"GATEHOUSE_LOG_LEVEL": "warn", "DATABASE_URL": s.cluster.URL(smallDatabase),
	})
	if err != nil {
		return err
	}
	return s.startLimit(ctx, row)
}

func (s *stack) startLimit(ctx context.Context, row string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find ourselves: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	work := exec.CommandContext(ctx, self, "empty-worker", "-temporal", s.temporal) //nolint:gosec // ourselves
	s.limitWorker, err = s.start(ctx, &server{name: "limit-worker"}, work, func(said string) bool { return strings.Contains(said, readyLine) })
	if err != nil {
		return err
	}
	args := []string{"limit", "-address", address, "-pool", strconv.Itoa(poolSize), "-temporal", s.temporal}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // ourselves
	cmd.Env = []string{"DATABASE_URL=" + s.url()}
	s.limit, err = s.start(ctx, &server{name: "limit", address: address}, cmd, answers(ctx, address, get(rowPath+"100/"+row)))
	return err
}

func (s *stack) startTemporal(ctx context.Context, namespaces ...string) error {
	port, err := machine.FreePort()
	if err != nil {
		return err
	}
	s.temporal = machine.LoopbackAddress(port)
	args := append([]string{"temporal", "-port", strconv.Itoa(port)}, namespaces...)
	cmd := exec.CommandContext(ctx, s.dev, args...) //nolint:gosec // our own binary
	_, err = s.start(ctx, &server{name: "temporal"}, cmd, func(said string) bool { return strings.Contains(said, s.temporal) })
	return err
}

// command runs the binary with our settings and others.
func (s *stack) command(ctx context.Context, name string, extra map[string]string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, name) //nolint:gosec // what is measured
	all := s.settings()
	maps.Copy(all, extra)
	for key, value := range all {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	return cmd
}

func (s *stack) startAPI(ctx context.Context, name string, extra map[string]string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := s.command(ctx, "api", extra)
	cmd.Env = append(cmd.Env, "GATEHOUSE_API_ADDR="+address, "GATEHOUSE_OPS_ADDR="+ops)
	return s.start(ctx, &server{name: name, address: address, ops: ops}, cmd, answers(ctx, address, get("/.well-known/jwks.json")))
}

func (s *stack) startWorker(ctx context.Context, name string, extra map[string]string) (*server, error) {
	ops, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := s.command(ctx, "worker", extra)
	cmd.Env = append(cmd.Env, "GATEHOUSE_WORKER_OPS_ADDR="+ops)
	return s.start(ctx, &server{name: name, ops: ops}, cmd, func(said string) bool { return strings.Contains(said, `"worker started"`) })
}

// start runs cmd, its output in a file, until it is ready by what it has said.
func (s *stack) start(ctx context.Context, made *server, cmd *exec.Cmd, ready func(said string) bool) (*server, error) {
	log, err := os.Create(filepath.Join(s.dir, made.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child holds its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	made.child, err = machine.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	made.pid = made.child.PID()
	s.children = append(s.children, made.child)
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		said, _ := os.ReadFile(log.Name())
		if ready(string(said)) {
			return made, nil
		}
		select {
		case <-made.child.Done():
			return nil, fmt.Errorf("%s ended: %w\n%s", made.name, made.child.Err(), said)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s did not start: %w\n%s", made.name, ctx.Err(), said)
		case <-again.C:
		}
	}
}

func (s *server) stop() error { return s.child.Stop(syscall.SIGTERM, stopPatience) }

// answers is whether a request is answered with success.
func answers(ctx context.Context, address string, probe []byte) func(string) bool {
	return func(string) bool {
		_, err := ask(ctx, address, probe)
		return err == nil
	}
}

// lastWords are the newest warnings of the product, for the error of a run.
func (s *stack) lastWords() string {
	const most = 5
	var lines []string
	logs, _ := filepath.Glob(filepath.Join(s.dir, "*.log")) // a constant pattern, which is all that can fail
	for _, log := range logs {
		content, _ := os.ReadFile(log) //nolint:gosec // a file of ours
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

// stop ends all children, those first that were started last, and deletes their files.
func (s *stack) stop() error {
	var errs []error
	for _, child := range slices.Backward(s.children) {
		child.Kill() // nothing of theirs is kept
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop(), os.RemoveAll(s.cluster.Dir))
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// ask sends one request on a connection of its own and returns the answer's body.
func ask(ctx context.Context, address string, request []byte) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(clock.Now().Add(patience)); err != nil {
		return nil, fmt.Errorf("bound the connection: %w", err)
	}
	if _, err := conn.Write(request); err != nil {
		return nil, fmt.Errorf("send a request: %w", err)
	}
	return answer(bufio.NewReaderSize(conn, readBuffer))
}

func freeAddress() (string, error) {
	port, err := machine.FreePort()
	return machine.LoopbackAddress(port), err
}
