//go:build unix

package e2e_test

import (
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// gateway stands before a Temporal as a provider's does: TLS, a certificate of each caller, an API key with each call.
type gateway struct {
	addr string
	// passed and refused count calls.
	passed, refused atomic.Int64
}

const gatewayName = "gatehouse.acme.tmprl.example"

func startGateway(t testing.TB, target string, server, clients *testkit.Authority, apiKey string) *gateway {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(server.Issue(t, 2, gatewayName))
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gateway{addr: listener.Addr().String()}
	clear := &http.Transport{Protocols: new(http.Protocols)}
	clear.Protocols.SetUnencryptedHTTP2(true)
	behind := &httputil.ReverseProxy{
		Transport: clear, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: target}) },
	}
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool(),
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+apiKey {
				g.refused.Add(1)
				w.WriteHeader(http.StatusForbidden)
				return
			}
			g.passed.Add(1)
			behind.ServeHTTP(w, r)
		}),
	}
	go func() { _ = s.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
	return g
}

// The whole system works with a Temporal behind TLS that wants a certificate and an API key, and with nothing less.
func TestTemporalBehindTLS_WithCertificateAndAPIKey(t *testing.T) {
	t.Parallel()
	const apiKey = "canary-api-key-of-temporal"
	server, clients := testkit.NewAuthority(t), testkit.NewAuthority(t)
	s := stacktest.Start(t, stacktest.Options{Env: quick()})
	g := startGateway(t, s.TemporalAddress, server, clients, apiKey)
	certFile, keyFile := clients.Issue(t, 3, "gatehouse")
	secured := map[string]string{
		"TEMPORAL_ADDRESS": g.addr, "GATEHOUSE_TEMPORAL_TLS_CA_FILE": server.File, "GATEHOUSE_TEMPORAL_TLS_SERVER_NAME": gatewayName,
		"GATEHOUSE_TEMPORAL_TLS_CERT_FILE": certFile, "GATEHOUSE_TEMPORAL_TLS_KEY_FILE": keyFile, "GATEHOUSE_TEMPORAL_API_KEY": apiKey,
	}
	worker := s.StartWorker(t, secured)
	api := s.StartAPI(t, secured)
	c := newClient(s.BaseURL)
	token := c.signUp(t, newEmail())
	c.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	require.Positive(t, g.passed.Load())
	require.Zero(t, g.refused.Load())
	require.NotContains(t, s.Command(t, secured, "keys", "codec", "prune-check"), "needed", "commands use the same connection")

	api.Stop(t, stopPatience)
	worker.Stop(t, stopPatience)
	served := g.passed.Load()
	for name, less := range map[string]map[string]string{
		"another key":    {"GATEHOUSE_TEMPORAL_API_KEY": "canary-of-another"},
		"no certificate": {"GATEHOUSE_TEMPORAL_TLS_CERT_FILE": "", "GATEHOUSE_TEMPORAL_TLS_KEY_FILE": ""},
		"no TLS": {
			"GATEHOUSE_TEMPORAL_TLS_CERT_FILE": "", "GATEHOUSE_TEMPORAL_TLS_KEY_FILE": "", "GATEHOUSE_TEMPORAL_TLS_CA_FILE": "",
			"GATEHOUSE_TEMPORAL_TLS_SERVER_NAME": "", "GATEHOUSE_TEMPORAL_API_KEY": "",
		},
	} {
		settings, _ := secondAPI(t)
		maps.Copy(settings, secured)
		maps.Copy(settings, less)
		other := s.LaunchAPI(t, settings)
		testkit.Eventually(t, patience, func() bool { return strings.Contains(other.Output(), "waiting for Temporal") }, "an API that is kept out: "+name)
		other.Kill()
		require.Equal(t, served, g.passed.Load(), name)
		requireCleanLog(t, other)
	}
	require.Positive(t, g.refused.Load(), "the other key was shown")
	requireCleanLog(t, api)
	requireCleanLog(t, worker)
	require.NotContains(t, api.Output()+worker.Output(), apiKey)
}
