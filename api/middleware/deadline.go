package middleware

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// Deadline bounds everything below it by d, or by up to a thirty-second part of d less. Only UserContext carries it: Fiber's own
// context is a recycled request.
func Deadline(d time.Duration) fiber.Handler {
	ends := &ends{after: d}
	return func(c *fiber.Ctx) error {
		ctx, cancel := context.WithCancel(bounded{Context: ends.from(account.SystemClock{}.Now()), values: c.UserContext()})
		defer cancel()
		c.SetUserContext(ctx)
		return c.Next()
	}
}

// sharedFor is the part of their time in which requests that begin end together.
const sharedFor = 32

// ends are when requests end. Those that begin within a moment share one end: the runtime may wake a thread for each timer that it
// gets, and a thread that wakes costs as much as the rest of a small read.
type ends struct {
	after  time.Duration
	latest atomic.Pointer[end]
}

type end struct {
	context.Context
	cancel context.CancelFunc
	// until is when requests begin to take another one.
	until time.Time
}

func (e *ends) from(now time.Time) context.Context {
	latest := e.latest.Load()
	if latest != nil && now.Before(latest.until) {
		return latest.Context
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(e.after)) //nolint:forbidigo // a caller's would lend its values to others
	made := &end{Context: ctx, cancel: cancel, until: now.Add(e.after / sharedFor)}
	if !e.latest.CompareAndSwap(latest, made) {
		// Somebody else was quicker. Theirs is as new.
		made.cancel()
		return e.latest.Load().Context
	}
	return ctx
}

// bounded has the values of one context and the end of another.
type bounded struct {
	context.Context

	values context.Context //nolint:containedctx // a context is made of two
}

// Value implements context.Context. The end comes first: by a value of its own the context package knows it again, and needs no
// goroutine to wait for it.
func (b bounded) Value(key any) any {
	if value := b.Context.Value(key); value != nil {
		return value
	}
	return b.values.Value(key)
}
