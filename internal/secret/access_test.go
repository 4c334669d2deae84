package secret_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

const issuer = "https://gatehouse.example"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type clockAt time.Time

func (c clockAt) Now() time.Time { return time.Time(c) }

// mint is a forger who may know our signing key, to show that each single flaw is enough.
type mint struct {
	tokens *secret.AccessTokens
	key    ed25519.PrivateKey
	kid    string
}

func newMint(t testing.TB) mint {
	t.Helper()
	return mintOf(t, secret.GenerateKey())
}

func mintOf(t testing.TB, seed string) mint {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(seed)
	require.NoError(t, err)
	tokens, err := secret.NewAccessTokens(seed, issuer, clockAt(noon))
	require.NoError(t, err)
	m := mint{tokens: tokens, key: ed25519.NewKeyFromSeed(raw)}
	m.kid = m.published(t)["kid"]
	return m
}

func (m mint) published(t testing.TB) map[string]string {
	t.Helper()
	text, err := m.tokens.JWKS()
	require.NoError(t, err)
	var set struct{ Keys []map[string]string }
	require.NoError(t, json.Unmarshal(text, &set))
	require.Len(t, set.Keys, 1)
	return set.Keys[0]
}

func (m mint) header() map[string]any {
	return map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": m.kid}
}

func (m mint) claims() map[string]any {
	return map[string]any{
		"sid": uuid.NewString(), "sub": uuid.NewString(), "iss": issuer, "aud": []string{"gatehouse"},
		"iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
	}
}

func part(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}

func (m mint) sign(header, claims map[string]any) string {
	signed := part(header) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(m.key, []byte(signed)))
}

func with(base map[string]any, name string, value any) map[string]any {
	c := maps.Clone(base)
	c[name] = value
	if value == nil {
		delete(c, name)
	}
	return c
}

func TestAccessTokenNamesItsSession(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	session, subject := uuid.New(), uuid.New()
	token, err := m.tokens.Sign(session, subject, noon, noon.Add(time.Hour))
	require.NoError(t, err)
	again, err := m.tokens.Sign(session, subject, noon, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, token, again, "a repeated answer repeats the token")
	require.Less(t, len(token), 500)
	got, err := m.tokens.Session(token)
	require.NoError(t, err)
	require.Equal(t, session, got)
	other, err := m.tokens.Sign(uuid.New(), subject, noon, noon.Add(time.Hour))
	require.NoError(t, err)
	require.NotEqual(t, token, other)

	_, err = m.tokens.Session(m.sign(m.header(), m.claims()))
	require.NoError(t, err, "the forger of these tests signs as we do")
	key := m.published(t)
	require.Equal(t, "OKP", key["kty"])
	require.Equal(t, base64.RawURLEncoding.EncodeToString(m.key.Public().(ed25519.PublicKey)), key["x"])
	require.NotContains(t, key, "d", "the private part is not published")
}

func TestF17_AccessTokensAndClocks(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	for name, c := range map[string]struct {
		issued, expires time.Duration
		good            bool
	}{
		"fresh":                                 {0, time.Hour, true},
		"expired within the leeway":             {-time.Hour, -29 * time.Second, true},
		"expired beyond the leeway":             {-time.Hour, -31 * time.Second, false},
		"expired long ago":                      {-48 * time.Hour, -24 * time.Hour, false},
		"issued by a database 10 minutes ahead": {10 * time.Minute, 30 * 24 * time.Hour, true},
	} {
		token, err := m.tokens.Sign(uuid.New(), uuid.New(), noon.Add(c.issued), noon.Add(c.expires))
		require.NoError(t, err)
		for range 2 {
			_, err = m.tokens.Session(token)
			require.Equal(t, c.good, err == nil, name)
			require.Equal(t, !c.good, errors.Is(err, secret.ErrTokenExpired), name)
		}
	}
	expired := with(m.claims(), "exp", noon.Add(-time.Hour).Unix())
	_, err := m.tokens.Session(m.sign(m.header(), expired))
	require.ErrorIs(t, err, secret.ErrTokenExpired)
	_, err = newMint(t).tokens.Session(m.sign(m.header(), expired))
	require.Error(t, err)
	require.NotErrorIs(t, err, secret.ErrTokenExpired, "a stranger's token is told nothing")
}

func TestJWT01_NoAlgorithmAndWrongAlgorithms(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	public := m.key.Public().(ed25519.PublicKey)
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, "eddsa", "EDDSA", "Ed25519", "HS256", "RS256", "ES256", 1, []string{"EdDSA"}} {
		header := with(m.header(), "alg", alg)
		signed := part(header) + "." + part(m.claims())
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(signed))
		x := hmac.New(sha256.New, []byte(m.published(t)["x"]))
		x.Write([]byte(signed))
		for kind, token := range map[string]string{
			"unsigned": signed + ".", "two parts": signed, "signed by us": m.sign(header, m.claims()),
			"HMAC with the public key":           signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
			"HMAC with the published public key": signed + "." + base64.RawURLEncoding.EncodeToString(x.Sum(nil)),
		} {
			_, err := m.tokens.Session(token)
			require.Error(t, err, "%v %s", alg, kind)
		}
	}
}

func TestJWT03_HeaderInjection(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	for _, kid := range []any{nil, "", "../../dev/null", "' OR 1=1", strings.Repeat("k", 64<<10), m.kid + " ", strings.ToUpper(m.kid), 1, []string{m.kid}} {
		_, err := m.tokens.Session(m.sign(with(m.header(), "kid", kid), m.claims()))
		require.Error(t, err)
		require.Less(t, len(err.Error()), 100, "the error holds nothing of the token")
	}
	for name, value := range map[string]any{
		"crit": []string{"exp"}, "typ": "JWT", "b64": false, "zip": "DEF",
	} {
		header := with(m.header(), name, value)
		if name == "b64" || name == "zip" {
			header["crit"] = []string{name}
		}
		_, err := m.tokens.Session(m.sign(header, m.claims()))
		require.Error(t, err, name)
	}
	// Keys and addresses of keys in the header are not even looked at.
	forger := newMint(t)
	forger.kid = m.kid
	for name, value := range map[string]any{
		"jku": "http://127.0.0.1:1/jwks.json", "x5u": "file:///dev/zero", "jwk": forger.published(t), "x5c": []string{"AAAA"},
	} {
		_, err := m.tokens.Session(forger.sign(with(forger.header(), name, value), m.claims()))
		require.Error(t, err, name)
	}
}

func TestJWT05_TokensOfOtherKinds(t *testing.T) {
	t.Parallel()
	m, keys := newMint(t), newKeys(t)
	for name, token := range map[string]string{
		"API key": secret.NewToken(secret.APIKeyPrefix), "service key": secret.NewToken(secret.ServiceKeyPrefix),
		"refresh token": secret.NewToken("ghr_"), "link token": keys.LinkToken(uuid.New()), "code": keys.Code(uuid.New()), "nothing": "",
		"ID token":          m.sign(with(m.header(), "typ", "JWT"), m.claims()),
		"untyped":           m.sign(with(m.header(), "typ", nil), m.claims()),
		"other typ":         m.sign(with(m.header(), "typ", "temp+jwt"), m.claims()),
		"typ in capitals":   m.sign(with(m.header(), "typ", "AT+JWT"), m.claims()),
		"other audience":    m.sign(m.header(), with(m.claims(), "aud", []string{"other"})),
		"audience prefix":   m.sign(m.header(), with(m.claims(), "aud", "gatehouse-temp")),
		"no audience":       m.sign(m.header(), with(m.claims(), "aud", nil)),
		"other issuer":      m.sign(m.header(), with(m.claims(), "iss", "https://accounts.google.com")),
		"issuer with slash": m.sign(m.header(), with(m.claims(), "iss", issuer+"/")),
		"no issuer":         m.sign(m.header(), with(m.claims(), "iss", nil)),
		"no expiry":         m.sign(m.header(), with(m.claims(), "exp", nil)),
		"not yet valid":     m.sign(m.header(), with(m.claims(), "nbf", noon.Add(time.Hour).Unix())),
		"no session":        m.sign(m.header(), with(m.claims(), "sid", nil)),
		"odd session":       m.sign(m.header(), with(m.claims(), "sid", "' OR 1=1")),
		"another signer":    newMint(t).sign(m.header(), m.claims()),
	} {
		_, err := m.tokens.Session(token)
		require.Error(t, err, name)
	}
}

func TestChangedTokens(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	token := m.sign(m.header(), m.claims())
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	for _, c := range alphabet {
		if byte(c) == token[last] {
			continue
		}
		_, err := m.tokens.Session(token[:last] + string(c))
		require.Error(t, err, "the last character %q for %q: decoding is strict", c, token[last])
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		_, err := m.tokens.Session(string(changed))
		require.Error(t, err, "byte %d", i)
	}
	for _, odd := range []string{
		token + "=", token + ".", token + ".x", "." + token, token + " ", " " + token, "Bearer " + token, token[:last], token + "\n", token + "\r", token[:9] + "\n" + token[9:],
		strings.ReplaceAll(token, ".", ".."), strings.Replace(token, ".", "", 1), strings.ReplaceAll(token, ".", "\u3002"),
	} {
		_, err := m.tokens.Session(odd)
		require.Error(t, err, "%q", odd)
	}
}

func TestJWT07_HugeTokensCostNothing(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	huge := map[string]string{
		"a megabyte": strings.Repeat("a", 1<<20), "dots": strings.Repeat(".", 100_000), "a long claim": m.sign(m.header(), with(m.claims(), "x", strings.Repeat("x", 1<<20))),
		"deep": "eyJ" + strings.Repeat("b", 10<<20),
	}
	start := time.Now()
	for name, token := range huge {
		_, err := m.tokens.Session(token)
		require.Error(t, err, name)
	}
	require.Less(t, time.Since(start), 50*time.Millisecond)
}

func FuzzSession(f *testing.F) {
	// The same key in every process that fuzzes, so that the seeds are good tokens in all of them.
	m := mintOf(f, base64.StdEncoding.EncodeToString(make([]byte, ed25519.SeedSize)))
	f.Add(m.sign(m.header(), m.claims()))
	f.Add(m.sign(with(m.header(), "alg", "none"), m.claims()))
	f.Add("..")
	f.Add("")
	genuine := m.sign(m.header(), m.claims())
	f.Fuzz(func(t *testing.T, token string) {
		session, err := m.tokens.Session(token)
		if err == nil && !strings.HasPrefix(token, genuine[:strings.IndexByte(genuine, '.')]) {
			t.Fatalf("accepted %q for session %s", token, session)
		}
		if err != nil && session != uuid.Nil {
			t.Fatal("a refused token names a session")
		}
	})
}

func BenchmarkSession(b *testing.B) {
	m := newMint(b)
	token := m.sign(m.header(), m.claims())
	for b.Loop() {
		if _, err := m.tokens.Session(token); err != nil {
			b.Fatal(err)
		}
	}
}
