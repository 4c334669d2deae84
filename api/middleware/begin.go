// Package middleware is what happens around every endpoint, in the order that api/api.go writes: request id and headers,
// access log and metrics, recover, framing, deadline, cross-origin rules, then per route credential, limit and idempotency.
package middleware

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// HeaderRequestID names a request, in the client's words if they are harmless.
const HeaderRequestID = "X-Request-Id"

var (
	harmlessID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	// secretly is how a credential of ours begins. Request ids are logged: what a client has put into the wrong header is not.
	secretly = regexp.MustCompile(`gh[a-z]_|dvt_|eyJ`)
)

// Unmatched is the pattern of requests that no route takes.
const Unmatched = "unmatched"

// Begin gives the request its id, its caller's address and the headers that every answer carries. It is also called for
// requests that the transport refused before any middleware ran.
func Begin(c *fiber.Ctx, frame *endpoint.Frame, proxies []netip.Prefix, secure bool) *endpoint.State {
	id := c.Get(HeaderRequestID)
	if !harmlessID.MatchString(id) || secretly.MatchString(id) {
		id = uuid.NewString()
	}
	state := &endpoint.State{
		Frame: frame, RequestID: strings.Clone(id), Pattern: Unmatched,
		Caller: account.Caller{IP: clientAddress(c, proxies), UserAgent: userAgent(c)},
	}
	endpoint.Begin(c, state)
	c.Set(HeaderRequestID, id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderPragma, "no-cache")
	if secure {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
	return state
}

const maxUserAgent = 500

// userAgent is stored text: valid UTF-8, one line, bounded.
func userAgent(c *fiber.Ctx) string {
	agent := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(c.Get(fiber.HeaderUserAgent), ""))
	if len(agent) > maxUserAgent {
		agent = strings.ToValidUTF8(agent[:maxUserAgent], "")
	}
	return strings.Clone(agent)
}
