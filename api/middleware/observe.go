package middleware

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// Observer writes one log line and one measurement per request.
type Observer struct {
	durations *prometheus.HistogramVec
}

// NewObserver registers the request histogram. It panics when the registry has one already.
func NewObserver(registry prometheus.Registerer) *Observer {
	o := &Observer{durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatehouse_http_request_duration_seconds",
		Help:    "Time to answer a request, by method, route pattern and status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"method", "route", "status"})}
	registry.MustRegister(o.durations)
	return o
}

// Handler observes everything below it. Errors that escape the endpoints, panics included, are rendered by escaped
// before they are measured.
func (o *Observer) Handler(escaped fiber.ErrorHandler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		state := endpoint.StateOf(c)
		started := state.Frame.Clock.Now()
		err := next(c, state)
		if err != nil {
			err = escaped(c, err)
		}
		o.Finish(c, started)
		return err
	}
}

// next turns a panic below into an internal error. The stack goes to the log, the sentence to the client.
func next(c *fiber.Ctx, state *endpoint.State) (err error) {
	defer func() {
		if p := recover(); p != nil {
			state.Frame.Logger.LogAttrs(c.UserContext(), slog.LevelError, "panic",
				slog.String("request_id", state.RequestID), slog.String("stack", string(debug.Stack())))
			err = account.ErrInternal.Because(fmt.Errorf("panic: %v", p))
		}
	}()
	return c.Next()
}

// Finish logs and measures an answered request. Neither path, query, headers nor bodies are logged: any of them may
// carry a secret.
func (o *Observer) Finish(c *fiber.Ctx, started time.Time) {
	state := endpoint.StateOf(c)
	took := state.Frame.Clock.Now().Sub(started)
	status := c.Response().StatusCode()
	o.durations.WithLabelValues(c.Method(), state.Pattern, strconv.Itoa(status)).Observe(took.Seconds())
	if !state.Frame.Logger.Enabled(c.UserContext(), slog.LevelInfo) {
		return
	}
	attributes := []slog.Attr{
		slog.String("method", c.Method()), slog.String("route", state.Pattern), slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.String("request_id", state.RequestID),
		slog.String("network", account.Network(state.Caller.IP)),
	}
	if p := state.Caller.Principal; p != nil {
		attributes = append(attributes, slog.String("account_id", p.Account.ID.String()))
	}
	state.Frame.Logger.LogAttrs(c.UserContext(), slog.LevelInfo, "request", attributes...)
}
