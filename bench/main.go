//go:build unix

// Command bench measures the reads and the login of the real binary beside what this machine can do at best, in one run
// that starts everything it needs and leaves nothing behind. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gatehouse/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "limit" {
		return runLimit(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "sizes" {
		return runSizes(ctx, args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("binary", "bin/gatehouse", "what is measured")
	duration := flags.Duration("duration", 80*time.Second, "how long to measure; starting and seeding come on top")
	accounts := flags.Int("accounts", 10_000, "how many accounts the database has")
	output := flags.String("output", "docs/performance.md", "the document to write; empty writes none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return fmt.Errorf("find %s: %w", *binary, err)
	}
	return bench(ctx, path, *output, *accounts, *duration)
}

func runLimit(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("limit", flag.ContinueOnError)
	address := flags.String("address", "", "where to listen")
	pool := flags.Int("pool", poolSize, "the most connections to Postgres")
	if err := flags.Parse(args); err != nil {
		return err
	}
	url, err := config.DatabaseURL()
	if err != nil {
		return err
	}
	return serveLimit(ctx, *address, url, *pool)
}

// mostClients is how many accounts take part, fewer when there are fewer.
const mostClients = 4096

func bench(ctx context.Context, binary, output string, accounts int, duration time.Duration) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
	sample := min(accounts, mostClients)
	if sample < many {
		return fmt.Errorf("at least %d accounts are needed", many)
	}
	s := &stack{}
	defer func() { err = errors.Join(err, s.stop()) }()
	say("starting Postgres and making %d accounts", accounts)
	if err := s.startDatabase(ctx, binary); err != nil {
		return err
	}
	who, err := s.seed(ctx, accounts, sample)
	if err != nil {
		return err
	}
	if err := s.startServers(ctx, binary, who.rows[0].String()); err != nil {
		return err
	}
	suite, err := newSuite(ctx, s, who)
	if err != nil {
		return err
	}
	say("measuring for about %s in %d rounds", duration, rounds)
	progress := func(round int) { say("round %d of %d done", round, rounds) }
	if err := suite.run(ctx, suite.unit(duration), progress); err != nil {
		return fmt.Errorf("%w\n%s", err, s.lastWords())
	}
	if _, err := fmt.Fprintln(os.Stdout, suite.report()); err != nil {
		return err
	}
	if output == "" {
		return nil
	}
	document := suite.document(accounts, sample, s.cluster.Major, duration)
	if err := os.WriteFile(output, []byte(document), 0o644); err != nil { //nolint:gosec // a document for everyone
		return fmt.Errorf("write the document: %w", err)
	}
	say("wrote %s", output)
	return nil
}
