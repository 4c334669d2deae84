//go:build unix

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

func refusesUnknownPaths(t *testing.T, s *system) {
	for base, dialect := range map[string]string{
		"/api/v1/auth": "authv1", "/v1": "usersv1", "/api/v1/account": "accountv1", "": "site",
	} {
		for _, path := range []string{"/nothing", "/me/../nothing", "/%2e%2e/%2e%2e/etc/passwd", "/a%00b", "/\u00e4", "/" + strings.Repeat("x", 8000), "/.env", "/.git/config"} {
			for _, method := range []string{"GET", "POST", "DELETE", "BREW"} {
				got := s.raw(t, method, base+path, "")
				requireRefusal(t, dialect, http.StatusNotFound, "not_found", got, method+" "+base+path)
			}
		}
	}
	for _, path := range []string{"/api/v1/authx", "/api/v1", "/v1x/users/details", "/api/v1/auth", "/v1", "/api/v1/account", "/"} {
		require.Equal(t, http.StatusNotFound, s.raw(t, http.MethodGet, path, "").Status, path)
	}
}

func refusesOddTransport(t *testing.T, s *system) {
	post := "POST " + pathInitiateSignup + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 60_000, strings.Repeat(" ", 60_000))
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"garbage":             {"GARBAGE\r\n\r\n", 400},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"negative length":     {post + "Content-Length: -5\r\n\r\n{}", 400},
		"signed length":       {post + "Content-Length: +2\r\n\r\n{}", 400},
		"overflowing length":  {post + "Content-Length: 99999999999999999999\r\n\r\n{}", 400},
		"five megabytes":      {post + "Content-Length: 5242880\r\n\r\n" + strings.Repeat("x", 5<<20), 413},
		"chunked 5 MB":        {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 90) + "0\r\n\r\n", 413},
		"bad chunk":           {post + "Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n", 400},
		"huge chunk":          {post + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n{}", 400},
		"unknown encoding":    {post + "Transfer-Encoding: xchunked\r\n\r\n{}", 400},
		"space before colon":  {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n", 400},
		"ten megabyte header": {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 10<<20) + "\r\n\r\n", 431},
		"17 kB of URL":        {"GET " + pathMe + "?" + strings.Repeat("a", 17_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"connect":             {"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"star":                {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"two types":           {post + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415},
		"NUL in a header":     {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x00b\r\n\r\n", 401},
		// Two answers to where the body ends are how requests are smuggled past a proxy (RFC 9112 section 6.3).
		"length and chunks":  {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":        {post + "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + strings.Repeat(" ", 38), 400},
		"two equal lengths":  {post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
		"list of encodings":  {post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
		"two encodings":      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"chunks in HTTP 1.0": {"POST " + pathInitiateSignup + " HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	} {
		started := time.Now()
		got := s.wire(t, c.request)
		require.Equal(t, c.status, got.Status, "%s: %s", name, got.Body)
		require.Less(t, time.Since(started), hangs*crowding(), name)
		require.NotEmpty(t, got.Header.Get("X-Request-Id"), name)
		require.NotEmpty(t, got.code(), "%s: %s", name, got.Body)
		if c.status == http.StatusBadRequest {
			require.Equal(t, "close", got.Header.Get("Connection"), name)
		}
	}
}

// WEB-07: clients that trickle, stop half-way or close their half hold up nobody, and are given up. Two thousand of them in full.
func bearsSlowClients(t *testing.T, s *system) {
	stacktest.Covers(t, "WEB-07")
	conns := make([]*net.TCPConn, map[bool]int{false: 300, true: 2000}[stacktest.Full()])
	slowest := func(reads int) time.Duration {
		took := make([]time.Duration, reads)
		for i := range took {
			began := time.Now()
			require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "").Status)
			took[i] = time.Since(began)
			require.Less(t, took[i], hangs*crowding())
		}
		slices.Sort(took)
		return took[reads*9/10]
	}
	const reads = 50
	before := slowest(reads)
	begin := "POST " + pathLogin + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	began := time.Now()
	for i := range conns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		part := begin[:len(begin)-(i%60)] // half of them stop within the headers
		_, err = conn.Write([]byte(part))
		require.NoError(t, err)
		conns[i] = conn.(*net.TCPConn)
		if i%5 == 0 {
			require.NoError(t, conns[i].CloseWrite())
		}
	}
	trickling, stop := make(chan struct{}), make(chan struct{})
	go func() { // a byte a second keeps nobody's connection alive
		defer close(trickling)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for i := 1; i < len(conns); i += 5 {
				_, _ = conns[i].Write([]byte("x"))
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	beside := slowest(reads)
	t.Logf("%d slow clients; reads' p90 %s before, %s beside them", len(conns), before, beside)
	require.Less(t, beside, (2*before+100*time.Millisecond)*crowding())
	for i, conn := range conns {
		if !stacktest.Full() && i%60 > 2 {
			continue
		}
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		answered, err := io.ReadAll(conn) // an answer, or the end
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "client %d is still waited for after %s", i, time.Since(began))
		if len(answered) > 0 {
			require.Regexp(t, `^HTTP/1\.1 4\d\d `, string(answered))
		}
	}
	close(stop)
	<-trickling
}

func refusesBadQueries(t *testing.T, s *system) {
	for _, query := range []string{"to=%00", "to=%ff", "to=a&to=b", "channel=a&channel=a", "to=" + strings.Repeat("x", 10_001)} {
		got := s.raw(t, http.MethodGet, "/dev/inbox.json?"+query, "")
		requireRefusal(t, "site", http.StatusUnprocessableEntity, "validation_error", got, query)
	}
	for _, query := range []string{"", "to=", "%zz", "to=%25", "x=y", "to=%27%3B--"} {
		require.Equal(t, http.StatusOK, s.raw(t, http.MethodGet, "/dev/inbox.json?"+query, "").Status, query)
	}
}
