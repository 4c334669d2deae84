package identity_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

func signed(t *testing.T, m *mockoidc.MockOIDC, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": m.Issuer(), "aud": "client", "sub": "sub-1", "email": "a@gmail.example", "email_verified": "true", "name": "Ann",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	change(claims)
	token, err := m.Keypair.SignJWT(claims)
	require.NoError(t, err)
	return token
}

func TestVerify_ReadsAnIDToken(t *testing.T) {
	t.Parallel()
	m, _ := issuer(t)
	token := signed(t, m, func(jwt.MapClaims) {})
	require.True(t, identity.IsIDToken(token))
	require.False(t, identity.IsIDToken(secretToken))
	apple := provider(t, account.ProviderApple, identity.Settings{AppleIssuer: m.Issuer(), AppleClientID: "client"})
	for _, p := range []identity.Provider{google(t, m.Issuer()), apple} {
		got, err := p.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, identity.Identity{Subject: "sub-1", Email: "a@gmail.example", EmailVerified: true, Name: "Ann"}, got.Identity)
		require.WithinDuration(t, time.Now(), got.IssuedAt, 5*time.Second)
		require.Contains(t, got.Content, `"sub":"sub-1"`)
	}
}

// OAU-01: only what the issuer has signed for us counts.
func TestOAU01_Verify_RefusesOtherTokens(t *testing.T) {
	t.Parallel()
	m, _ := issuer(t)
	other, err := mockoidc.RandomKeypair(2048)
	require.NoError(t, err)
	p := google(t, m.Issuer())
	good := signed(t, m, func(jwt.MapClaims) {})
	_, err = p.Verify(t.Context(), good)
	require.NoError(t, err)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	foreign, err := other.SignJWT(jwt.MapClaims{
		"iss": m.Issuer(), "aud": "client", "sub": "sub-1", "exp": time.Now().Add(time.Hour).Unix(),
	})
	require.NoError(t, err)
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
		"iss": m.Issuer(), "aud": "client", "sub": "sub-1", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	shared, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": m.Issuer(), "aud": "client", "sub": "sub-1", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte("client"))
	require.NoError(t, err)
	typed := func(typ any) string {
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": m.Issuer(), "aud": "client", "sub": "sub-1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = m.Keypair.Kid
		if token.Header["typ"] = typ; typ == nil {
			delete(token.Header, "typ")
		}
		text, err := token.SignedString(m.Keypair.PrivateKey)
		require.NoError(t, err)
		return text
	}
	for _, typ := range []any{nil, "JWT", "jwt"} {
		_, err := p.Verify(t.Context(), typed(typ))
		require.NoError(t, err, "%v", typ)
	}
	for name, token := range map[string]string{
		"typed as an access token": typed("at+jwt"), "typed as a logout token": typed("logout+jwt"), "of a number as its type": typed(1),
		"another application's": signed(t, m, func(c jwt.MapClaims) { c["aud"] = "somebody" }),
		"another issuer's":      signed(t, m, func(c jwt.MapClaims) { c["iss"] = "https://accounts.example.com" }),
		"expired":               signed(t, m, func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"without an expiry":     signed(t, m, func(c jwt.MapClaims) { delete(c, "exp") }),
		"of nobody":             signed(t, m, func(c jwt.MapClaims) { delete(c, "sub") }),
		"signed by another":     foreign,
		"unsigned":              unsigned,
		"signed with our name":  shared,
		"without a signature":   head + "." + body + ".",
		"with another content":  head + "." + body + "A." + signature,
		"no token":              "a.b.c",
		"an access token":       secretToken,
	} {
		_, err := p.Verify(t.Context(), token)
		require.ErrorIs(t, err, account.ErrInvalidProviderToken, name)
		require.NotContains(t, fmt.Sprint(err), token)
	}
	_, err = github(t, m.Issuer()).Verify(t.Context(), good)
	require.ErrorIs(t, err, account.ErrInvalidProviderToken)
}
