package endpoint

import (
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// Page is a fixed document: nothing in it depends on the request.
type Page struct {
	Path      string
	MediaType string
	// ContentSecurityPolicy replaces the policy of API answers, which forbids everything.
	ContentSecurityPolicy string
	// CacheControl replaces no-store.
	CacheControl string
	Body         []byte
}

// Serve sends the page.
func (p Page) Serve(c *fiber.Ctx) error {
	StateOf(c).Pattern = p.Path
	c.Set(fiber.HeaderContentType, p.MediaType)
	if p.ContentSecurityPolicy != "" {
		c.Set(fiber.HeaderContentSecurityPolicy, p.ContentSecurityPolicy)
	}
	if p.CacheControl != "" {
		c.Set(fiber.HeaderCacheControl, p.CacheControl)
		c.Response().Header.Del(fiber.HeaderPragma)
	}
	return c.Status(http.StatusOK).Send(p.Body)
}
