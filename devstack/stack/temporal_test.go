//go:build unix

package stack_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/devstack/stack"
)

const queue = "test"

// waits ends with the text of its first signal.
func waits(ctx workflow.Context) (string, error) {
	var word string
	workflow.GetSignalChannel(ctx, "word").Receive(ctx, &word)
	return word, nil
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: address, Namespace: stack.DefaultNamespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestTemporal_GoesOnWithAnOpenWorkflowAfterARestart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	options := stack.TemporalOptions{
		File: filepath.Join(t.TempDir(), "temporal", "temporal.db"), Namespaces: []string{stack.DefaultNamespace},
	}

	begin := time.Now()
	first, err := stack.StartTemporal(ctx, options)
	require.NoError(t, err)
	t.Logf("first start took %s", time.Since(begin))
	run, err := dial(t, first.Address).ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "open", TaskQueue: queue}, waits)
	require.NoError(t, err)
	begin = time.Now()
	require.NoError(t, first.Stop())
	t.Logf("stop took %s", time.Since(begin))

	begin = time.Now()
	second, err := stack.StartTemporal(ctx, options)
	require.NoError(t, err)
	t.Logf("second start took %s", time.Since(begin))
	t.Cleanup(func() { _ = second.Stop() })
	c := dial(t, second.Address)
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(waits)
	require.NoError(t, w.Start())
	defer w.Stop()
	require.NoError(t, stack.AwaitPollers(ctx, second.Address, stack.DefaultNamespace, queue))
	require.NoError(t, c.SignalWorkflow(ctx, "open", run.GetRunID(), "word", "still open"))
	var word string
	require.NoError(t, c.GetWorkflow(ctx, "open", run.GetRunID()).Get(ctx, &word))
	require.Equal(t, "still open", word)
}

func TestTemporal_InMemoryServesItsNamespaceAndTheUI(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := stack.StartTemporal(ctx, stack.TemporalOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Stop() })

	require.NoError(t, stack.EnsureNamespace(ctx, server.Address, stack.DefaultNamespace))
	require.NoError(t, stack.EnsureNamespace(ctx, server.Address, stack.DefaultNamespace), "a second time")
	_, err = dial(t, server.Address).ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, waits)
	require.NoError(t, err)

	begin := time.Now()
	ui, err := stack.StartUI(ctx, stack.UIOptions{TemporalAddress: server.Address, Namespace: stack.DefaultNamespace})
	require.NoError(t, err, "it answers its health check")
	t.Logf("UI start took %s", time.Since(begin))
	ui.Stop()
}

func TestStart_NamesTheSettingOfABusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port

	_, err = stack.StartTemporal(t.Context(), stack.TemporalOptions{Port: port})
	require.ErrorIs(t, err, stack.ErrPortTaken)
	require.ErrorContains(t, err, "GATEHOUSE_TEMPORAL_PORT")

	_, err = stack.StartUI(t.Context(), stack.UIOptions{Port: port})
	require.ErrorIs(t, err, stack.ErrPortTaken)
	require.ErrorContains(t, err, "GATEHOUSE_TEMPORAL_UI_PORT")
}
