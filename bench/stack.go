//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
	"gatehouse/internal/secret"
)

// stack is what is measured, all of it on free ports of the loopback interface: a durable Postgres, the real binary
// with its access log off and once more with the log as it is by default, and the limit server. There is no Temporal:
// reads and logins ask nothing of it.
type stack struct {
	dir      string
	cluster  *postgres.Cluster
	children []*machine.Process

	secretKey, signingKey, codecKeys string

	api, logging, limit server
}

// server is a child that serves HTTP.
type server struct {
	address string
	pid     int
}

const (
	database = "bench"
	baseURL  = "http://localhost"
	// poolSize is the default of GATEHOUSE_DATABASE_POOL; the limit server gets the same.
	poolSize = 16

	startPatience = 30 * time.Second
	stopPatience  = 5 * time.Second
)

// startDatabase starts Postgres and migrates a database. The caller stops the stack, also after an error.
func (s *stack) startDatabase(ctx context.Context, binary string) error {
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
	s.cluster, err = postgres.Start(ctx, postgres.Options{Dir: filepath.Join(s.dir, "postgres"), Durable: true})
	if err != nil {
		return err
	}
	if err := s.cluster.CreateDatabase(ctx, database); err != nil {
		return err
	}
	s.secretKey, s.signingKey = secret.GenerateKey(), secret.GenerateKey()
	if s.codecKeys, err = durable.GenerateKeyset(); err != nil {
		return err
	}
	migrate := exec.CommandContext(ctx, binary, "migrate")
	migrate.Env = []string{"DATABASE_URL=" + s.url()}
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w\n%s", err, out)
	}
	return nil
}

func (s *stack) url() string { return s.cluster.URL(database) }

// startServers starts the servers and waits until each answers. row is one that the limit server can read.
func (s *stack) startServers(ctx context.Context, binary, row string) (err error) {
	if s.api, err = s.startAPI(ctx, binary, "warn"); err != nil {
		return err
	}
	if s.logging, err = s.startAPI(ctx, binary, "info"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find ourselves: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	args := []string{"limit", "-address", address, "-pool", strconv.Itoa(poolSize)}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // ourselves
	cmd.Env = []string{"DATABASE_URL=" + s.url()}
	s.limit, err = s.start(ctx, "limit", cmd, address, get(rowPath+"100/"+row, "", ""))
	return err
}

func (s *stack) startAPI(ctx context.Context, binary, level string) (server, error) {
	var free [3]string
	for i := range free {
		address, err := freeAddress()
		if err != nil {
			return server{}, err
		}
		free[i] = address
	}
	cmd := exec.CommandContext(ctx, binary, "api")
	cmd.Env = []string{
		"DATABASE_URL=" + s.url(), "TEMPORAL_ADDRESS=" + free[2], // where nobody listens
		"GATEHOUSE_DATABASE_POOL=" + strconv.Itoa(poolSize),
		"GATEHOUSE_API_ADDR=" + free[0], "GATEHOUSE_OPS_ADDR=" + free[1], "GATEHOUSE_BASE_URL=" + baseURL,
		"GATEHOUSE_SECRET_KEY=" + s.secretKey, "GATEHOUSE_SIGNING_KEY=" + s.signingKey,
		"GATEHOUSE_CODEC_KEYS=" + s.codecKeys,
		"GATEHOUSE_LOG_LEVEL=" + level,
		"GATEHOUSE_LIMIT_SCALE=1000000", // one address asks for everything
		// What a busy machine delays must not fail the run.
		"GATEHOUSE_REQUEST_TIMEOUT=10s", "GATEHOUSE_HASH_WAIT=9s",
	}
	return s.start(ctx, "api-"+level, cmd, free[0], get("/.well-known/jwks.json", "", ""))
}

// start runs cmd, its output in a file, until probe is answered with 200.
func (s *stack) start(ctx context.Context, name string, cmd *exec.Cmd, address string, probe []byte) (server, error) {
	log, err := os.Create(filepath.Join(s.dir, name+".log")) //nolint:gosec // a name of our own
	if err != nil {
		return server{}, fmt.Errorf("open a log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child holds its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	child, err := machine.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return server{}, err
	}
	s.children = append(s.children, child)
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := ask(ctx, address, probe)
		if err == nil {
			return server{address: address, pid: child.PID()}, nil
		}
		select {
		case <-child.Done():
		case <-ctx.Done():
		case <-again.C:
			continue
		}
		said, _ := os.ReadFile(log.Name())
		return server{}, fmt.Errorf("%s did not start: %w\n%s", name, err, said)
	}
}

// lastWords are the newest warnings of the APIs, for the error of a run.
func (s *stack) lastWords() string {
	const most = 5
	var lines []string
	logs, _ := filepath.Glob(filepath.Join(s.dir, "api-*.log")) // a constant pattern, which is all that can fail
	for _, log := range logs {
		content, _ := os.ReadFile(log) //nolint:gosec // a file of ours
		for line := range strings.Lines(string(content)) {
			if !strings.Contains(line, `"level":"INFO"`) && !strings.Contains(line, "waiting for Temporal") {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

// stop ends all children and deletes their files.
func (s *stack) stop() error {
	var errs []error
	for _, c := range s.children {
		errs = append(errs, c.Stop(syscall.SIGTERM, stopPatience))
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop(), os.RemoveAll(s.cluster.Dir))
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// ask sends one request on a connection of its own and returns the length of the answer's body.
func ask(ctx context.Context, address string, request []byte) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(clock.Now().Add(patience)); err != nil {
		return 0, fmt.Errorf("bound the connection: %w", err)
	}
	if _, err := conn.Write(request); err != nil {
		return 0, fmt.Errorf("send a request: %w", err)
	}
	return answer(bufio.NewReader(conn))
}

func freeAddress() (string, error) {
	port, err := machine.FreePort()
	return machine.LoopbackAddress(port), err
}
