//go:build unix

package stacktest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caarlos0/env/v11"

	"gatehouse/devstack/stack"
	"gatehouse/internal/testkit"
)

// BinarySetting names a gatehouse binary to test; without it one is built from the source.
const BinarySetting = "GATEHOUSE_TEST_BINARY"

// shared is what the tests of a process have in common.
var shared struct {
	sync.Mutex
	binary   string
	dir      string
	temporal *stack.Temporal
}

// Main runs the tests of a package and stops what they shared. A TestMain that needs nothing else is stacktest.Main(m).
func Main(m *testing.M) { testkit.Main(clearing{m}) }

// clearing stops what is shared between the end of the tests and the exit of the process.
type clearing struct{ tests testkit.Tests }

func (c clearing) Run() int {
	code := c.tests.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.temporal != nil {
		_ = shared.temporal.Stop() // the process ends anyway
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	return code
}

func sharedTemporal(ctx context.Context) (*stack.Temporal, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.temporal != nil {
		return shared.temporal, nil
	}
	server, err := stack.StartTemporal(ctx, stack.TemporalOptions{})
	if err != nil {
		return nil, err
	}
	shared.temporal = server
	return server, nil
}

// Binary is the path of the gatehouse binary under test, built once for all tests of a process.
func Binary(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.binary != "" {
		return shared.binary
	}
	binary, err := findBinary()
	if err != nil {
		t.Fatal(err)
	}
	shared.binary = binary
	return binary
}

func findBinary() (string, error) {
	var s struct {
		Binary string `env:"GATEHOUSE_TEST_BINARY"`
	}
	if err := env.Parse(&s); err != nil {
		return "", fmt.Errorf("read %s: %w", BinarySetting, err)
	}
	if s.Binary != "" {
		return filepath.Abs(s.Binary)
	}
	root, err := sourceRoot()
	if err != nil {
		return "", err
	}
	dir, err := sharedDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "gatehouse")
	return binary, buildIn(root, binary)
}

// sourceRoot is where the source of gatehouse lies.
func sourceRoot() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "gatehouse").Output()
	if err != nil {
		return "", fmt.Errorf("find the source of gatehouse: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// sharedDir is a directory for what the tests of a process share. Hold the lock of shared.
func sharedDir() (string, error) {
	if shared.dir != "" {
		return shared.dir, nil
	}
	dir, err := os.MkdirTemp("", "gatehouse-test-bin-")
	if err != nil {
		return "", fmt.Errorf("make a directory for the binary: %w", err)
	}
	shared.dir = dir
	return dir, nil
}

// buildIn builds the source in a directory.
func buildIn(root, binary string, flags ...string) error {
	args := append(append([]string{"build", "-buildvcs=false"}, flags...), "-o", binary, "./cmd/gatehouse")
	build := exec.Command("go", args...) //nolint:gosec // a fixed command line
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build gatehouse: %w\n%s", err, out)
	}
	return nil
}

// inherited is this process's environment without settings of Gatehouse, which would leak a developer's into the tests.
func inherited() []string {
	var kept []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "GATEHOUSE_") && !strings.HasPrefix(pair, "DATABASE_URL=") &&
			!strings.HasPrefix(pair, "TEMPORAL_ADDRESS=") {
			kept = append(kept, pair)
		}
	}
	return kept
}
