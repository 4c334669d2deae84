package api_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/config"
)

// Requests in process come from 0.0.0.0.
const peer = "0.0.0.0"

func TestClientAddress(t *testing.T) {
	t.Parallel()
	behind := []netip.Prefix{netip.MustParsePrefix(peer + "/32"), netip.MustParsePrefix("10.0.0.0/8")}
	for name, one := range map[string]struct {
		proxies   []netip.Prefix
		forwarded []string
		want      string
	}{
		"nobody is trusted":       {nil, []string{"203.0.113.9"}, peer},
		"peer is not trusted":     {behind[1:], []string{"203.0.113.9"}, peer},
		"proxy says":              {behind, []string{"203.0.113.9"}, "203.0.113.9"},
		"client adds one":         {behind, []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":             {behind, []string{"198.51.100.1, 203.0.113.9, 10.1.2.3"}, "203.0.113.9"},
		"two headers":             {behind, []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		"only proxies":            {behind, []string{"10.9.9.9, 10.1.2.3"}, "10.9.9.9"},
		"nothing said":            {behind, nil, peer},
		"nonsense":                {behind, []string{"a"}, peer},
		"nonsense behind a proxy": {behind, []string{"203.0.113.9, a, 10.1.2.3"}, "10.1.2.3"},
		"empty hop":               {behind, []string{"203.0.113.9,"}, peer},
		"port":                    {behind, []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"mapped":                  {behind, []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"IPv6":                    {behind, []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 with port":          {behind, []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		"IPv6 with zone":          {behind, []string{"fe80::1%eth0"}, "fe80::1"},
		"mapped proxy is a proxy": {behind, []string{"203.0.113.9, ::ffff:10.1.2.3"}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, func(c *config.Config) { c.TrustedProxies = one.proxies })
			headers := []string{"X-Real-IP", "192.0.2.66", "Forwarded", "for=192.0.2.66", "X-Client-IP", "192.0.2.66"}
			for _, line := range one.forwarded {
				headers = append(headers, "X-Forwarded-For", line)
			}
			app.send(t, "POST", login, loginBody, headers...)
			require.Equal(t, one.want, app.core.addresses[0].String())
			require.Equal(t, one.want, app.core.called()[0].by.IP.String())
		})
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	const friend = "https://app.example.com"
	for origin, allowed := range map[string]bool{
		friend: true, "": false, "null": false, "https://evil.example": false, "https://app.example.com.evil.example": false,
		"https://sub.app.example.com": false, "http://app.example.com": false, "https://app.example.com:444": false,
		"HTTPS://APP.EXAMPLE.COM": false, "*": false,
	} {
		for _, method := range []string{"POST", "OPTIONS"} {
			app := newApp(t, func(c *config.Config) { c.AllowedOrigins = []string{friend + "/", "null", "*"} })
			headers := []string{"Origin", origin}
			if method == "OPTIONS" {
				headers = append(headers, "Access-Control-Request-Method", "POST", "Content-Type", "")
			}
			body := loginBody
			if method == "OPTIONS" {
				body = ""
			}
			got := app.send(t, method, login, body, headers...)
			require.Contains(t, got.Header.Get("Vary"), "Origin")
			if !allowed {
				for name := range got.Header {
					require.NotContains(t, name, "Access-Control", "%s %s", method, origin)
				}
				continue
			}
			require.Equal(t, origin, got.Header.Get("Access-Control-Allow-Origin"))
			require.Equal(t, "true", got.Header.Get("Access-Control-Allow-Credentials"))
			if method == "OPTIONS" {
				require.Equal(t, 204, got.Status)
				require.Contains(t, got.Header.Get("Access-Control-Allow-Methods"), "PUT")
				require.Contains(t, got.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key")
			}
		}
	}
}
