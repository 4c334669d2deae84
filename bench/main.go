//go:build unix

// Command bench measures the real binary beside what this machine can do at best, in one run that starts everything it needs
// and leaves nothing behind. `make bench` runs it.
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
	if len(args) > 0 && args[0] == "hash" {
		return runHash(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "empty-worker" {
		return runEmpty(ctx, args[1:])
	}
	return runBench(ctx, args)
}

// options of a run.
type options struct {
	binary, dev, output, only, commit string
	duration                          time.Duration
	accounts, renewals                int
	verbose                           bool
}

// fewAccounts are those of the small database.
const fewAccounts = 10_000

func runBench(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.binary, "binary", "bin/gatehouse", "what is measured")
	flags.StringVar(&o.dev, "dev", "bin/gatehouse-dev", "what starts a Temporal server")
	flags.DurationVar(&o.duration, "duration", 380*time.Second, "how long to measure; starting and seeding come on top")
	flags.IntVar(&o.accounts, "accounts", 1_000_000, "how many accounts the database has")
	flags.IntVar(&o.renewals, "renewals", 750, "how many subscriptions renew at one instant")
	flags.StringVar(&o.only, "only", "", "the parts to run, with commas between; empty runs all and writes the document")
	flags.StringVar(&o.commit, "commit", "", "what is measured, for the document")
	flags.BoolVar(&o.verbose, "verbose", false, "tell of each measurement of flows")
	flags.StringVar(&o.output, "output", "docs/performance.md", "the document to write; empty writes none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.accounts < fewAccounts {
		return fmt.Errorf("at least %d accounts are needed", fewAccounts)
	}
	var err error
	for _, path := range []*string{&o.binary, &o.dev} {
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("find a binary: %w", err)
		}
	}
	if o.only != "" {
		o.output = ""
	}
	return o.run(ctx)
}

func runLimit(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("limit", flag.ContinueOnError)
	address := flags.String("address", "", "where to listen")
	pool := flags.Int("pool", poolSize, "the most connections to Postgres")
	temporal := flags.String("temporal", "", "where Temporal is")
	if err := flags.Parse(args); err != nil {
		return err
	}
	url, err := config.DatabaseURL()
	if err != nil {
		return err
	}
	flows, err := newEmptyFlows(*temporal)
	if err != nil {
		return err
	}
	defer flows.client.Close()
	return serveLimit(ctx, *address, url, *pool, flows)
}

func runEmpty(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("empty-worker", flag.ContinueOnError)
	temporal := flags.String("temporal", "", "where Temporal is")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return runEmptyWorker(ctx, *temporal)
}

func (o options) run(ctx context.Context) (err error) {
	b := &bench{stack: &stack{binary: o.binary, dev: o.dev}, accounts: o.accounts, low: fewAccounts, renewals: o.renewals}
	b.say = func(format string, args ...any) {
		_, _ = fmt.Fprintf(os.Stderr, clock.Now().Format("15:04:05")+" bench: "+format+"\n", args...)
	}
	if o.verbose {
		b.detail = b.say
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	began := clock.Now()
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, b.lastWords())
	}
	all, err := b.parts(ctx)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.lastWords())
	}
	parts, err := chosen(all, o.only)
	if err != nil {
		return err
	}
	failed := b.measure(ctx, parts, o.duration)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := o.write(b, parts, clock.Now().Sub(began)); err != nil {
		return err
	}
	return failed
}

// prepare makes the databases and starts everything.
func (b *bench) prepare(ctx context.Context) error {
	b.say("starting Postgres and making %d accounts", b.accounts)
	if err := b.startDatabase(ctx, "shared_buffers=512MB", "max_wal_size=4GB"); err != nil {
		return err
	}
	if err := b.createDatabase(ctx, smallDatabase); err != nil {
		return err
	}
	var err error
	if b.people, err = b.seed(ctx, database, b.accounts, true); err != nil {
		return err
	}
	if b.few, err = b.seed(ctx, smallDatabase, b.low, false); err != nil {
		return err
	}
	b.say("starting Temporal and the servers")
	return b.startServers(ctx, b.people.readers[0].account.String())
}

// parts are all that can be measured, in the order in which they are: what disturbs others comes late.
func (b *bench) parts(ctx context.Context) ([]*part, error) {
	reads, err := b.reads(ctx)
	if err != nil {
		return nil, err
	}
	lookups, err := b.lookups(ctx)
	if err != nil {
		return nil, err
	}
	flows, err := b.newFlowing(ctx)
	if err != nil {
		return nil, err
	}
	costs := flows.costs()
	return []*part{
		reads, lookups, b.growth(), b.refresh(), b.logins(), flows.part(), b.memory(), flows.pollers(), flows.renewing(),
		costs.part(), costs.plans(),
	}, nil
}

// measure runs the parts. It returns what failed of them.
func (b *bench) measure(ctx context.Context, parts []*part, duration time.Duration) error {
	var shares float64
	for _, p := range parts {
		shares += p.shares
	}
	unit := time.Duration(float64(duration) / max(shares, 1))
	var failed []error
	for _, p := range parts {
		b.say("%s", p.title)
		p.err = p.run(ctx, unit)
		if p.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w\n%s", p.key, p.err, b.lastWords()))
		}
		for _, err := range p.failures() {
			failed = append(failed, fmt.Errorf("%s: %w", p.key, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// write prints what was found and writes the document, if there is to be one.
func (o options) write(b *bench, parts []*part, took time.Duration) error {
	document := b.document(parts, o.commit, o.duration, took)
	if _, err := fmt.Fprintln(os.Stdout, document); err != nil {
		return err
	}
	if o.output == "" {
		return nil
	}
	if err := os.WriteFile(o.output, []byte(document), 0o644); err != nil { //nolint:gosec // a document for everyone
		return fmt.Errorf("write the document: %w", err)
	}
	b.say("wrote %s", o.output)
	return nil
}
