package webhook_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"gatehouse/providers/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// secret, id, at, body and signature are the published example of Standard Webhooks.
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	body      = `{"test": 2432232314}`
	signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var at = time.Unix(1614265330, 0)

type seen struct {
	header http.Header
	body   string
}

// receiver answers with answer and keeps what it has seen.
func receiver(t *testing.T, answer http.HandlerFunc) (url string, got chan seen) {
	t.Helper()
	got = make(chan seen, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		got <- seen{r.Header.Clone(), string(content)}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func open(t *testing.T, o webhook.Options) *webhook.Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	c := webhook.New(o)
	t.Cleanup(c.Close)
	return c
}

func call(url string, secrets ...string) webhook.Call {
	return webhook.Call{URL: url, ID: id, Body: []byte(body), Secrets: append([]string{secret}, secrets...), At: at}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestPost_SignsAsThePublishedExample(t *testing.T) {
	t.Parallel()
	c := open(t, webhook.Options{Local: true})
	url, got := receiver(t, status(http.StatusNoContent))
	answer, err := c.Post(t.Context(), call(url))
	require.NoError(t, err)
	require.True(t, answer.Took())
	s := <-got
	require.Equal(t, body, s.body)
	require.Equal(t, id, s.header.Get("webhook-id"))
	require.Equal(t, "1614265330", s.header.Get("webhook-timestamp"))
	require.Equal(t, signature, s.header.Get("webhook-signature"))
	require.Equal(t, "application/json", s.header.Get("Content-Type"))
	require.Equal(t, "Gatehouse-Webhooks/1", s.header.Get("User-Agent"))
}

// While a secret is changed, whoever knows either one can verify.
func TestPost_TwoSecrets(t *testing.T) {
	t.Parallel()
	c := open(t, webhook.Options{Local: true})
	url, got := receiver(t, status(http.StatusOK))
	const other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	now := call(url, other)
	now.At = time.Now()
	_, err := c.Post(t.Context(), now)
	require.NoError(t, err)
	s := <-got
	for _, known := range []string{secret, other} {
		hook, err := standardwebhooks.NewWebhook(known)
		require.NoError(t, err)
		require.NoError(t, hook.Verify([]byte(s.body), s.header))
		require.Error(t, hook.Verify([]byte(s.body+" "), s.header))
	}
}

func TestPost_Answers(t *testing.T) {
	t.Parallel()
	c := open(t, webhook.Options{Local: true})
	for _, s := range []struct {
		status int
		after  string
		took   bool
		wait   time.Duration
	}{
		{200, "", true, 0},
		{202, "", true, 0},
		{204, "", true, 0},
		{302, "", false, 0},
		{410, "", false, 0},
		{429, "7", false, 7 * time.Second},
		{503, at.Add(time.Minute).UTC().Format(http.TimeFormat), false, time.Minute},
		{503, at.Add(-time.Minute).UTC().Format(http.TimeFormat), false, 0},
		{503, "-5", false, 0},
		{500, "soon", false, 0},
	} {
		url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			if s.after != "" {
				w.Header().Set("Retry-After", s.after)
			}
			w.WriteHeader(s.status)
		})
		answer, err := c.Post(t.Context(), call(url))
		require.NoError(t, err, "a redirect is not followed either")
		require.Equal(t, webhook.Answer{Status: s.status, RetryAfter: s.wait}, answer)
		require.Equal(t, s.took, answer.Took())
	}
}

func TestPost_NoAnswer(t *testing.T) {
	t.Parallel()
	secretPath := "/hook/canary-token"
	slow, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	closed, _ := receiver(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	plain, _ := receiver(t, status(200))
	own := httptest.NewUnstartedServer(status(200))
	own.Config.ErrorLog = nil
	own.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	own.StartTLS()
	t.Cleanup(own.Close)
	c := open(t, webhook.Options{Local: true, Timeout: 300 * time.Millisecond})
	for url, want := range map[string]string{
		slow:                     "webhook: no answer in time",
		closed:                   "webhook: it hung up",
		"http://127.0.0.1:1":     "webhook: connection refused",
		own.URL:                  "webhook: the certificate is not trusted",
		"http://nowhere.invalid": "webhook: the name cannot be resolved",
		strings.Replace(plain, "http:", "https:", 1): "webhook: the exchange failed",
	} {
		_, err := c.Post(t.Context(), call(url+secretPath))
		require.EqualError(t, err, want, url)
		require.NotContains(t, err.Error(), "canary")
	}
	_, err := c.Post(t.Context(), webhook.Call{URL: plain, ID: id, Secrets: []string{"whsec_$"}, At: at})
	require.EqualError(t, err, "webhook: the secret cannot be read")
}

// What a name stands for is judged when it is dialled: localhost passes every check of the address as it is written.
func TestPost_ReachesNoPrivateAddress(t *testing.T) {
	t.Parallel()
	url, got := receiver(t, status(200))
	c := open(t, webhook.Options{Timeout: 5 * time.Second})
	for _, u := range []string{
		url, "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://10.1.2.3/", "https://192.168.0.1/",
		"https://169.254.169.254/latest/meta-data", "https://[fe80::1]/", "https://[fd00::1]/", "https://0.0.0.0/", "https://100.64.0.1/",
		"https://[64:ff9b::7f00:1]/", "https://localhost/", "https://192.0.2.1:22/",
	} {
		require.NotEmpty(t, c.URLFault(u), u)
		_, err := c.Post(t.Context(), call(u))
		require.EqualError(t, err, "webhook: the address is not allowed", u)
	}
	// A name that stands for ourselves by the time it is dialled, whatever it stood for when it was added.
	named := open(t, webhook.Options{Resolver: resolver(t, [4]byte{127, 0, 0, 1})})
	require.Empty(t, named.URLFault("https://hooks.example.com:8443/"))
	_, err := named.Post(t.Context(), call("https://hooks.example.com:8443/"))
	require.EqualError(t, err, "webhook: the address is not allowed")
	require.Empty(t, got)

	inside := open(t, webhook.Options{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	require.Empty(t, inside.URLFault("https://127.0.0.1:8443/"))
	_, err = inside.Post(t.Context(), call("https://127.0.0.1:8443/"))
	require.EqualError(t, err, "webhook: connection refused", "it was dialled")
	require.NotEmpty(t, inside.URLFault("https://10.1.2.3/"))
}

// resolver finds the same address for every name.
func resolver(t *testing.T, address [4]byte) *net.Resolver {
	t.Helper()
	server, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() {
		defer close(done)
		packet := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: address},
				}}
			}
			if reply, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
