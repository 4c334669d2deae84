package durable_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
)

// seen is what the server of a test learnt of its callers.
type seen struct {
	mu            sync.Mutex
	serials, keys []string
	open          []net.Conn
}

func (s *seen) add(to *[]string, values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*to = append(*to, values...)
}

func (s *seen) all(of *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*of)
}

// cut ends all connections, as a server does that restarts.
func (s *seen) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
}

// remembering is a listener whose connections can be cut.
type remembering struct {
	net.Listener
	met *seen
}

func (l remembering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.met.mu.Lock()
		l.met.open = append(l.met.open, conn)
		l.met.mu.Unlock()
	}
	return conn, err
}

// serveTLS is a Temporal behind TLS whose certificate is for temporal.example. Callers need a certificate of clients,
// unless that is nil.
func serveTLS(t *testing.T, by, clients *testkit.Authority) (address string, met *seen) {
	t.Helper()
	certFile, keyFile := by.Issue(t, 2, "temporal.example")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	met = &seen{}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
		config.VerifyConnection = func(s tls.ConnectionState) error {
			met.add(&met.serials, s.PeerCertificates[0].SerialNumber.String())
			return nil
		}
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.UnaryInterceptor(
		func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			met.add(&met.keys, md.Get("authorization")...)
			return next(ctx, in)
		}))
	healthy := health.NewServer()
	healthy.SetServingStatus("temporal.api.workflowservice.v1.WorkflowService", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, healthy)
	workflowservice.RegisterWorkflowServiceServer(server, &frontend{})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(remembering{listener, met}) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String(), met
}

func dialSecured(t *testing.T, address string, s durable.Security) (*durable.Client, error) {
	t.Helper()
	c, err := durable.Dial(durable.Options{
		Address: address, Namespace: "test", Keyring: newKeyring(t), Security: s,
		Logger: slog.New(slog.DiscardHandler), Timeout: 2 * time.Second,
	})
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestTemporalBehindTLS(t *testing.T) {
	t.Parallel()
	ca, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	address, met := serveTLS(t, ca, nil)
	for name, s := range map[string]durable.Security{
		"in the clear":           {},
		"unknown authority":      {TLSServerName: "temporal.example"},
		"another authority":      {TLSServerName: "temporal.example", TLSCAFile: other.File},
		"not the address' host":  {TLSCAFile: ca.File},
		"another name":           {TLSCAFile: ca.File, TLSServerName: "temporal.evil.example"},
		"an API key trusts none": {APIKey: "canary"},
	} {
		c, err := dialSecured(t, address, s)
		require.NoError(t, err, name)
		require.Error(t, c.Healthy(t.Context()), name)
	}
	require.Empty(t, met.all(&met.keys), "no key went to a server that is not trusted")

	c, err := dialSecured(t, address, durable.Security{TLSCAFile: ca.File, TLSServerName: "temporal.example", APIKey: "canary"})
	require.NoError(t, err)
	require.NoError(t, c.Healthy(t.Context()))
	require.Contains(t, met.all(&met.keys), "Bearer canary")
}

func TestAPIKeyNeverTravelsInTheClear(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	heard := make(chan byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		first := make([]byte, 1)
		if _, err := conn.Read(first); err == nil {
			heard <- first[0]
		}
	}()
	c, err := dialSecured(t, listener.Addr().String(), durable.Security{APIKey: "canary"})
	require.NoError(t, err)
	require.Error(t, c.Healthy(t.Context()))
	const handshake = 0x16
	require.Equal(t, byte(handshake), <-heard, "TLS begins before anything is said")
}

func TestTemporalAsksForOurCertificate(t *testing.T) {
	t.Parallel()
	ca, clients, other := testkit.NewAuthority(t), testkit.NewAuthority(t), testkit.NewAuthority(t)
	address, met := serveTLS(t, ca, clients)
	good := durable.Security{TLSCAFile: ca.File, TLSServerName: "temporal.example"}
	c, err := dialSecured(t, address, good)
	require.NoError(t, err)
	require.Error(t, c.Healthy(t.Context()), "without a certificate")

	stranger := good
	stranger.TLSCertFile, stranger.TLSKeyFile = other.Issue(t, 3, "gatehouse")
	c, err = dialSecured(t, address, stranger)
	require.NoError(t, err)
	require.Error(t, c.Healthy(t.Context()), "with one of a strange authority")

	good.TLSCertFile, good.TLSKeyFile = clients.Issue(t, 10, "gatehouse")
	c, err = dialSecured(t, address, good)
	require.NoError(t, err)
	require.NoError(t, c.Healthy(t.Context()))
	require.Equal(t, []string{"10"}, met.all(&met.serials))

	// The files are replaced, one after the other. Whoever connects meanwhile shows the old certificate, then the new one.
	renewedCert, renewedKey := clients.Issue(t, 11, "gatehouse")
	require.NoError(t, os.Rename(renewedCert, good.TLSCertFile))
	again, err := dialSecured(t, address, durable.Security{TLSCertFile: good.TLSCertFile, TLSKeyFile: good.TLSKeyFile})
	require.ErrorContains(t, err, "GATEHOUSE_TEMPORAL_TLS_KEY_FILE", "at start the files must fit")
	require.Nil(t, again)
	reconnect(t, c, met)
	require.Equal(t, []string{"10", "10"}, met.all(&met.serials))
	require.NoError(t, os.Rename(renewedKey, good.TLSKeyFile))
	reconnect(t, c, met)
	require.Equal(t, []string{"10", "10", "11"}, met.all(&met.serials))
}

// reconnect cuts the client's connection and waits for the next.
func reconnect(t *testing.T, c *durable.Client, met *seen) {
	t.Helper()
	before := len(met.all(&met.serials))
	met.cut()
	testkit.Eventually(t, 10*time.Second, func() bool {
		return c.Healthy(t.Context()) == nil && len(met.all(&met.serials)) > before
	}, "the client connects again")
}

func TestFaultyTLSFilesAreNamedAtStart(t *testing.T) {
	t.Parallel()
	ca := testkit.NewAuthority(t)
	certFile, keyFile := ca.Issue(t, 4, "gatehouse")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for setting, s := range map[string]durable.Security{
		"GATEHOUSE_TEMPORAL_TLS_CA_FILE: open":             {TLSCAFile: "/nowhere/ca.pem"},
		"GATEHOUSE_TEMPORAL_TLS_CA_FILE: " + empty:         {TLSCAFile: empty},
		"GATEHOUSE_TEMPORAL_TLS_KEY_FILE: open":            {TLSCertFile: certFile, TLSKeyFile: "/nowhere/tls.key"},
		"GATEHOUSE_TEMPORAL_TLS_KEY_FILE: tls: failed":     {TLSCertFile: certFile, TLSKeyFile: empty},
		"GATEHOUSE_TEMPORAL_TLS_KEY_FILE: open /nowhere/c": {TLSCertFile: "/nowhere/c", TLSKeyFile: keyFile},
	} {
		_, err := dialSecured(t, "127.0.0.1:1", s)
		require.ErrorContains(t, err, setting)
	}
}
