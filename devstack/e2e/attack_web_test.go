//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

// Links are built from the configured base URL alone.
func hostHeader(t *testing.T, s *system) {
	evil := []string{
		"Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "javascript", "Forwarded", "host=evil.example;proto=https",
		"X-Forwarded-Server", "evil.example", "X-Host", "evil.example", "X-Original-Url", "/evil", "X-Rewrite-Url", "/evil", "Referer", "http://evil.example/",
		"Origin", "http://evil.example",
	}
	register := func(email string) string {
		return mustJSON(t, fields{"username": email, "email": email, "password": password})
	}
	byHeaders, byURI := newEmail(), newEmail()
	require.Equal(t, http.StatusOK, s.raw(t, http.MethodPost, pathRegister, register(byHeaders), evil...).Status)
	body := register(byURI)
	got := s.wire(t, fmt.Sprintf("POST http://evil.example%s HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", pathRegister, len(body), body))
	require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
	for _, email := range []string{byHeaders, byURI} {
		mail := s.awaitMail(t, email, 1)
		require.True(t, strings.HasPrefix(linkOf(t, mail), s.base+"/confirm-email?token="), mail.Text)
		require.NotContains(t, mail.Text+mail.Subject, "evil")
		require.NotContains(t, mail.Text, "javascript")
		s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
	}
	// The address of an operation is relative.
	for _, h := range []string{"Location", "Content-Location", "Refresh"} {
		require.NotContains(t, got.Header.Get(h), "evil")
	}
}

func homoglyphs(t *testing.T, s *system) {
	base := "plain" + newEmail()[5:15]
	s.register(t, base, newEmail())
	for _, twin := range []string{
		strings.ToUpper(base), "@" + base, " " + base + "\t", "ｐ" + base[1:], strings.Replace(base, "pl", "ｐｌ", 1), "PLAIN" + base[5:], "ᵖ" + base[1:],
	} {
		s.refused(t, http.StatusBadRequest, "identity_already_used",
			call{Path: pathRegister, Body: fields{"username": twin, "email": newEmail(), "password": password}})
	}
	for _, odd := range []string{
		"р" + base[1:], "plaın" + base[5:], "pla\u200bin" + base[5:], base + "\u202e", base + ".", "." + base, "admin", "ADMİN", "аdmin", "ＡＤＭＩＮ", "Support.",
		"gatehouse", "check", "search", "change", "Me2\u0301", "a", base + base + base,
	} {
		s.refused(t, http.StatusBadRequest, "invalid_request",
			call{Path: pathRegister, Body: fields{"username": odd, "email": newEmail(), "password": password}})
	}
	ligature := "o\ufb00" + newEmail()[5:15] // ff in one character
	got := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": ligature, "email": newEmail(), "password": password}})
	require.Equal(t, strings.Replace(ligature, "\ufb00", "ff", 1), got.text(t, "username"))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM accounts WHERE username !~ '^[a-z0-9_.]{3,30}$'`))
}

// A replica with the limits of production counts the peer, whatever the headers claim.
func forwardedFor(t *testing.T, s *system) {
	stacktest.Covers(t, "WEB-01")
	s = s.replica(t, "127.0.0.77", "GATEHOUSE_LIMIT_SCALE", "1")
	claims := []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip"}
	body := func() string { return mustJSON(t, fields{"email": newEmail(), "password": password}) }
	refusedAt := 0
	for i := range 25 {
		value := fmt.Sprintf("203.0.113.%d", i)
		switch i % 5 {
		case 1:
			value = "a"
		case 2:
			value = strings.Repeat(value+", ", 300) + value
		case 3:
			value = fmt.Sprintf("[2001:db8:%x::1]:80", i)
		}
		got := s.raw(t, http.MethodPost, pathLogin, body(), claims[i%len(claims)], value, "X-Forwarded-For", value)
		if got.Status == http.StatusTooManyRequests && refusedAt == 0 {
			refusedAt = i
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
	}
	require.Equal(t, 20, refusedAt, "20 a minute for one peer")
	// Another peer is another counter, and another limit is another counter.
	require.Equal(t, http.StatusUnprocessableEntity, s.raw(t, http.MethodPost, pathVerifyCode, `{}`).Status)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM sessions WHERE ip_address LIKE '203.0.113.%'`))
}

func corsTricks(t *testing.T, s *system) {
	const good = "https://good.example"
	s = s.replica(t, "127.0.0.78", "GATEHOUSE_ALLOWED_ORIGINS", good, "GATEHOUSE_LIMIT_SCALE", "1000")
	allowed := s.raw(t, http.MethodGet, pathMe, "", "Origin", good)
	require.Equal(t, []string{good, "true"}, []string{allowed.Header.Get("Access-Control-Allow-Origin"), allowed.Header.Get("Access-Control-Allow-Credentials")})
	preflight := s.raw(t, http.MethodOptions, pathLogin, "", "Origin", good, "Access-Control-Request-Method", "POST")
	require.Equal(t, http.StatusNoContent, preflight.Status)
	for _, origin := range []string{
		"https://evil.example", "null", "*", "https://good.example.evil.example", "https://evilgood.example", "https://evil.example/?https://good.example",
		"http://good.example", "https://good.example:8443", "https://GOOD.example.", "https://good.example@evil.example", "https://a.good.example",
		"https://good.example, https://evil.example", "https://good.example\\.evil.example", "file://",
		"https://GOOD.example", "HTTPS://good.example", "https://good.example/", "https://good.example:443",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			got := s.raw(t, method, pathMe, "", "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
			for name := range got.Header {
				require.False(t, strings.HasPrefix(name, "Access-Control-"), "%s for %s", name, origin)
			}
			require.Contains(t, strings.Join(got.Header.Values("Vary"), ","), "Origin")
		}
	}
}

// The client looks at every answer for no-store; here are the ones that it does not meet elsewhere.
func caching(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for _, path := range protected {
		full := s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusOK, full.Status)
		head := s.raw(t, http.MethodHead, path, "", "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusOK, head.Status)
		require.Empty(t, head.Body)
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodHead, path, "").Status)
		for _, conditional := range []string{"If-None-Match", "If-Modified-Since", "Range"} {
			got := s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+token, conditional, "*")
			require.Equal(t, http.StatusOK, got.Status, conditional)
		}
		for _, h := range []answer{full, head} {
			require.Empty(t, h.Header.Get("Last-Modified"))
			require.Contains(t, h.Header.Get("Content-Security-Policy"), "default-src 'none'")
		}
	}
}

// WEB-15: the log of the whole run is held to one object a line at its end; this puts the poison in.
func logInjection(t *testing.T, s *system) {
	const poison = `{"level":"AUDIT","msg":"poison"}`
	email := newEmail()
	for _, c := range []struct{ path, body string }{
		{pathInitiateSignup, `{"email":"a\n` + strings.ReplaceAll(poison, `"`, `\"`) + `@example.com","password":"` + password + `"}`},
		{pathLogin, mustJSON(t, fields{"email": "x\n" + poison, "password": "y\n" + poison})},
		{pathRegister, mustJSON(t, fields{"username": "x\n" + poison, "email": email, "password": password})},
		{pathInitiateSignup, mustJSON(t, fields{"email": email, "password": password, "name": "x\n" + poison})},
	} {
		s.raw(t, http.MethodPost, c.path, c.body, "User-Agent", poison, "X-Request-Id", poison, "Idempotency-Key", poison)
	}
	got := s.raw(t, http.MethodGet, "/api/v1/auth/%0a"+strings.ReplaceAll(poison, `"`, "%22"), "", "X-Request-Id", poison)
	require.NotContains(t, got.Header.Get("X-Request-Id"), "poison")
	named := s.raw(t, http.MethodGet, pathMe, "", "X-Request-Id", "my-request_1")
	require.Equal(t, "my-request_1", named.Header.Get("X-Request-Id"))
	for line := range strings.Lines(s.api.Output()) {
		require.NotContains(t, line, "poison")
	}
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{
		"email": email, "password": password, "attribution": fields{"a": "<script>alert(1)</script>\n" + poison + strings.Repeat("x", 600)},
	}})
	require.LessOrEqual(t, s.db.number(t, `SELECT length(attribution->>'a') FROM signup_attempts WHERE email = $1`, email), 500)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM signup_attempts WHERE attribution::text ~ '<script|\\n'`))
}
