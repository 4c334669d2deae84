package webhook_test

import (
	"net/netip"
	"net/url"
	"testing"
	"time"

	"gatehouse/providers/webhook"
)

// An address that passes is no private one, in whatever spelling: what it is called is judged here, what a name stands for when
// it is dialled.
func FuzzURLFault(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://10.0.0.1:8443/", "https://localhost/",
		"https://LOCALHOST:443", "https://[fe80::1%25eth0]/", "https://169.254.169.254/latest", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
		"https://0.0.0.0/", "https://[fd00::1]/", "https://100.64.0.1/", "https://192.0.2.1/", "https://[::127.0.0.1]/",
	} {
		f.Add(seed)
	}
	c := webhook.New(webhook.Options{Timeout: time.Second})
	f.Cleanup(c.Close)
	f.Fuzz(func(t *testing.T, raw string) {
		if c.URLFault(raw) != "" {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Port() != "" && u.Port() != "443" && u.Port() != "8443" {
			t.Fatalf("%q passes", raw)
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			return
		}
		if plain := ip.Unmap(); plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || plain.IsUnspecified() || plain.Zone() != "" {
			t.Fatalf("%q passes", raw)
		}
	})
}
