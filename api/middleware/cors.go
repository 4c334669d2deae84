package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, X-API-Key, Idempotency-Key, X-Request-Id, X-Session-Id, X-Device-Id, " +
		"X-Device-Token"
	corsExposed = "X-Request-Id, Retry-After, Location, Idempotent-Replayed"
)

// CORS lets pages of exactly these origins call the API with their credentials. Every answer varies by Origin, whatever
// it is; other origins and "null" get no permission, and no error either: the browser is who enforces it.
func CORS(origins []string) fiber.Handler {
	allowed := make([]string, 0, len(origins))
	for _, o := range origins {
		if o = strings.TrimSuffix(strings.TrimSpace(o), "/"); o != "" && o != "*" && o != "null" {
			allowed = append(allowed, o)
		}
	}
	return func(c *fiber.Ctx) error {
		c.Vary(fiber.HeaderOrigin)
		origin := c.Get(fiber.HeaderOrigin)
		if !slices.Contains(allowed, origin) {
			return c.Next()
		}
		c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
		c.Set(fiber.HeaderAccessControlAllowCredentials, "true")
		if c.Method() != http.MethodOptions || c.Get(fiber.HeaderAccessControlRequestMethod) == "" {
			c.Set(fiber.HeaderAccessControlExposeHeaders, corsExposed)
			return c.Next()
		}
		c.Vary(fiber.HeaderAccessControlRequestMethod, fiber.HeaderAccessControlRequestHeaders)
		c.Set(fiber.HeaderAccessControlAllowMethods, corsMethods)
		c.Set(fiber.HeaderAccessControlAllowHeaders, corsHeaders)
		c.Set(fiber.HeaderAccessControlMaxAge, "600")
		return c.SendStatus(http.StatusNoContent)
	}
}
