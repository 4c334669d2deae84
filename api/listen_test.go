package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/config"
)

// serve starts the app on a real socket; stop ends it and returns what Serve returned.
func serve(t *testing.T, app *testApp) (address string, stop func() error) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	served := make(chan error, 1)
	go func() { served <- app.Serve(ctx, listener) }()
	return listener.Addr().String(), func() error { cancel(); return <-served }
}

// overWire sends a request through a socket, and holds the answer to the contract.
func overWire(t *testing.T, address, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, contract.Check(request, []byte(body), response, read))
	require.NotEmpty(t, response.Header.Get("X-Request-Id"))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	return answer{response.StatusCode, response.Header, string(read)}
}

// An API that nobody can connect to yet must not be called ready.
func TestListeningIsTold(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	require.False(t, app.Listening())
	address, stop := serve(t, app)
	require.Eventually(t, app.Listening, 10*time.Second, time.Millisecond)
	require.Equal(t, 401, overWire(t, address, "GET", "/api/v1/auth/me", "").Status)
	require.NoError(t, stop())
}

func TestOversizedBodiesHearWhy(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	address, _ := serve(t, app)
	exact := `{"x":"` + strings.Repeat("x", 64<<10-8) + `"}`
	require.Len(t, exact, 64<<10)
	for _, o := range contract.Operations() {
		for name, size := range map[string]int{"one byte more": 1, "5 MB": 5 << 20} {
			got := overWire(t, address, o.Method, pathOf(o), exact+strings.Repeat(" ", size), credentialOf(o)...)
			if code := requireFailure(t, o.Dialect, 413, got); code != "" {
				require.Equal(t, "body_too_large", code, name)
			}
		}
	}
	require.Empty(t, app.core.called())
	require.Equal(t, 422, overWire(t, address, "POST", login, exact).Status, "64 KiB exactly")
	require.Contains(t, app.log.text(), `"route":"unmatched","status":413`)
}

func TestLongHeaders(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, newApp(t))
	got := overWire(t, address, "GET", "/api/v1/auth/me", "", bearer, "Bearer "+strings.Repeat("x", 9<<10))
	require.Equal(t, 401, got.Status, "a long token is only a wrong one")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /v1/users/details HTTP/1.1\r\nHost: x\r\nCookie: "+strings.Repeat("x", 20<<10)+"\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, 431, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"error":"body_too_large"`)
}

func TestWhatIsNoHTTP(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, newApp(t))
	for _, sent := range []string{"hello\r\n\r\n", "GET\r\n\r\n", "POST " + login + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		_, err = io.WriteString(conn, sent)
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, sent)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.Equal(t, 400, response.StatusCode, sent)
		require.Contains(t, string(body), "malformed_request")
		require.NoError(t, response.Body.Close())
		require.NoError(t, conn.Close())
	}
}

// A trailer stands behind all that a proxy has written: were it believed, a client would have a new address for each request.
func TestChunkedBodies_TrailersNameNoClientAndNothingFollows(t *testing.T) {
	t.Parallel()
	app := newApp(t, func(c *config.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	address, _ := serve(t, app)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"+
		"X-Forwarded-For: 203.0.113.9\r\n\r\n%x\r\n%s\r\n0\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"+
		"GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n\r\n", login, len(loginBody), loginBody)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
	require.True(t, response.Close)
	require.Equal(t, "203.0.113.9", app.core.called()[0].by.IP.String())
	_, err = in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "a proxy may have seen the end of the body elsewhere")
	require.Len(t, app.core.called(), 1)
}

func TestListenNamesTheSettingOfATakenAddress(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	address, _ := serve(t, app)
	err := newApp(t).Listen(t.Context(), address)
	require.ErrorContains(t, err, "GATEHOUSE_API_ADDR: "+address+" is taken")
	require.ErrorContains(t, newApp(t).Listen(t.Context(), "nonsense"), "GATEHOUSE_API_ADDR: ")
}

func TestRequestsUnderWayAreFinishedAtTheEnd(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.entered, app.core.release = make(chan struct{}), make(chan struct{})
	address, stop := serve(t, app)
	got := make(chan answer, 1)
	go func() { got <- overWire(t, address, "POST", login, loginBody) }() //nolint:testifylint // a failure ends the wait below
	<-app.core.entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 5*time.Second, time.Millisecond, "still accepting")
	close(app.core.release)
	require.Equal(t, 200, (<-got).Status)
	require.NoError(t, <-stopped)
}

// A load balancer that has not heard yet sends more, and is served; connections that are kept are let go of.
func TestADrainingServerTakesRequestsAndLetsConnectionsGo(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	app := newApp(t, func(c *config.Config) { c.DrainDelay = delay })
	address, stop := serve(t, app)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	get := func() *http.Response {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/docs", nil)
		require.NoError(t, err)
		response, err := transport.RoundTrip(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	require.False(t, get().Close, "a connection is kept")

	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool { return get().Close }, delay, time.Millisecond, "the kept connection is let go of")
	require.True(t, get().Close, "a new one is taken, and not kept")
	require.NoError(t, <-stopped)
	require.GreaterOrEqual(t, time.Since(began), delay)
	_, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.Error(t, err)
}
