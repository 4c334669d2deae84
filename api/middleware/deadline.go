package middleware

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// Deadline ends the context of everything below it after d, or up to d/32 earlier, since requests share deadlines. Only UserContext
// carries it: Fiber's own context is a recycled request.
func Deadline(d time.Duration) fiber.Handler {
	ends := &ends{after: d}
	return func(c *fiber.Ctx) error {
		ctx, cancel := context.WithCancel(bounded{Context: ends.from(account.SystemClock{}.Now()), values: c.UserContext()})
		defer cancel()
		c.SetUserContext(ctx)
		return c.Next()
	}
}

// sharedFor says for how long a deadline is given to new requests: for d/32 after it was made.
const sharedFor = 32

// ends makes the deadlines of requests, and shares each among the requests that begin within d/32 of each other. A deadline is a
// timer; the runtime may wake a thread for each new timer, and on a small machine waking a thread costs as much as the rest of a
// small read. Sharing them, together with patience in package api, saves 7% of the CPU that /me takes at one connection.
type ends struct {
	// after is d.
	after time.Duration
	// latest is the deadline that new requests share, nil before the first request.
	latest atomic.Pointer[end]
}

// end is a context with the shared deadline of some requests.
type end struct {
	context.Context
	cancel context.CancelFunc
	// until is when it is too old to be shared: the next request makes a new one.
	until time.Time
}

// from returns the context with the deadline of a request that begins now.
func (e *ends) from(now time.Time) context.Context {
	latest := e.latest.Load()
	if latest != nil && now.Before(latest.until) {
		return latest.Context
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(e.after)) //nolint:forbidigo // a caller's would lend its values to others
	made := &end{Context: ctx, cancel: cancel, until: now.Add(e.after / sharedFor)}
	if !e.latest.CompareAndSwap(latest, made) {
		// Another request has stored a new one meanwhile. It is as good.
		made.cancel()
		return e.latest.Load().Context
	}
	return ctx
}

// bounded is a context with the deadline of one context and the values of another.
type bounded struct {
	context.Context

	values context.Context //nolint:containedctx // a context is made of two
}

// Value implements context.Context. The context of the deadline is asked first: the context package finds its own contexts by
// such a lookup, and can then cancel our children directly; else it would start a goroutine for each request that waits for the
// deadline.
func (b bounded) Value(key any) any {
	if value := b.Context.Value(key); value != nil {
		return value
	}
	return b.values.Value(key)
}
