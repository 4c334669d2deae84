package identity_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

// No text is somebody's ID token but the one that the issuer signed for us: not another spelling of it with other claims.
func FuzzIDToken(f *testing.F) {
	m, err := mockoidc.Run()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = m.Shutdown() })
	sign := func(audience string) string {
		token, err := m.Keypair.SignJWT(jwt.MapClaims{
			"iss": m.Issuer(), "aud": audience, "sub": "sub-1", "email": "a@gmail.example", "email_verified": "true",
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
		if err != nil {
			f.Fatal(err)
		}
		return token
	}
	good := sign("client")
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, sign("other"), "", "..", good + ".", good + "=", parts[0] + "." + parts[1] + ".", "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		good[:len(good)-1], good + "\n", strings.Repeat(".", 10_000), `{"payload":"","signatures":[]}`, parts[0] + "..." + parts[2],
	} {
		f.Add(seed)
	}
	p, err := identity.New(identity.Settings{GoogleIssuer: m.Issuer(), GoogleClientID: "client"}).Of(account.ProviderGoogle)
	if err != nil {
		f.Fatal(err)
	}
	want, err := p.Verify(f.Context(), good)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := p.Verify(t.Context(), token)
		if err == nil && (got.Identity != want.Identity || got.Content != want.Content) {
			t.Fatalf("%q is of %+v", token, got)
		}
		if err != nil && len(token) > 20 && strings.Contains(fmt.Sprint(err, account.AsError(err)), token) {
			t.Fatalf("the fault quotes the token: %v", err)
		}
	})
}

// Whatever a provider answers about an access token, it is somebody with a subject or a fault of the catalogue.
func FuzzOwner(f *testing.F) {
	for _, seed := range []string{
		`{"id":5,"login":"ada","email":"a@example.com"}`, `{"id":0}`, `{"id":1e300}`, `null`, `[]`, ``, "{\"id\":1,\"name\":\"\xff\"}", `{"id":1,"name":"\u0000"}`,
		strings.Repeat("[", 20_000), `{"id":9223372036854775807}`,
	} {
		f.Add(200, []byte(seed))
	}
	f.Add(401, []byte(`{"message":"Bad credentials"}`))
	f.Add(302, []byte(``))
	var status atomic.Int64
	var content atomic.Pointer[[]byte]
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write(*content.Load())
	}))
	f.Cleanup(vendor.Close)
	p, err := identity.New(identity.Settings{GitHubAPIURL: vendor.URL, GitHubClientID: "client"}).Of(account.ProviderGitHub)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		if code < 200 || code > 599 {
			return
		}
		status.Store(int64(code))
		content.Store(&body)
		who, err := p.Owner(t.Context(), "gho_secret-token")
		if err == nil {
			if who.Subject == "" || who.Subject == "0" || code != http.StatusOK {
				t.Fatalf("%d %q is %+v", code, body, who)
			}
			return
		}
		if kind := account.AsError(err).Kind; kind == account.Internal || strings.Contains(err.Error(), "secret-token") {
			t.Fatalf("%d %q: %v of kind %v", code, body, err, kind)
		}
	})
}
