package middleware

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// Limiter counts hits per client.
type Limiter interface {
	// Allow returns ErrTooManyRequests, with the time to come back, once limit is reached.
	Allow(ctx context.Context, limit account.RateLimit, by account.Caller) error
}

// Limit counts the request against the route's limit.
func Limit(route endpoint.Route, limits Limiter) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := limits.Allow(c.UserContext(), route.Limit, endpoint.StateOf(c).Caller); err != nil {
			return route.Fail(c, err)
		}
		return c.Next()
	}
}
