package middleware

import (
	"bytes"

	"github.com/gofiber/fiber/v2"
)

var (
	contentLength    = []byte(fiber.HeaderContentLength)
	transferEncoding = []byte(fiber.HeaderTransferEncoding)
	chunked          = []byte("chunked")
)

// Framing refuses a request that says in two ways where its body ends, and closes the connection: a proxy before us may
// have believed the other one, and would take the rest for a request of somebody else (RFC 9112 section 6.3). A body in chunks is
// the last on its connection: the server is lax about what stands behind a chunk's size, so a proxy may have seen its end
// elsewhere.
func Framing(c *fiber.Ctx) error {
	header := &c.Request().Header
	said, odd := 0, false
	for line := range bytes.Lines(header.RawHeaders()) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, contentLength):
			said++
		case bytes.EqualFold(name, transferEncoding):
			said++
			c.Response().SetConnectionClose()
			odd = odd || !header.IsHTTP11() || !bytes.EqualFold(bytes.TrimSpace(value), chunked)
		}
	}
	if said > 1 || odd {
		c.Response().SetConnectionClose()
		return fiber.ErrBadRequest
	}
	return c.Next()
}
