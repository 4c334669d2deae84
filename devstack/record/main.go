//go:build unix

// Command record writes the histories that workflows/replay_test.go replays: every ending of every flow, as a real Temporal
// server kept it. Run it with `make record-histories` after a deliberate change of a flow's steps that no execution of
// the old code can meet any more; else put the change behind workflow.GetVersion and keep the old histories.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gatehouse/devstack/stack"
	"gatehouse/internal/durable"
	"gatehouse/worker"
	"gatehouse/workflows"
)

const (
	namespace = "record"
	patience  = 5 * time.Minute
)

func main() {
	testdata := flag.String("testdata", "../workflows/testdata", "where the test keys lie and the histories go")
	only := flag.String("only", "", "record only the histories whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := record(ctx, *testdata, *only); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it what was deferred
	}
}

func record(ctx context.Context, testdata, only string) error {
	encoded, err := os.ReadFile(filepath.Join(testdata, "TEST-ONLY-codec-keyset.txt")) //nolint:gosec // a flag of ours
	if err != nil {
		return err
	}
	keys, err := durable.NewKeyring(string(encoded), durable.Bare(), durable.InClear(workflows.Summaries()...))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, err := stack.StartTemporal(ctx, stack.TemporalOptions{Namespaces: []string{namespace}})
	if err != nil {
		return err
	}
	defer func() { _ = server.Stop() }()
	client, err := durable.Dial(durable.Options{
		Address: server.Address, Namespace: namespace, Keyring: keys, Logger: slog.New(slog.DiscardHandler), Timeout: 15 * time.Second,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := durable.RegisterSearchAttributes(ctx, client.Temporal(), namespace); err != nil {
		return err
	}
	r := &recorder{client: client, steps: &steps{}, folder: filepath.Join(testdata, "histories")}
	if err := play(ctx, r, only, heldScenarios, workflows.ChangeSharedRuns); err != nil {
		return err
	}
	return play(ctx, r, only, slices.Concat(scenarios, deviceScenarios, passwordScenarios, passwordChangeScenarios, closureScenarios, emailLinkScenarios,
		subscriptionScenarios, reconciliationScenarios, messageScenarios, webhookScenarios))
}

// play runs a worker that holds changes, and every scenario on it, one after the other.
func play(ctx context.Context, r *recorder, only string, all []scenario, held ...string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Deps{
			Client: r.client, Activities: r.steps, Register: workflows.Register, Logger: slog.New(slog.DiscardHandler),
			ShutdownTimeout: time.Second, HeldChanges: held,
		})
	}()
	for _, s := range all {
		if !strings.Contains(s.name, only) {
			continue
		}
		if err := r.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	stop()
	return <-ended
}
