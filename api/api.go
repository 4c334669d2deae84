// Package api is the public HTTP server: one Fiber app, the middleware in order, and the route tables of the dialects.
// Fiber is seen here, in endpoint and in middleware, and nowhere else.
package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"gatehouse/account"
	"gatehouse/api/accountv1"
	"gatehouse/api/authv1"
	"gatehouse/api/endpoint"
	"gatehouse/api/middleware"
	"gatehouse/api/site"
	"gatehouse/api/usersv1"
	"gatehouse/internal/config"
)

// Core is everything that the API asks of package core.
type Core interface {
	middleware.Authenticator
	middleware.Limiter
	middleware.Keys
	middleware.Nonces
	authv1.Core
	usersv1.Core
	accountv1.Core
	site.Core
}

// Deps is what an App is made of.
type Deps struct {
	Core     Core
	Config   config.Config
	Logger   *slog.Logger
	Clock    account.Clock
	Registry prometheus.Registerer
	// Tracer makes a span of each request; nil makes none.
	Tracer trace.Tracer
}

// App is the public API of one process.
type App struct {
	fiber  *fiber.App
	config config.Config
	logger *slog.Logger
	frame  *endpoint.Frame
	// secure says that clients reach us by https.
	secure   bool
	observer *middleware.Observer
	refuse   fiber.ErrorHandler
	routes   []endpoint.Route
	// draining says that the process was told to stop.
	draining atomic.Bool
	// listening says that clients can connect.
	listening atomic.Bool
}

const (
	bodyLimit = 64 << 10
	// headerLimit holds our longest token several times over; more is 431.
	headerLimit = 16 << 10
	// readTimeout bounds how slowly a request may trickle in, idleTimeout how long a connection may wait for the next.
	readTimeout = 10 * time.Second
	idleTimeout = 60 * time.Second
	// idleWorker bounds how long what served a connection that has closed waits for the next one: a burst leaves nothing behind.
	idleWorker = 2 * time.Second
	// writeMargin is what a slow client gets beyond the request's own deadline.
	writeMargin = 10 * time.Second
	// unknownMethod stands for every method that Fiber does not know, so that it too meets the middleware.
	unknownMethod = "UNKNOWN"
)

// New builds the App. The error is one of the embedded pages.
func New(d Deps) (*App, error) {
	a := &App{
		config: d.Config, logger: d.Logger, frame: &endpoint.Frame{
			Logger: d.Logger, Clock: d.Clock, Origins: middleware.Origins(append([]string{d.Config.BaseURL}, d.Config.AllowedOrigins...)...),
		},
		secure:   strings.HasPrefix(d.Config.BaseURL, "https://"),
		observer: middleware.NewObserver(d.Registry),
		refuse:   middleware.Refuse(dialectOf),
	}
	methods := append(slices.Clone(fiber.DefaultMethods), unknownMethod)
	a.fiber = fiber.New(fiber.Config{
		// Strings of a request outlive it here: they go to the database, the log and Temporal.
		Immutable:                    true,
		BodyLimit:                    bodyLimit,
		ReadBufferSize:               headerLimit,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 d.Config.RequestTimeout + writeMargin,
		IdleTimeout:                  idleTimeout,
		CaseSensitive:                true,
		DisableStartupMessage:        true,
		DisablePreParseMultipartForm: true,
		EnableTrustedProxyCheck:      true,
		RequestMethods:               methods,
		ErrorHandler:                 a.escaped,
	})
	a.fiber.Server().MaxIdleWorkerDuration = idleWorker
	known := a.fiber.Server().Handler
	a.fiber.Server().Handler = func(ctx *fasthttp.RequestCtx) {
		if !slices.Contains(methods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(unknownMethod)
		}
		known(ctx)
		if a.draining.Load() {
			ctx.SetConnectionClose()
		}
	}
	a.fiber.Use(a.begin)
	if d.Tracer != nil {
		a.fiber.Use(middleware.Trace(d.Tracer, d.Config.TrustedProxies))
	}
	a.fiber.Use(a.observer.Handler(a.refuse), middleware.Framing, middleware.Deadline(d.Config.RequestTimeout),
		middleware.CORS(d.Config.AllowedOrigins))
	return a, a.mount(d.Core)
}

func (a *App) mount(c Core) error {
	pages, err := site.Pages(c.PublicKeys())
	if err != nil {
		return err
	}
	a.routes = slices.Concat(authv1.Routes(c), usersv1.Routes(c), accountv1.Routes(c))
	if len(a.config.Payment.StripeWebhookSecrets) > 0 {
		a.routes = append(a.routes, site.PaymentNoticeRoute(c))
	}
	if a.config.DevInbox() {
		pages = append(pages, site.InboxPage())
		a.routes = append(a.routes, site.InboxRoute(c))
	}
	for _, p := range pages {
		a.add(http.MethodGet, p.Path, p.Serve)
	}
	// Static paths first: a parameter must not swallow them (contract X24).
	ordered := slices.SortedStableFunc(slices.Values(a.routes), func(x, y endpoint.Route) int {
		return cmp.Compare(strings.Count(x.Path, ":"), strings.Count(y.Path, ":"))
	})
	for _, r := range ordered {
		a.add(r.Method, r.Path,
			middleware.Authenticate(r, c), middleware.Limit(r, c), middleware.Assertion(r, c), middleware.Idempotency(r, c), r.Serve)
	}
	return nil
}

// add mounts handlers; HEAD follows GET.
func (a *App) add(method, path string, handlers ...fiber.Handler) {
	a.fiber.Add(method, path, handlers...)
	if method == http.MethodGet {
		a.fiber.Add(http.MethodHead, path, handlers...)
	}
}

func (a *App) begin(c *fiber.Ctx) error {
	middleware.Begin(c, a.frame, a.config.TrustedProxies, a.secure)
	return c.Next()
}

// escaped renders what the transport refused before any middleware ran.
func (a *App) escaped(c *fiber.Ctx, err error) error {
	if endpoint.StateOf(c) != nil {
		return a.refuse(c, err)
	}
	started := a.frame.Clock.Now()
	middleware.Begin(c, a.frame, a.config.TrustedProxies, a.secure)
	err = a.refuse(c, err)
	a.observer.Finish(c, started)
	return err
}

// dialectOf is the dialect that a path speaks, whether or not anything is there.
func dialectOf(path string) *endpoint.Dialect {
	for _, d := range []*endpoint.Dialect{authv1.Dialect, accountv1.Dialect, usersv1.Dialect} {
		if d.Owns(path) {
			return d
		}
	}
	return site.Dialect
}
