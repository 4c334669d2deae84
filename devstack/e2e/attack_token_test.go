//go:build unix

package e2e_test

import (
	"bytes"
	"compress/flate"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// forge is a token that says header and claims, with a signature by sign over its first two parts.
func forge(t *testing.T, header, claims map[string]any, sign func(signed string) []byte) string {
	t.Helper()
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString([]byte(mustJSON(t, v))) }
	signed := part(header) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed))
}

// opened is the header and the claims of a token.
func opened(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		requireJSON(t, text, into)
	}
	return header, claims
}

func unsigned(string) []byte { return nil }

// with is a copy of m with one member changed; nil removes it.
func with(m map[string]any, name string, value any) map[string]any {
	changed := maps.Clone(m)
	if changed[name] = value; value == nil {
		delete(changed, name)
	}
	return changed
}

// ours signs as the system does.
func (s *system) ours(t *testing.T) func(string) []byte {
	t.Helper()
	seed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.stack.Setting("GATEHOUSE_SIGNING_KEY"), "dev:"))
	require.NoError(t, err)
	key := ed25519.NewKeyFromSeed(seed)
	return func(signed string) []byte { return ed25519.Sign(key, []byte(signed)) }
}

func tokenWithoutAlgorithm(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	header, claims := opened(t, token)
	require.NotEmpty(t, header["kid"])
	require.Equal(t, "EdDSA", header["alg"])
	sign := s.ours(t)
	s.requireAlive(t, forge(t, header, claims, sign)) // the forge works
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, "HS256", "HS512", "RS256", "ES256", "Ed25519", 5, []string{"EdDSA"}, "eddsa"} {
		forged := with(header, "alg", alg)
		s.requireDead(t, forge(t, forged, claims, unsigned))
		s.requireDead(t, forge(t, forged, claims, sign))
	}
	// The public key as the secret of a symmetric algorithm.
	jwks := s.want(t, http.StatusOK, call{Path: "/.well-known/jwks.json"})
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	requireJSON(t, jwks.Body, &set)
	public, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	require.NoError(t, err)
	require.NotContains(t, set.Keys[0], "d", "the private key is published")
	for _, secret := range [][]byte{public, []byte(set.Keys[0]["x"]), jwks.Body} {
		s.requireDead(t, forge(t, with(header, "alg", "HS512"), claims, func(signed string) []byte {
			mac := hmac.New(sha512.New, secret)
			_, _ = io.WriteString(mac, signed)
			return mac.Sum(nil)
		}))
	}
}

func tokenHeaderInjection(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	header, claims := opened(t, token)
	sign := s.ours(t)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	public, _ := stranger.Public().(ed25519.PublicKey)
	jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}
	strange := func(signed string) []byte { return ed25519.Sign(stranger, []byte(signed)) }

	s.requireDead(t, forge(t, header, claims, strange))
	for name, value := range map[string]any{
		"jku": "http://127.0.0.1:1/jwks.json", "x5u": "http://127.0.0.1:1/cert", "jwk": jwk, "x5c": []string{"AAAA"},
		"kid": base64.RawURLEncoding.EncodeToString(public),
	} {
		s.requireDead(t, forge(t, with(header, name, value), claims, strange))
	}
	for _, kid := range []any{"../../dev/null", "' OR 1=1 --", strings.Repeat("k", 8000), "\x00", nil, "", 7, []any{header["kid"]}, "\n" + fmt.Sprint(header["kid"])} {
		s.requireDead(t, forge(t, with(header, "kid", kid), claims, sign))
	}
	for name, values := range map[string][]any{
		"typ":  {"JWT", "rt+jwt", nil, 3},
		"crit": {[]string{"exp"}, []string{"b64"}},
	} {
		for _, value := range values {
			s.requireDead(t, forge(t, with(header, name, value), claims, sign))
		}
	}
	now := time.Now().Unix()
	for name, values := range map[string][]any{
		"exp": {nil, now - 60, 0, -1},
		"nbf": {now + 3600},
		"aud": {nil, "other", []string{}, "Gatehouse"},
		"iss": {nil, "https://evil.example", s.base + "/"},
		"sid": {nil, "", uuid.NewString(), uuid.Nil.String(), 1, fmt.Sprint(claims["sid"]) + "x", "' OR true --"},
	} {
		for _, value := range values {
			got := s.send(t, call{Path: pathMe, Token: forge(t, header, with(claims, name, value), sign)})
			require.Equal(t, http.StatusUnauthorized, got.Status, "%s: %v", name, value)
		}
	}
}

// A token that was good a moment ago is judged by the clock all the same, however often it was shown before.
func tokenExpiresInUse(t *testing.T, s *system) {
	header, claims := opened(t, s.signUp(t, newEmail()))
	const leeway = 30 * time.Second // for clocks that differ
	const left = 5 * time.Second
	ends := time.Now().Add(left - leeway)
	token := forge(t, header, with(claims, "exp", ends.Unix()), s.ours(t))
	shown := 0
	testkit.Eventually(t, patience, func() bool {
		got := s.raw(t, http.MethodGet, pathMe, "", "Authorization", "Bearer "+token)
		if got.ok() {
			shown++
			require.Less(t, time.Since(ends), leeway+hangs*crowding(), "shown after its end")
		}
		return got.Status == http.StatusUnauthorized
	}, "the token to end")
	require.Positive(t, shown, "it was good at first")
	s.requireDead(t, token)
}

// Point 7 of the security notes, and the matrix of kinds as far as there are kinds.
func secretsOfAnotherKind(t *testing.T, s *system) {
	email, registered := newEmail(), newEmail()
	token := s.signUp(t, email)
	refresh := s.authenticate(t, email, password).text(t, "refreshToken")
	s.register(t, registered, registered)
	mail := s.awaitMail(t, registered, 1)
	link := tokenOf(t, mail)
	_, claims := opened(t, token)
	key := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--name", "k", "--account", email))

	parts := strings.Split(token, ".")
	last := token[len(token)-1]
	next := string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[slices.Index([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), last)^1])
	for _, bearer := range []string{
		refresh, link, mail.Code, fmt.Sprint(claims["sid"]), fmt.Sprint(claims["sub"]), "ghk_" + token, refresh[4:],
		parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".", token + ".", "." + token, token + "=", token[:len(token)-1],
		token[:len(token)-1] + next, token + "." + parts[2], strings.ToUpper(token), token + "\t" + token, parts[1] + "." + parts[0] + "." + parts[2],
	} {
		s.requireDead(t, bearer)
	}
	for _, confirming := range []string{token, refresh, mail.Code, key, link[:len(link)-1], link + "A", strings.ToLower(link), link + "=", " " + link, fmt.Sprint(claims["sid"])} {
		s.refused(t, http.StatusBadRequest, "invalid_token",
			call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": confirming}})
	}
	for _, shown := range []string{token, refresh, link} {
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "", "X-Api-Key", shown).Status)
	}
	for _, scheme := range []string{token, "Basic " + token, "Token " + token, "Bearer", "Bearer  ", "BearerX " + token, "Bearer " + token + ", Bearer " + token} {
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "", "Authorization", scheme).Status, scheme)
	}
	for _, elsewhere := range []string{"?token=" + token, "?access_token=" + token, "?api_key=" + key} {
		require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe+elsewhere, "").Status)
	}
	require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "", "Cookie", "session_token="+token+"; Authorization=Bearer "+token).Status)
	s.want(t, http.StatusOK, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": link}}) // it was good all along
}

// JWT-07 and WEB-09: what is too long is refused for its length, and cheaply: it takes no longer than to refuse nothing at all, and
// leaves nothing in memory.
func hugeTokens(t *testing.T, s *system) {
	stacktest.Covers(t, "WEB-09")
	const tries, most = 5, 100
	// A busy machine makes any single try slow, and never the fastest of many.
	fastest := func(show func() answer, status int, name string, enough time.Duration) time.Duration {
		best := time.Hour
		for n := 0; n < tries || best >= enough && n < most; n++ {
			began := time.Now()
			require.Equal(t, status, show().Status, name)
			best = min(best, time.Since(began))
		}
		return best
	}
	nothing := fastest(func() answer { return s.raw(t, http.MethodGet, pathMe, "") }, http.StatusUnauthorized, "nothing", time.Hour)
	bound := 50*time.Millisecond + 10*nothing
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	var deflated bytes.Buffer
	squeezed, err := flate.NewWriter(&deflated, flate.BestCompression)
	require.NoError(t, err)
	_, err = squeezed.Write(make([]byte, 6<<20)) // six megabytes, in as many thousand bytes
	require.NoError(t, err)
	require.NoError(t, squeezed.Close())
	jwe := part(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`) + ".."
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"1 MB":         {strings.Repeat("a", 1<<20), 431},
		"100000 dots":  {strings.Repeat(".", 100_000), 431},
		"16000 dots":   {strings.Repeat(".", 16_000), 401},
		"12 kB":        {strings.Repeat("a", 12_000), 401}, // far longer than ours, yet no transport fault
		"deep header":  {part(strings.Repeat("[", 9_000)) + ".e30.c2ln", 401},
		"wide header":  {part(`{"alg":"EdDSA"`+strings.Repeat(`,"x":1`, 1_500)+`}`) + ".e30.c2ln", 401},
		"long number":  {part(`{"alg":"EdDSA","exp":1e`+strings.Repeat("9", 9_000)+`}`) + ".e30.c2ln", 401},
		"JWE":          {jwe + "AAAA." + strings.Repeat("A", 8000) + ".AAAA", 401},
		"JWE, a bomb":  {jwe + "AAAA." + base64.RawURLEncoding.EncodeToString(deflated.Bytes()) + ".AAAA", 401},
		"key of 12 kB": {"ghk_" + strings.Repeat("a", 12_000), 401},
	} {
		took := fastest(func() answer { return s.raw(t, http.MethodGet, pathMe, "", "Authorization", "Bearer "+c.token) }, c.status, name, bound)
		require.Less(t, took, bound, "%s; nothing takes %s", name, nothing)
	}
	for range tries { // ten megabytes are not even read: the answer comes before, or the connection ends
		got := s.wire(t, "GET "+pathMe+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+strings.Repeat("a", 10<<20)+"\r\n\r\n")
		require.Contains(t, []int{0, http.StatusRequestHeaderFieldsTooLarge}, got.Status)
	}
	s.requireModest(t)
}

func rightsAreRead(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	admin := func() any {
		return s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).object(t)["is_superuser"]
	}
	require.Equal(t, false, admin())
	s.db.change(t, `UPDATE accounts SET roles = '{user,admin}' WHERE email = $1`, email)
	require.Equal(t, true, admin())
	s.db.change(t, `UPDATE accounts SET roles = '{user}' WHERE email = $1`, email)
	require.Equal(t, false, admin())
	for _, flag := range []string{"is_active = false", "is_locked = true", "deleted_at = now()"} {
		s.db.change(t, `UPDATE accounts SET `+flag+` WHERE email = $1`, email)
		s.requireDead(t, token)
		s.db.change(t, `UPDATE accounts SET is_active = true, is_locked = false, deleted_at = NULL WHERE email = $1`, email)
		s.requireAlive(t, token)
	}
	s.db.change(t, `UPDATE sessions SET expires_at = now() WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	s.requireDead(t, token)
}
