package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"gatehouse/account"
)

// WEB-01: what a stranger writes into X-Forwarded-For never becomes their address, and a trusted proxy's word is taken for the
// one hop that it saw.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range [][2]string{
		{"10.0.0.1", "203.0.113.7"},
		{"203.0.113.9", "10.0.0.1"},
		{"10.0.0.1", "1.2.3.4, 10.0.0.2"},
		{"10.0.0.1", "garbage, 10.0.0.2"},
		{"10.0.0.1", "[2001:db8::1]:443"},
		{"10.0.0.1", "::ffff:10.0.0.3"},
		{"10.0.0.1", "fe80::1%eth0"},
		{"10.0.0.1", ",,, ,"},
		{"::1", "010.1.1.1"},
	} {
		f.Add(seed[0], seed[1])
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	f.Fuzz(func(t *testing.T, from, header string) {
		peer, _ := parseAddress(from)
		hops := strings.Split(header, ",")
		got := rightmostUntrusted(peer, hops, proxies)
		if !trusted(peer, proxies) && got != peer {
			t.Fatalf("%s says that it is %s", peer, got)
		}
		if got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%s is one of many spellings", got)
		}
		if got == peer {
			return
		}
		for i := len(hops) - 1; ; i-- {
			hop, ok := parseAddress(strings.TrimSpace(hops[i]))
			if !ok {
				t.Fatalf("%q: went past nonsense to %s", header, got)
			}
			if hop == got {
				return
			}
			if !trusted(hop, proxies) {
				t.Fatalf("%q: went past the stranger %s to %s", header, hop, got)
			}
		}
	})
}

// Only what the key has signed within the minute passes, under whatever spelling of the header.
func FuzzAssertion(f *testing.F) {
	const key = "ghs_key"
	now := time.Unix(1_800_000_000, 0)
	sign := func(at, nonce, body string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(at + "." + nonce + "." + body))
		return mac.Sum(nil)
	}
	at := strconv.FormatInt(now.Unix(), 10)
	f.Add("t="+at+",n=once,sig="+hex.EncodeToString(sign(at, "once", "{}")), []byte("{}"))
	f.Add("sig="+base64.URLEncoding.EncodeToString(sign(at, "once", "{}"))+", t="+at+" ,n=once", []byte("{}"))
	f.Add("t="+at+",t="+at+",n=a,n=b,sig=", []byte("{}"))
	f.Add("t=9223372036854775807,n=x,sig=00", []byte(""))
	f.Add("t=-9223372036854775808,n=x,sig=", []byte(""))
	f.Add(",,,===", []byte("\xff"))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		nonce, ok := signed(header, key, body, now)
		if !ok {
			return
		}
		for part := range strings.SplitSeq(header, ",") {
			at, is := strings.CutPrefix(strings.TrimSpace(part), "t=")
			seconds, err := strconv.ParseInt(at, 10, 64)
			if !is || err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > assertionAge {
				continue
			}
			want := sign(at, nonce, string(body))
			lower := strings.ToLower(header)
			if strings.Contains(lower, hex.EncodeToString(want)) ||
				strings.Contains(strings.NewReplacer("-", "+", "_", "/").Replace(header), strings.TrimRight(base64.StdEncoding.EncodeToString(want), "=")) {
				return
			}
		}
		t.Fatalf("%q passes for %q", header, body)
	})
}

// harmless is what headers become that are kept, shown or compared.
func FuzzHeaders(f *testing.F) {
	f.Add("Mozilla/5.0", "Bearer x", "ghk_1", "key-1")
	f.Add("a\x00b\x1b[31m\u202e", "bearer  x ", "", "schl\u00fcssel")
	f.Add(strings.Repeat("\u00e9", 400), "Basic YTpi", "\xff", strings.Repeat("k", 256))
	f.Add("\xff\xfe", "Bearer", " ", "a\tb")
	app := fiber.New()
	f.Fuzz(func(t *testing.T, agent, authorization, key, idempotency string) {
		var request fasthttp.RequestCtx
		request.Request.Header.Set("User-Agent", agent)
		request.Request.Header.Set("Authorization", authorization)
		request.Request.Header.Set("X-API-Key", key)
		request.Request.Header.Set("X-Request-Id", agent)
		c := app.AcquireCtx(&request)
		defer app.ReleaseCtx(c)
		kept := userAgent(c)
		if !utf8.ValidString(kept) || len(kept) > maxUserAgent || strings.ContainsAny(kept, "\x00\r\n\x1b\x7f") {
			t.Fatalf("%q is kept as %q", agent, kept)
		}
		for _, allowKeys := range []bool{true, false} {
			shown, err := credential(c, allowKeys)
			if err != nil && account.AsError(err).Kind != account.Unauthenticated {
				t.Fatalf("a fault of kind %v", account.AsError(err).Kind)
			}
			if err == nil && shown.Bearer != strings.TrimSpace(shown.Bearer) {
				t.Fatalf("%q shows %q", authorization, shown.Bearer)
			}
		}
		if id := c.Get("X-Request-Id"); harmlessID.MatchString(id) && (len(id) > 200 || strings.ContainsAny(id, "\r\n\x00\" ")) {
			t.Fatalf("%q is kept as a request id", id)
		}
		if printable([]byte(idempotency)) && (len(idempotency) > maxIdempotencyKey || strings.ContainsFunc(idempotency, func(r rune) bool { return r < ' ' || r > '~' })) {
			t.Fatalf("%q is a key", idempotency)
		}
	})
}
