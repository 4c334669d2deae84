package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"gatehouse/api/endpoint"
)

// Routes returns the endpoints that are mounted, for the tests that hold the OpenAPI files to them.
func (a *App) Routes() []endpoint.Route { return a.routes }

// Test answers one request in process, without a network and without a time limit.
func (a *App) Test(request *http.Request) (*http.Response, error) { return a.fiber.Test(request, -1) }

// Listening reports whether clients can connect. Who asks before may send them nowhere.
func (a *App) Listening() bool { return a.listening.Load() }

// Listen serves on address until ctx ends, then serves on for the configured delay, in which clients are asked to connect
// anew, stops accepting, and waits for the requests under way, for at most the configured shutdown time. An address that is taken
// is an error that names its setting.
func (a *App) Listen(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("GATEHOUSE_API_ADDR: %s is taken by another process; stop that or set another address", address)
	}
	if err != nil {
		return fmt.Errorf("GATEHOUSE_API_ADDR: %w", err)
	}
	return a.Serve(ctx, listener)
}

// Serve is Listen on a listener that is open already. It closes the listener.
func (a *App) Serve(ctx context.Context, listener net.Listener) error {
	a.listening.Store(true) // connections wait from here on, whether or not anybody takes them yet
	served := make(chan error, 1)
	go func() { served <- a.fiber.Listener(lingering{listener}) }()
	a.logger.LogAttrs(ctx, slog.LevelInfo, "API listening", slog.String("address", listener.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("API server: %w", err)
	case <-ctx.Done():
	}
	a.draining.Store(true)
	if a.config.DrainDelay > 0 {
		a.logger.LogAttrs(ctx, slog.LevelInfo, "API draining", slog.Duration("taking_requests_for", a.config.DrainDelay))
		select {
		case err := <-served:
			return fmt.Errorf("API server: %w", err)
		case <-time.After(a.config.DrainDelay):
		}
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.ShutdownTimeout)
	defer cancel()
	if err := a.fiber.ShutdownWithContext(drain); err != nil {
		return fmt.Errorf("API server: requests were still running after %s: %w", a.config.ShutdownTimeout, err)
	}
	return <-served
}
