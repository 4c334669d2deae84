package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gatehouse/api"
	"gatehouse/core"
	"gatehouse/internal/geo"
	"gatehouse/internal/ops"
	"gatehouse/internal/secret"
	"gatehouse/internal/telemetry"
	idp "gatehouse/providers/identity"
	"gatehouse/providers/payment"
)

func apiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "api", Short: "Serve the API", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("api")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			return p.runAPI(cmd.Context())
		},
	}
}

func (p *process) runAPI(ctx context.Context) error {
	debug.SetGCPercent(p.config.APIGCPercent)
	operations, err := p.operations()
	if err != nil {
		return err
	}
	app, err := api.New(api.Deps{Core: operations, Config: p.config, Logger: p.log, Clock: p.clock, Registry: p.registry, Tracer: p.traces.Tracer()}) //nolint:contextcheck // a request brings its own
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	// Nobody is served from a schema that may lack a column. Reads need no Temporal, so the API serves while it waits for that;
	// it is ready once flows can be started.
	var prepared atomic.Bool
	fits := make(chan struct{})
	group.Go(func() error {
		if err := p.requireSchema(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		close(fits)
		err := p.prepareTemporal(ctx)
		prepared.Store(err == nil)
		return err
	})
	ready := ops.All(map[string]ops.Check{
		"postgres": p.store.Ping,
		"temporal": p.flows.Healthy,
		"stopping": stopping(ctx),
		"listening": func(context.Context) error {
			if !app.Listening() {
				return errors.New("not yet")
			}
			return nil
		},
		"schema and search attributes": func(context.Context) error {
			if !prepared.Load() {
				return errors.New("not there yet")
			}
			return nil
		},
	})
	watched, drained := outliving(ctx)
	group.Go(func() error { return p.serveOps(watched, "GATEHOUSE_OPS_ADDR", p.config.OpsAddr, ready, true) })
	group.Go(func() error {
		defer drained()
		select {
		case <-fits:
			return app.Listen(ctx, p.config.APIAddr)
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

func (p *process) operations() (*core.Core, error) {
	hasher := secret.NewHasher(p.keys, p.config.HashSlots, p.config.HashQueue, p.config.HashWait)
	telemetry.Hasher(p.registry, hasher.Use)
	tokens, err := secret.NewAccessTokens(p.config.SigningKey, p.config.BaseURL, p.clock)
	if err != nil {
		return nil, err
	}
	// Mapped into memory for as long as the process lives.
	locate, err := locator(p.config.GeoIPDB)
	if err != nil {
		return nil, err
	}
	return core.New(core.Deps{
		Store: p.store, Flows: p.flows, Keyring: p.keyring, Keys: p.keys, Hasher: hasher, Tokens: tokens,
		Policy: p.config.Policy, Billing: p.config.Billing, Clock: p.clock, Log: p.log, Meter: p.meter, ServeInbox: p.config.DevInbox(),
		RequestTimeout: p.config.RequestTimeout, Locate: locate,
		Identity:       idp.NewAt(idp.Settings(p.config.Identity), p.clock),
		PaymentNotices: payment.NewWebhook(payment.Settings(p.config.Payment), p.clock),
		LinkRedirect:   p.config.LinkRedirectURL, RequireAssertion: p.config.RequireAssertion,
	})
}

// locator returns nil where no location database is set.
func locator(path string) (func(netip.Addr) string, error) {
	if path == "" {
		return nil, nil
	}
	locations, err := geo.Open(path)
	if err != nil {
		return nil, fmt.Errorf("GATEHOUSE_GEOIP_DB: %w", err)
	}
	return locations.Locate, nil
}
