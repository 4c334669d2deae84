package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/account"
	"gatehouse/internal/config"
	"gatehouse/internal/durable"
	"gatehouse/internal/ops"
	"gatehouse/internal/secret"
	"gatehouse/internal/telemetry"
	"gatehouse/store"
	"gatehouse/workflows"
)

// process is what an API and a worker process have in common.
type process struct {
	config   config.Config
	log      *slog.Logger
	registry *prometheus.Registry
	store    *store.Store
	keyring  *durable.Keyring
	flows    *durable.Client
	keys     *secret.Keys
	clock    account.Clock
	meter    *telemetry.Meter
	traces   *telemetry.Traces
}

func newProcess(role string) (*process, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, err
	}
	p := &process{config: cfg, registry: prometheus.NewRegistry(), clock: account.OffsetClock{Offset: cfg.ClockOffset}}
	level, err := logLevel(cfg)
	if err != nil {
		return nil, err
	}
	p.log = slog.New(telemetry.LogTraces(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))).With("process", role)
	if err := heldChanges(cfg); err != nil {
		p.log.WarnContext(context.Background(), "a change that is to be held is not known", "error", err)
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if p.keys, err = secret.NewKeys(cfg.SecretKey); err != nil {
		return nil, err
	}
	if p.keyring, err = newKeyring(cfg); err != nil {
		return nil, err
	}
	if p.traces, err = p.startTraces(role); err != nil {
		return nil, fmt.Errorf("GATEHOUSE_OTLP_ENDPOINT: %w", err)
	}
	p.store, err = store.Open(store.Options{
		URL: cfg.DatabaseURL, Pool: cfg.DatabasePool, Application: "gatehouse-" + role, Tracer: p.traces.Tracer(),
	})
	if err != nil {
		return nil, err
	}
	p.measure()
	p.flows, err = durable.Dial(durable.Options{
		Address: cfg.TemporalAddress, Namespace: cfg.TemporalNamespace, Security: durable.Security(cfg.Temporal), Keyring: p.keyring, Logger: p.log,
		Metrics: durable.Metrics(p.registry), Tracer: p.traces.Tracer(), Identity: identity(role), Timeout: cfg.FlowTimeout,
	})
	if err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	return p, nil
}

func logLevel(cfg config.Config) (level slog.Level, err error) {
	if err = level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		err = fmt.Errorf("GATEHOUSE_LOG_LEVEL is %q; it must be debug, info, warn or error", cfg.LogLevel)
	}
	return level, err
}

func newKeyring(cfg config.Config) (*durable.Keyring, error) {
	ring, err := durable.NewKeyring(cfg.CodecKeys, writing(cfg)...)
	if err != nil {
		err = fmt.Errorf("GATEHOUSE_CODEC_KEYS: %w", err)
	}
	return ring, err
}

// writing is how payloads are written.
func writing(cfg config.Config) []durable.Writing {
	ways := []durable.Writing{durable.InClear(workflows.Summaries()...)}
	if !slices.Contains(cfg.HeldChanges, durable.ChangeBarePayloads) {
		ways = append(ways, durable.Bare())
	}
	return ways
}

// startTraces returns nil where traces go nowhere.
func (p *process) startTraces(role string) (*telemetry.Traces, error) {
	return telemetry.StartTraces(context.Background(), telemetry.TraceOptions{
		Endpoint: p.config.Trace.OTLPEndpoint, Headers: p.config.Trace.OTLPHeaders, Sampling: p.config.Trace.TraceSampling,
		Service: "gatehouse-" + role, Version: version, Instance: identity(role),
		Failed: func(err error) {
			p.log.WarnContext(context.Background(), "traces are not delivered", "error", durable.Describe(err))
		},
	})
}

// measure registers what every process measures.
func (p *process) measure() {
	p.meter = telemetry.NewMeter(p.registry)
	telemetry.Pool(p.registry, p.store.PoolUse)
	p.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_codec_failures_total", Help: "Payloads of Temporal that could not be decrypted: their key is missing here.",
	}, func() float64 { return float64(p.keyring.Unread()) }))
	showCodecKeys(p.registry, p.keyring)
}

// identity names this process in histories: which of several workers took a task is the first question when one is lost.
func identity(role string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d@%s", role, os.Getpid(), host)
}

// close comes last: whatever used Temporal and the database has ended.
func (p *process) close(ctx context.Context) {
	p.flows.Close()
	if err := p.store.Close(); err != nil {
		p.log.WarnContext(ctx, "the database pool did not close", "error", err)
	}
	if err := p.traces.Close(ctx); err != nil {
		p.log.WarnContext(ctx, "the last traces were not delivered", "error", durable.Describe(err))
	}
}

const prepareRetry = time.Second

// prepareTemporal makes sure that the search attributes exist, for as long as it takes Temporal to answer.
func (p *process) prepareTemporal(ctx context.Context) error {
	return p.untilTemporal(ctx, func(ctx context.Context) error {
		err := durable.RegisterSearchAttributes(ctx, p.flows.Temporal(), p.config.TemporalNamespace)
		if errors.Is(err, durable.ErrAttributesUnknown) {
			// Whoever manages them there has made them, or every start is refused: it is not for us to stand still.
			p.log.WarnContext(ctx, "search attributes are taken for granted", "cause", durable.Describe(err))
			return nil
		}
		return err
	})
}

// untilTemporal repeats a step until Temporal takes it, or ctx ends.
func (p *process) untilTemporal(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // stopped while waiting is no failure
		}
		p.log.WarnContext(ctx, "waiting for Temporal", "address", p.config.TemporalAddress, "cause", durable.Describe(err))
		timer := time.NewTimer(prepareRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// requireSchema returns once the database has every migration that this build knows, and an error when it lacks one. It waits
// for a database that does not answer, and returns nil when ctx ends first.
func (p *process) requireSchema(ctx context.Context) error {
	for {
		missing, err := p.store.MissingMigrations(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // stopped while waiting is no failure
		case err == nil && len(missing) == 0:
			return nil
		case err == nil:
			return fmt.Errorf("the database's schema is older than this build; run `gatehouse migrate` first: it lacks %d migrations, %s the first",
				len(missing), missing[0])
		}
		p.log.WarnContext(ctx, "waiting for Postgres", "cause", durable.Describe(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(prepareRetry):
		}
	}
}

// outliving returns a context that ends when the second result is called, not with ctx: for what serves until the rest of a
// process has drained.
func outliving(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(ctx))
}

// errStopping takes a process out of whatever asks for its readiness while it drains.
var errStopping = errors.New("told to stop")

// stopping is a check that fails once ctx has ended.
func stopping(ctx context.Context) ops.Check {
	return func(context.Context) error {
		if ctx.Err() != nil {
			return errStopping
		}
		return nil
	}
}

// serveOps serves health, metrics and, when codec is true, the codec endpoint.
func (p *process) serveOps(ctx context.Context, setting, addr string, ready ops.Check, codec bool) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	handlers := ops.Handlers{
		Logger: p.log, Ready: ready, Metrics: promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}),
		Profile: p.config.Environment == config.Development,
	}
	if c := p.config.Codec; codec && c.Serve {
		handlers.Codec = p.keyring.CodecHandler(durable.CodecOptions{
			UIOrigin: p.config.TemporalUIURL, Log: p.log,
			Callers: ops.NewCallers(ops.CallerOptions{
				Password: c.Password, Issuer: c.OIDCIssuer, Audience: c.OIDCAudience, Anybody: p.config.Environment == config.Development, Log: p.log,
			}),
		})
	}
	return ops.Serve(ctx, setting, addr, handlers)
}
