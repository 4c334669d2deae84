package middleware

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// clientAddress is the address that limits count: the peer, or what a trusted proxy says about its own peer. What
// anybody else writes into X-Forwarded-For is ignored (security.md WEB-01).
func clientAddress(c *fiber.Ctx, proxies []netip.Prefix) netip.Addr {
	peer, _ := parseAddress(c.IP())
	if !trusted(peer, proxies) {
		return peer
	}
	return rightmostUntrusted(peer, forwardedFor(c.Request().Header.RawHeaders()), proxies)
}

// forwardedFor are the hops in the head of a request. Trailers come after all that a proxy has written, and the server takes them
// for headers: a client would name itself by them. The rest of a line that was folded is nonsense, as any.
func forwardedFor(head []byte) []string {
	var hops []string
	ours := false
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if folded := line[0] == ' ' || line[0] == '\t'; folded && ours {
			hops = append(hops, "")
			continue
		}
		if ours = bytes.EqualFold(name, xForwardedFor); ours {
			hops = append(hops, strings.Split(string(value), ",")...)
		}
	}
	return hops
}

var xForwardedFor = []byte(fiber.HeaderXForwardedFor)

// rightmostUntrusted walks the hops from the nearest outwards. A hop that is no address ends the walk at the proxy that
// reported it: nonsense never escapes a limit.
func rightmostUntrusted(peer netip.Addr, forwarded []string, proxies []netip.Prefix) netip.Addr {
	address := peer
	for i := len(forwarded) - 1; i >= 0 && trusted(address, proxies); i-- {
		hop, ok := parseAddress(strings.TrimSpace(forwarded[i]))
		if !ok {
			break
		}
		address = hop
	}
	return address
}

func trusted(address netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

func parseAddress(s string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), true
}
