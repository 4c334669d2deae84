package middleware

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, X-API-Key, Idempotency-Key, X-Request-Id, X-Session-Id, X-Device-Id, " +
		"X-Device-Token, sk-refresh-token"
	corsExposed = "X-Request-Id, Retry-After, Location, Operation-Location, Idempotent-Replayed"
)

// CORS lets pages of exactly these origins call the API with their credentials. Every answer varies by Origin, whatever
// it is; other origins and "null" get no permission, and no error either: the browser is who enforces it.
func CORS(origins []string) fiber.Handler {
	allowed := Origins(origins...)
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

// Origins returns the origins among what settings name, as browsers write them. No setting can allow every origin.
func Origins(settings ...string) []string {
	origins := make([]string, 0, len(settings))
	for _, o := range settings {
		o = strings.TrimSuffix(strings.TrimSpace(o), "/")
		if u, err := url.Parse(o); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
			o = u.Scheme + "://" + u.Host
		}
		if o != "" && o != "*" && o != "null" {
			origins = append(origins, o)
		}
	}
	return origins
}
