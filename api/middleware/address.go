package middleware

import (
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
	var forwarded []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		forwarded = append(forwarded, strings.Split(string(line), ",")...)
	}
	return rightmostUntrusted(peer, forwarded, proxies)
}

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
