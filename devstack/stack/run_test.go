//go:build unix

package stack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"gatehouse/devstack/stack"
	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

// fake, when set, makes this test binary stand in for the gatehouse binary; "dying" lets its worker die at once.
const fake = "GATEHOUSE_TEST_FAKE"

func TestMain(m *testing.M) {
	how, isFake := os.LookupEnv(fake)
	if !isFake {
		testkit.Main(m)
	}
	if err := standIn(os.Args[1], how); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func standIn(process, how string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch {
	case process == "migrate":
		return nil
	case process == "worker" && how == "dying":
		return errors.New("no more")
	case process == "worker":
		c, err := client.Dial(client.Options{HostPort: os.Getenv("TEMPORAL_ADDRESS"), Namespace: os.Getenv("GATEHOUSE_TEMPORAL_NAMESPACE")})
		if err != nil {
			return err
		}
		w := worker.New(c, durable.QueueFlows, worker.Options{})
		if err := w.Start(); err != nil {
			return err
		}
		<-ctx.Done()
		w.Stop()
		return nil
	default:
		server := &http.Server{Addr: os.Getenv("GATEHOUSE_OPS_ADDR"), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go func() { <-ctx.Done(); _ = server.Close() }()
		fmt.Println("word is", os.Getenv("GATEHOUSE_WORD"))
		return server.ListenAndServe()
	}
}

// screen is what a developer would see.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// environ is the environment of a run on free ports, and the addresses it will listen on.
func environ(t *testing.T, dir, how string, more ...string) (env, addresses []string) {
	t.Helper()
	env = append(os.Environ(), "GATEHOUSE_DATA_DIR="+dir, fake+"="+how)
	for _, setting := range []string{"API_ADDR", "OPS_ADDR", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "POSTGRES_PORT"} {
		port, err := machine.FreePort()
		require.NoError(t, err)
		address := machine.LoopbackAddress(port)
		addresses = append(addresses, address)
		if strings.HasSuffix(setting, "PORT") {
			address = strconv.Itoa(port)
		}
		env = append(env, "GATEHOUSE_"+setting+"="+address)
	}
	return append(env, more...), addresses
}

// newDir is a temporary directory that, unlike t.TempDir, another user can pass through: PostgreSQL's, when we are root.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatehouse-test-") //nolint:usetesting // nobody else can pass through t.TempDir
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func requireFree(t *testing.T, addresses []string) {
	t.Helper()
	for _, address := range addresses {
		require.NoError(t, machine.CanListen(address))
	}
}

func TestRun_StartsAllAndStopsInOrder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "it's here")
	env, addresses := environ(t, dir, "well", "GATEHOUSE_WORD=it's $HOME \"quoted\"")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out screen
	ended := make(chan error, 1)
	go func() { ended <- stack.Run(ctx, stack.RunOptions{Environ: env, Binary: os.Args[0], Out: &out}) }()
	testkit.Eventually(t, time.Minute, func() bool {
		return strings.Contains(out.String(), "Gatehouse is running") || len(ended) > 0
	}, "the system to run")
	require.Empty(t, ended, out.String())
	require.Contains(t, out.String(), `api    | word is it's $HOME "quoted"`)

	t.Run("a second run is refused", func(t *testing.T) {
		err := stack.Run(t.Context(), stack.RunOptions{Environ: env, Binary: os.Args[0], Out: &screen{}})
		require.ErrorIs(t, err, stack.ErrLocked)
		require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	})
	t.Run("a shell can use the settings", func(t *testing.T) {
		file := filepath.Join(dir, "env")
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		shell := exec.Command("sh", "-c", `set -a; . "$1"; set +a; env`, "sh", file)
		shell.Env = []string{"PATH=" + os.Getenv("PATH")}
		sourced, err := shell.Output()
		require.NoError(t, err)
		for _, want := range []string{
			`GATEHOUSE_WORD=it's $HOME "quoted"`, "TEMPORAL_ADDRESS=" + addresses[2], "GATEHOUSE_SECRET_KEY=dev:", "GATEHOUSE_CODEC_KEYS=dev:",
			"DATABASE_URL=postgres://", "GATEHOUSE_BASE_URL=http://localhost:" + addresses[0][len("127.0.0.1:"):],
		} {
			require.Contains(t, string(sourced), want)
		}
		settings, err := stack.LoadSettings(strings.Split(string(sourced), "\n"))
		require.NoError(t, err)
		require.Empty(t, settings.DatabaseURL, "what the earlier run computed is no external database")
		require.Empty(t, settings.TemporalAddress)
	})

	cancel()
	require.NoError(t, <-ended)
	requireFree(t, addresses)
	_, stopping, _ := strings.Cut(out.String(), "Stopping")
	last := -1
	for _, part := range []string{"API ", "Worker ", "Temporal UI ", "Temporal  ", "PostgreSQL "} {
		at := strings.Index(stopping, part)
		require.Greater(t, at, last, "%s stops in turn:\n%s", part, stopping)
		last = at
	}
}

func TestRun_GivesUpOnAProcessThatKeepsDying(t *testing.T) {
	t.Parallel()
	env, addresses := environ(t, newDir(t), "dying")
	var out screen

	err := stack.Run(t.Context(), stack.RunOptions{Environ: env, Binary: os.Args[0], Out: &out})

	require.ErrorContains(t, err, "the worker died 5 times in a row")
	require.ErrorContains(t, err, "no more", "its last lines are shown")
	requireFree(t, addresses)
}

func TestRun_NamesEveryBusyPortAtOnce(t *testing.T) {
	t.Parallel()
	env, addresses := environ(t, newDir(t), "well")
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
	}

	err := stack.Run(t.Context(), stack.RunOptions{Environ: env, Binary: os.Args[0], Out: &screen{}})

	require.ErrorIs(t, err, stack.ErrPortTaken)
	for _, setting := range []string{"API_ADDR", "OPS_ADDR", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "POSTGRES_PORT"} {
		require.ErrorContains(t, err, "GATEHOUSE_"+setting)
	}
}
