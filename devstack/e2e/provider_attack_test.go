//go:build unix

package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const pathOAuthSignin = "/api/v1/auth/oauth-signin"

// PRE-05: an address that a provider does not vouch for opens nothing, is merged with nothing and makes nothing, whoever it
// belongs to. OAU-09: the same id at another provider is another person.
func TestAttack_PRE05_OAU09_AddressesAndIdsOfProviders(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "backend"))
	try := func(provider, subject, email string, more fields) answer {
		body := fields{"email": email, "provider": provider, "provider_account_id": subject}
		maps.Copy(body, more)
		return s.send(t, call{Path: pathOAuthSignin, Token: service, Body: body})
	}
	victim, squatted := newEmail(), newEmail()
	own := s.signUp(t, victim)
	squatter := s.register(t, strings.ToLower(newEmail()[5:25]), squatted)
	for _, provider := range []string{"google", "apple", "github"} {
		for _, vouched := range []fields{{"email_verified": false}, {"email_verified": true}, {}} {
			got := try(provider, "evil-"+provider, victim, vouched)
			require.Equal(t, http.StatusConflict, got.Status, "%s: %s", provider, got.Body)
			require.Equal(t, "account_exists", got.code())
		}
		// A fresh address, or one that somebody has registered unproven, needs the provider's word.
		for _, email := range []string{newEmail(), squatted} {
			got := try(provider, "evil-"+provider, email, fields{"email_verified": false})
			require.Equal(t, http.StatusForbidden, got.Status, "%s: %s", provider, got.Body)
			require.Equal(t, "email_not_verified", got.code())
		}
	}
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM linked_providers`))
	require.Equal(t, 2, s.db.number(t, `SELECT count(*) FROM accounts`))
	s.requireAlive(t, own)
	s.requireAlive(t, squatter)

	ids := map[string]string{}
	for _, provider := range []string{"google", "apple", "github"} {
		got := try(provider, "1234567890", newEmail(), fields{"email_verified": true})
		require.Equal(t, http.StatusOK, got.Status, "%s", got.Body)
		for other, id := range ids {
			require.NotEqual(t, id, got.text(t, "id"), "%s and %s", provider, other)
		}
		ids[provider] = got.text(t, "id")
	}
	for provider, id := range ids {
		got := try(provider, "1234567890", newEmail(), fields{"email_verified": false})
		require.Equal(t, http.StatusOK, got.Status, "known: the address is not asked about")
		require.Equal(t, id, got.text(t, "id"), provider)
	}
	for _, other := range []string{"1234567890 ", "01234567890", "1234567890\u200b", "１２３４５６７８９０"} {
		got := try("google", other, newEmail(), fields{"email_verified": true})
		if got.ok() {
			require.NotEqual(t, ids["google"], got.text(t, "id"), "%q is another id", other)
		}
	}
}

// PRE-05 for a link: what a provider says of an unproven address neither finds nor blocks the account that has it.
func TestAttack_PRE05_LinkWithAnUnprovenAddress(t *testing.T) {
	t.Parallel()
	issuer := startIssuer(t)
	s := startSystem(t, "GATEHOUSE_GOOGLE_ISSUER", issuer.URL, "GATEHOUSE_GOOGLE_CLIENT_ID", "client")
	victim, mallory := newEmail(), newEmail()
	theirs, mine := s.signUp(t, victim), s.signUp(t, mallory)
	for i, verified := range []string{"false", `"false"`, "null", `"yes"`, "1"} {
		issuer.userInfo.Store(fmt.Sprintf(`{"sub":"m-%d","email":%q,"email_verified":%s}`, i, victim, verified))
		got := s.send(t, call{Path: pathProviders, Token: mine, Body: fields{"provider": "google", "provider_account_id": fmt.Sprint("m-", i), "access_token": "ya29.x"}})
		require.Equal(t, http.StatusOK, got.Status, "it is only an outside account of the caller: %s", got.Body)
		require.Empty(t, s.want(t, http.StatusOK, call{Path: pathProviders, Token: theirs}).list(t))
		require.Equal(t, mallory, s.emailOf(t, mine))
		s.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathProviders + "/google", Token: mine})
	}
}

// issuer is an OpenID provider that can misbehave.
type issuer struct {
	*httptest.Server
	userInfo atomic.Value
	// mode, when set, answers everything instead.
	mode atomic.Pointer[http.HandlerFunc]
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.userInfo.Store(`{}`)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mode := i.mode.Load(); mode != nil {
			(*mode)(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"userinfo_endpoint":%q,"jwks_uri":%q,
				"id_token_signing_alg_values_supported":["RS256"]}`, i.URL, i.URL+"/authorize", i.URL+"/token", i.URL+"/userinfo", i.URL+"/jwks")
		default:
			_, _ = io.WriteString(w, i.userInfo.Load().(string))
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// OAU-13: a provider that is slow, endless or sends us elsewhere costs its own users a bounded wait, and nobody else anything.
func TestAttack_OAU13_ProvidersThatMisbehave(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		visits.Add(1)
		_, _ = io.WriteString(w, `{"sub":"1"}`)
	}))
	t.Cleanup(inside.Close)
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	})
	trickle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			if _, err := io.WriteString(w, " "); err != nil || r.Context().Err() != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("x", 10<<20))
	})
	elsewhere := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL+"/admin", http.StatusFound)
	})
	i := startIssuer(t)
	s := startSystem(t, "GATEHOUSE_GOOGLE_ISSUER", i.URL, "GATEHOUSE_GOOGLE_CLIENT_ID", "client", "GATEHOUSE_GITHUB_API_URL", i.URL, "GATEHOUSE_GITHUB_CLIENT_ID", "client")
	email := newEmail()
	token := s.signUp(t, email)
	s = s.tolerant(t) // 503 is what the test wants
	connect := func(provider string) call {
		return call{Path: pathProviders, Token: token, Body: fields{"provider": provider, "provider_account_id": "1", "access_token": "x"}}
	}
	for name, mode := range map[string]http.HandlerFunc{"slow": slow, "trickle": trickle, "endless": endless, "elsewhere": elsewhere} {
		i.mode.Store(&mode)
		calls := []call{connect("google"), connect("github"), {Path: pathLinked + "/initiate", Token: token, Body: fields{"provider": "google"}}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			atOnce(30, func(n int) {
				started := time.Now()
				got, err := s.try(t.Context(), calls[n%len(calls)])
				if err != nil || got.Status != http.StatusServiceUnavailable || time.Since(started) > 6*time.Second*crowding() {
					t.Errorf("%s: %d %v after %s: %s", name, got.Status, err, time.Since(started), got.Body)
				}
			})
		}()
		// Meanwhile everybody else signs in as ever.
		for range 3 {
			took := calmly(func() { require.Equal(t, http.StatusOK, s.login(t, email, password).Status, name) })
			require.Less(t, took, hangs*crowding(), name)
			s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
		}
		<-done
	}
	require.Zero(t, visits.Load(), "a redirect was followed")
	s.requireModest(t)
	i.mode.Store(nil)
	i.userInfo.Store(`{"sub":"1","email":"a@example.com","email_verified":true}`)
	s.want(t, http.StatusOK, connect("google"))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM linked_providers`))
}
