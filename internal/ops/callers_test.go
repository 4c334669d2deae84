package ops_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/ops"
)

func asking(t *testing.T, set func(*http.Request)) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/decode", nil)
	set(r)
	return r
}

func TestPasswordOfOperators(t *testing.T) {
	t.Parallel()
	basic := func(user, password string) *http.Request {
		return asking(t, func(r *http.Request) { r.SetBasicAuth(user, password) })
	}
	c := ops.NewCallers(ops.CallerOptions{Password: "right", Anybody: true})
	who, ok := c.Caller(basic("codec", "right"))
	require.True(t, ok)
	require.Equal(t, "codec", who)
	require.Contains(t, c.Challenge(), "Basic")
	for _, r := range []*http.Request{
		asking(t, func(*http.Request) {}), basic("codec", "wrong"), basic("codec", ""), basic("admin", "right"), basic("code", "c:right"),
		asking(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer right") }),
	} {
		_, ok := c.Caller(r)
		require.False(t, ok, r.Header)
	}
}

func TestNobodyIsLetInByMistake(t *testing.T) {
	t.Parallel()
	for _, r := range []*http.Request{
		asking(t, func(*http.Request) {}),
		asking(t, func(r *http.Request) { r.SetBasicAuth("codec", "") }),
		asking(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }),
	} {
		_, ok := ops.NewCallers(ops.CallerOptions{}).Caller(r)
		require.False(t, ok, r.Header)
		who, ok := ops.NewCallers(ops.CallerOptions{Anybody: true}).Caller(r)
		require.True(t, ok)
		require.Equal(t, "anybody", who)
	}
}

func TestOperatorsOfAnOpenIDProvider(t *testing.T) {
	t.Parallel()
	m, err := mockoidc.Run()
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown() })
	strange, err := mockoidc.RandomKeypair(2048)
	require.NoError(t, err)
	now := time.Now()
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"iss": m.Issuer(), "aud": []string{"codec", "ui"}, "sub": "operator-7", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		change(c)
		return c
	}
	bearer := func(k *mockoidc.Keypair, change func(jwt.MapClaims)) *http.Request {
		token, err := k.SignJWT(claims(change))
		require.NoError(t, err)
		return asking(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	}
	c := ops.NewCallers(ops.CallerOptions{Issuer: m.Issuer(), Audience: "codec", Anybody: true})
	require.Contains(t, c.Challenge(), "Bearer")
	who, ok := c.Caller(bearer(m.Keypair, func(jwt.MapClaims) {}))
	require.True(t, ok)
	require.Equal(t, "operator-7", who)
	for name, r := range map[string]*http.Request{
		"nothing":          asking(t, func(*http.Request) {}),
		"a password":       asking(t, func(r *http.Request) { r.SetBasicAuth("codec", "") }),
		"no token":         asking(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }),
		"another audience": bearer(m.Keypair, func(c jwt.MapClaims) { c["aud"] = "ui" }),
		"another issuer":   bearer(m.Keypair, func(c jwt.MapClaims) { c["iss"] = "https://evil.example" }),
		"expired":          bearer(m.Keypair, func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Minute).Unix() }),
		"nobody's":         bearer(m.Keypair, func(c jwt.MapClaims) { delete(c, "sub") }),
		"a strange key":    bearer(strange, func(jwt.MapClaims) {}),
	} {
		_, ok := c.Caller(r)
		require.False(t, ok, name)
	}
}

// A provider that is down keeps operators out, says so in the log, and is asked again when the next one comes.
func TestOpenIDProviderThatComesLater(t *testing.T) {
	t.Parallel()
	m, err := mockoidc.NewServer(nil)
	require.NoError(t, err)
	door := httptest.NewUnstartedServer(nil)
	address := door.Listener.Addr().String()
	var log bytes.Buffer
	c := ops.NewCallers(ops.CallerOptions{Issuer: "http://" + address + "/oidc", Audience: "codec", Log: slog.New(slog.NewJSONHandler(&log, nil))})
	token, err := m.Keypair.SignJWT(jwt.MapClaims{
		"iss": "http://" + address + "/oidc", "aud": "codec", "sub": "operator-7", "exp": time.Now().Add(time.Hour).Unix(),
	})
	require.NoError(t, err)
	r := asking(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	require.NoError(t, door.Listener.Close())
	_, ok := c.Caller(r)
	require.False(t, ok)
	require.Contains(t, log.String(), "cannot be asked")
	require.NotContains(t, log.String(), token)

	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	require.NoError(t, m.Start(again, nil))
	t.Cleanup(func() { _ = m.Shutdown() })
	who, ok := c.Caller(r)
	require.True(t, ok)
	require.Equal(t, "operator-7", who)
}
