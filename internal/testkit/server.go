//go:build unix

// Package testkit gives tests real things to run on: a database of their own on a real PostgreSQL, and a way to wait that
// is not sleeping. Only tests import it.
package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/caarlos0/env/v11"

	"gatehouse/internal/postgres"
)

// ServerSetting names a PostgreSQL whose user may create databases; without it the tests of a package start one.
const ServerSetting = "GATEHOUSE_TEST_DATABASE_URL"

const dirPrefix = "gatehouse-test-postgres-"

// server is the PostgreSQL of this test process.
var server struct {
	sync.Mutex
	url string
	own *Server
}

// Tests is a *testing.M, or what wraps one.
type Tests interface{ Run() int }

// Main runs the tests of a package and stops what they started; a TestMain that needs nothing else is testkit.Main(m).
// Without it the server still dies with the process (on Linux), only its files stay until the next run.
func Main(m Tests) {
	code := m.Run()
	server.Lock()
	defer server.Unlock()
	if server.own != nil {
		if err := server.own.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// serverURL returns the server to use, starting one on first use.
func serverURL(ctx context.Context) (string, error) {
	server.Lock()
	defer server.Unlock()
	if server.url != "" {
		return server.url, nil
	}
	url, err := SharedServer()
	if err != nil {
		return "", err
	}
	if url == "" {
		if server.own, err = StartServer(ctx); err != nil {
			return "", err
		}
		url = server.own.URL
	}
	server.url = url
	return url, nil
}

// SharedServer is the value of ServerSetting, empty when there is none.
func SharedServer() (string, error) {
	var s struct {
		URL string `env:"GATEHOUSE_TEST_DATABASE_URL"`
	}
	if err := env.Parse(&s); err != nil {
		return "", fmt.Errorf("read %s: %w", ServerSetting, err)
	}
	return s.URL, nil
}

// Server is a throwaway PostgreSQL.
type Server struct {
	// URL is its maintenance database.
	URL string

	dir     string
	cluster *postgres.Cluster
}

// StartServer starts a throwaway PostgreSQL in a temporary directory. It returns postgres.ErrNotFound without binaries.
func StartServer(ctx context.Context) (*Server, error) {
	clearLeftovers()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as root, the server's user must pass through
		return nil, fmt.Errorf("open the directory of PostgreSQL: %w", err)
	}
	cluster, err := postgres.Start(context.WithoutCancel(ctx), postgres.Options{Dir: dir})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Server{URL: cluster.URL("postgres"), dir: dir, cluster: cluster}, nil
}

// Stop stops the server and removes its files.
func (s *Server) Stop() error {
	s.cluster.Kill() // nothing of it is wanted any more
	return errors.Join(os.RemoveAll(s.cluster.Dir), os.RemoveAll(s.dir))
}

// clearLeftovers removes the files of servers whose test process was killed.
func clearLeftovers() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*")) // the pattern is a constant
	for _, dir := range dirs {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(number)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another user's stays
		}
	}
}
