// Package ops is the listener for operators: health, readiness, metrics and the codec of the Temporal UI. It belongs on
// a private network.
package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"
)

// Handlers are what a process offers its operators. A nil handler is not mounted.
type Handlers struct {
	// Live fails when only a restart helps; nil never fails.
	Live Check
	// Ready fails while requests had better go elsewhere; All makes one of several. Nil never fails.
	Ready Check
	// Metrics serves the Prometheus text format.
	Metrics http.Handler
	// Codec encodes and decodes Temporal payloads; it sees paths that end in /encode and /decode.
	Codec http.Handler
	// Profile serves profiles of the process under /debug/pprof. They hold what the process holds, so it is for development.
	Profile bool
	// Logger hears why a check failed, which the answer never tells. Nil means nobody does.
	Logger *slog.Logger
}

const (
	checkTimeout = 3 * time.Second
	drainTimeout = 5 * time.Second
	headerLimit  = 16 << 10
)

// Serve listens on address until ctx ends. setting names where the address comes from, for the error when it is taken.
func Serve(ctx context.Context, setting, address string, h Handlers) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %s is taken by another process; stop that or set another address", setting, address)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return ServeOn(ctx, listener, h)
}

// ServeOn is Serve on a listener that is open already. It closes the listener.
func ServeOn(ctx context.Context, listener net.Listener, h Handlers) error {
	h.Logger = cmp.Or(h.Logger, slog.New(slog.DiscardHandler))
	server := &http.Server{
		Handler: h.mux(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: headerLimit,
		ErrorLog: slog.NewLogLogger(h.Logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	h.Logger.LogAttrs(ctx, slog.LevelInfo, "ops listening", slog.String("address", listener.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("ops server: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("ops server: %w", err)
	}
	return nil
}

func (h Handlers) mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, "live", h.Live)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { h.answer(w, r, "ready", h.Ready) })
	if h.Metrics != nil {
		mux.Handle("GET /metrics", h.Metrics)
	}
	if h.Codec != nil {
		for _, path := range []string{"/encode", "/decode", "/codec/encode", "/codec/decode"} {
			mux.Handle(path, h.Codec)
		}
	}
	if h.Profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// answer names the checks that failed, never why.
func (h Handlers) answer(w http.ResponseWriter, r *http.Request, name string, check Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	failed := run(ctx, name, check)
	if len(failed) == 0 {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, f := range failed {
		h.Logger.LogAttrs(ctx, slog.LevelWarn, "check failed",
			slog.String("check", f.name), slog.String("cause", f.cause.Error()))
		_, _ = fmt.Fprintf(w, "%s: failed\n", f.name)
	}
}
