package identity_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/providers/identity"
)

// handClock is moved by hand.
type handClock struct{ moved atomic.Int64 }

func (c *handClock) Now() time.Time {
	return account.SystemClock{}.Now().Add(time.Duration(c.moved.Load()))
}

func (c *handClock) pass(d time.Duration) { c.moved.Add(int64(d)) }

// keyIssuer publishes the keys of a pair, or answers status if that is not 0.
type keyIssuer struct {
	url    string
	pair   atomic.Pointer[mockoidc.Keypair]
	status atomic.Int32
	asked  atomic.Int32
}

func newPair(t *testing.T) *mockoidc.Keypair {
	t.Helper()
	pair, err := mockoidc.RandomKeypair(2048)
	require.NoError(t, err)
	return pair
}

func startKeyIssuer(t *testing.T) *keyIssuer {
	t.Helper()
	i := &keyIssuer{}
	i.pair.Store(newPair(t))
	server, _ := fakeIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		if status := i.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		keys, err := i.pair.Load().JWKS()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(keys)
	})
	i.url = server.URL
	return i
}

func (i *keyIssuer) token(t *testing.T, by *mockoidc.Keypair, now time.Time) string {
	t.Helper()
	token, err := by.SignJWT(jwt.MapClaims{"iss": i.url, "aud": "client", "sub": "sub-1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	require.NoError(t, err)
	return token
}

func (i *keyIssuer) provider(t *testing.T, clock account.Clock) identity.Provider {
	t.Helper()
	p, err := identity.NewAt(identity.Settings{GoogleIssuer: i.url, GoogleClientID: "client"}, clock).Of(account.ProviderGoogle)
	require.NoError(t, err)
	return p
}

// F-28: keys that cannot be had are no fault of the token. They are asked for again, and known ones used for a day.
func TestF28_Verify_KeysAway(t *testing.T) {
	t.Parallel()
	i, clock := startKeyIssuer(t), &handClock{}
	p := i.provider(t, clock)
	verify := func() error {
		_, err := p.Verify(t.Context(), i.token(t, i.pair.Load(), clock.Now()))
		return err
	}
	i.status.Store(http.StatusBadGateway)
	for range 20 {
		require.ErrorIs(t, verify(), account.ErrUnavailable)
	}
	require.EqualValues(t, 1, i.asked.Load(), "a server that is down is not asked by every request")
	i.status.Store(0)
	clock.pass(2 * time.Second)
	require.NoError(t, verify())

	i.status.Store(http.StatusBadGateway)
	clock.pass(23 * time.Hour)
	require.NoError(t, verify(), "known keys need nobody")
	testkit.Eventually(t, 5*time.Second, func() bool { return i.asked.Load() == 3 }, "the keys to be asked for beside the request")
	clock.pass(2 * time.Hour)
	require.ErrorIs(t, verify(), account.ErrUnavailable, "a day old")
	i.status.Store(0)
	clock.pass(2 * time.Second)
	require.NoError(t, verify())
}

// F-28: a replaced key is taken at once, the one before it for an hour at most, and made-up ones cost the issuer next to nothing.
func TestF28_Verify_KeyReplaced(t *testing.T) {
	t.Parallel()
	i, clock := startKeyIssuer(t), &handClock{}
	p := i.provider(t, clock)
	first, made := i.pair.Load(), newPair(t)
	verify := func(by *mockoidc.Keypair) error {
		_, err := p.Verify(t.Context(), i.token(t, by, clock.Now()))
		return err
	}
	require.NoError(t, verify(first))
	clock.pass(time.Minute)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, err := p.Verify(t.Context(), i.token(t, made, clock.Now())); err == nil {
				t.Error("a made-up key was taken")
			}
		})
	}
	all.Wait()
	require.ErrorIs(t, verify(made), account.ErrInvalidProviderToken)
	require.LessOrEqual(t, i.asked.Load(), int32(2), "unknown keys are asked for once in a while")

	clock.pass(time.Minute)
	i.pair.Store(newPair(t))
	require.NoError(t, verify(i.pair.Load()), "the new key is taken with its first token")
	require.ErrorIs(t, verify(first), account.ErrInvalidProviderToken)

	withdrawn := i.pair.Swap(newPair(t))
	clock.pass(61 * time.Minute)
	_ = verify(withdrawn)
	testkit.Eventually(t, 5*time.Second, func() bool { return verify(withdrawn) != nil }, "what was withdrawn to be forgotten")

	// What is replaced while nobody can be asked is nobody's fault.
	clock.pass(time.Minute)
	i.status.Store(http.StatusBadGateway)
	require.ErrorIs(t, verify(made), account.ErrUnavailable)
	require.NoError(t, verify(i.pair.Load()))
}
