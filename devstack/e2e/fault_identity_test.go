//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// keyIssuer is an OpenID provider that does nothing but publish its keys, and fails by script.
type keyIssuer struct {
	url  string
	pair atomic.Pointer[mockoidc.Keypair]
	// away answers 502, silent never.
	away, silent atomic.Bool
	asked        atomic.Int32
}

func startKeyIssuer(t *testing.T) *keyIssuer {
	t.Helper()
	i := &keyIssuer{}
	i.pair.Store(newPair(t))
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case i.silent.Load():
			select {
			case <-r.Context().Done():
			case <-over:
			}
		case i.away.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/keys":
			keys, err := i.pair.Load().JWKS()
			if err != nil {
				return
			}
			_, _ = w.Write(keys)
		default:
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`, i.url, i.url+"/a", i.url+"/t", i.url+"/keys")
		}
		if r.URL.Path == "/keys" {
			i.asked.Add(1)
		}
	}))
	t.Cleanup(func() { close(over); server.Close() })
	i.url = server.URL
	return i
}

func newPair(t testing.TB) *mockoidc.Keypair {
	t.Helper()
	pair, err := mockoidc.RandomKeypair(2048)
	require.NoError(t, err)
	return pair
}

// link is D26 with a token of somebody that a key has signed.
func (i *keyIssuer) link(t testing.TB, token string, by *mockoidc.Keypair) call {
	t.Helper()
	signed, err := by.SignJWT(jwt.MapClaims{
		"iss": i.url, "aud": "client", "sub": uuid.NewString(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": uuid.NewString(),
	})
	require.NoError(t, err)
	return call{Path: pathLinkOAuth, Token: token, Body: fields{"provider": "GOOGLE", "idToken": signed}}
}

// F-28: while Google's keys cannot be had, those that are known go on; what they do not open is 503 within a bounded time and asks
// next to nobody; passwords have nothing to do with it.
func TestFault_F28_KeysOfTheProvider(t *testing.T) {
	t.Parallel()
	i := startKeyIssuer(t)
	s := breakable(t, stacktest.Options{}, "GATEHOUSE_GOOGLE_ISSUER", i.url, "GATEHOUSE_GOOGLE_CLIENT_ID", "client")
	email := newEmail()
	people := []string{s.signUp(t, email), s.signUp(t, newEmail()), s.signUp(t, newEmail()), s.signUp(t, newEmail())}
	s.want(t, http.StatusOK, i.link(t, people[0], i.pair.Load()))
	next := newPair(t)
	s.withstand(t, fault{
		strike: func() { i.silent.Store(true) },
		meanwhile: func() {
			s.want(t, http.StatusOK, i.link(t, people[1], i.pair.Load()))
			testkit.Eventually(t, patience, func() bool { // the keys were asked for a moment ago, and are not again so soon
				began := time.Now()
				got := s.send(t, i.link(t, people[2], next))
				require.Less(t, time.Since(began), 4*time.Second*crowding(), "a silent provider is given two")
				return got.Status == http.StatusServiceUnavailable && got.Header.Get("Retry-After") != ""
			}, "the provider to be asked for the new key")
			before, began := i.asked.Load(), time.Now()
			took := calmly(func() { require.Equal(t, http.StatusOK, s.authenticate(t, email, password).Status) })
			require.Less(t, took, 2*time.Second*crowding())
			i.silent.Store(false)
			i.away.Store(true)
			atOnce(100, func(int) {
				got, err := s.try(t.Context(), i.link(t, people[3], next))
				if err != nil || got.Status != http.StatusServiceUnavailable && got.Status != http.StatusTooManyRequests {
					t.Errorf("%d %s %v", got.Status, got.Body, err)
				}
			})
			stacktest.Called(t, 100)
			require.LessOrEqual(t, i.asked.Load()-before, int32(2+time.Since(began)/time.Second), "the provider is not flooded")
			outage(t)
		},
		heal:    func() { i.pair.Store(next); i.away.Store(false) },
		answers: true,
	})
	retried := retry(t, s.client, i.link(t, people[2], next))
	require.Equal(t, http.StatusOK, retried.Status, "%s", retried.Body)
}
