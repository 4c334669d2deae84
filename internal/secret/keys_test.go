package secret_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

func newKeys(t testing.TB) *secret.Keys {
	t.Helper()
	k, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	return k
}

func TestKeysAreReadStrictly(t *testing.T) {
	t.Parallel()
	good := secret.GenerateKey()
	require.NotEqual(t, good, secret.GenerateKey())
	for _, encoded := range []string{good, "dev:" + good} {
		_, err := secret.NewKeys(encoded)
		require.NoError(t, err)
		_, err = secret.NewAccessTokens(encoded, "https://gatehouse.example", account.SystemClock{})
		require.NoError(t, err)
	}
	for name, encoded := range map[string]string{
		"empty": "", "short": base64.StdEncoding.EncodeToString(make([]byte, 31)), "long": base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"no base64": strings.Repeat("!", 44), "marked twice": "dev:dev:" + good, "truncated": good[:20],
	} {
		_, err := secret.NewKeys(encoded)
		require.ErrorContains(t, err, "GATEHOUSE_SECRET_KEY", name)
		require.False(t, encoded != "" && strings.Contains(err.Error(), encoded), "%s: the error shows no key", name)
		_, err = secret.NewAccessTokens(encoded, "https://gatehouse.example", account.SystemClock{})
		require.ErrorContains(t, err, "GATEHOUSE_SIGNING_KEY", name)
	}
}

func TestDerivedValuesDependOnEveryPart(t *testing.T) {
	t.Parallel()
	encoded := secret.GenerateKey()
	k, err := secret.NewKeys(encoded)
	require.NoError(t, err)
	same, err := secret.NewKeys("dev:" + encoded)
	require.NoError(t, err)
	other := newKeys(t)
	id := uuid.New()

	require.Equal(t, k.Subject("a", "b"), same.Subject("a", "b"), "the same in every process, and after a restart")
	require.Equal(t, k.Code(id), same.Code(id))
	require.Equal(t, k.LinkToken(id), same.LinkToken(id))
	require.Equal(t, k.FlowID("signup", "code", "ada"), same.FlowID("signup", "code", "ada"))
	require.Equal(t, k.TokenHash("link", "x"), same.TokenHash("link", "x"))

	require.NotEqual(t, k.Subject("a", "b"), other.Subject("a", "b"))
	require.NotEqual(t, k.Subject("a", "bc"), k.Subject("ab", "c"), "parts cannot run into each other")
	require.NotEqual(t, k.Subject("a", "b"), k.Subject("c", "b"))
	require.NotEqual(t, k.TokenHash("link", "x"), k.TokenHash("refresh", "x"), "JWT-05: a hash of one kind is none of another")
	require.NotEqual(t, k.LinkToken(id), k.LinkToken(uuid.New()))
	require.NotEqual(t, k.LinkToken(id), other.LinkToken(id))
	require.Len(t, k.LinkToken(id), 43, "256 bits")
	require.NotEqual(t, k.FlowID("signup", "code", "ada"), k.FlowID("signup", "register", "ada"))
	require.Regexp(t, `^signup/[0-9a-f]{32}$`, k.FlowID("signup", "code", "ada@example.com"))
}

// The link of one former address is neither that of another nor found from it.
func TestUndoToken(t *testing.T) {
	t.Parallel()
	k, closure := newKeys(t), uuid.New()
	require.Equal(t, k.LinkToken(closure), k.UndoToken(closure, 0))
	for former := range 4 {
		token := k.UndoToken(closure, former)
		require.True(t, strings.HasPrefix(token, k.LinkToken(closure)))
		require.Equal(t, former, k.UndoTokenOf(closure, token, 3))
		require.Zero(t, k.UndoTokenOf(uuid.New(), token, 3))
		require.Zero(t, newKeys(t).UndoTokenOf(closure, token, 3))
		require.Zero(t, k.UndoTokenOf(closure, token+"A", 3))
	}
	require.Zero(t, k.UndoTokenOf(closure, k.UndoToken(closure, 4), 3))
}

func TestCodesAreSixDigitsEvenlySpread(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	const n = 60_000
	var digits [account.CodeLength][10]int
	seen := map[string]bool{}
	for range n {
		code := k.Code(uuid.New())
		require.Empty(t, account.CodeFault(code), code)
		seen[code] = true
		for i, d := range code {
			digits[i][d-'0']++
		}
	}
	// Chi-squared with 9 degrees of freedom: 40 is exceeded by chance once in 130,000 tries of a fair source.
	for i, counts := range digits {
		chi := 0.0
		for _, c := range counts {
			chi += math.Pow(float64(c)-n/10, 2) / (n / 10)
		}
		require.Less(t, chi, 40.0, "digit %d: %v", i, counts)
	}
	// 60,000 draws of a million give 58,235 different ones, with a deviation of about 40.
	require.InDelta(t, 58_235, len(seen), 400)
}

func TestCodeMatchesItsChallengeAlone(t *testing.T) {
	t.Parallel()
	k, other := newKeys(t), newKeys(t)
	id := uuid.New()
	code := k.Code(id)
	hash := k.CodeHash(id, code)
	require.True(t, k.CodeMatches(id, code, hash))
	require.False(t, k.CodeMatches(uuid.New(), code, hash), "OTP-07: another challenge")
	require.False(t, other.CodeMatches(id, code, hash))
	require.False(t, k.CodeMatches(id, code, nil))
	require.False(t, k.CodeMatches(id, code, hash[:31]))
	require.False(t, k.CodeMatches(id, "", k.CodeHash(id, "x")))
	for _, guess := range []string{"", code + "0", "0" + code, code[:5], " " + code, "١٢٣٤٥٦"} {
		require.False(t, k.CodeMatches(id, guess, hash), "OTP-11: %q", guess)
	}
	require.NotContains(t, string(hash), code)
}

func TestOneGuessInAMillionMatches(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	id := uuid.New()
	hash := k.CodeHash(id, k.Code(id))
	matches := 0
	for n := range 20_000 {
		if k.CodeMatches(id, fmt.Sprintf("%06d", n*50), hash) {
			matches++
		}
	}
	require.LessOrEqual(t, matches, 1)
}

func TestTokensAreRandomAndNamed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 10_000 {
		token := secret.NewToken(secret.APIKeyPrefix)
		require.False(t, seen[token], "WEB-17")
		seen[token] = true
		require.Len(t, token, len(secret.APIKeyPrefix)+43)
	}
	for token, is := range map[string]bool{
		secret.NewToken(secret.APIKeyPrefix): true, secret.NewToken(secret.ServiceKeyPrefix): true, secret.NewToken("ghr_"): false,
		secret.NewToken(""): false, "": false, "ghk": false, "Ghk_x": false, " ghk_x": false, "eyJhbGciOiJFZERTQSJ9.e30.x": false,
	} {
		require.Equal(t, is, secret.IsAPIKey(token), token)
	}
}

func TestSubjectsNeverCollide(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	rapid.Check(t, func(r *rapid.T) {
		a, b := rapid.String().Draw(r, "a"), rapid.String().Draw(r, "b")
		c, d := rapid.String().Draw(r, "c"), rapid.String().Draw(r, "d")
		equal := string(k.Subject(a, b)) == string(k.Subject(c, d))
		if equal != (a == c && b == d) {
			r.Fatalf("%q %q against %q %q", a, b, c, d)
		}
	})
}
