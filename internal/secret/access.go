package secret

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gatehouse/account"
)

const (
	accessType     = "at+jwt" // RFC 9068
	accessAudience = "gatehouse"
	// maxTokenLength bounds what the parser is given; our own tokens are under 500 bytes.
	maxTokenLength = 2048
	clockLeeway    = 30 * time.Second
)

// AccessTokens signs and checks access tokens: EdDSA, strict parsing (RFC 8725). One key signs; those beside it are on
// their way in or out, and checked and published all the same. The token only names the session; what it may do is read
// from the database on every request.
type AccessTokens struct {
	key ed25519.PrivateKey
	kid string
	// kids are the ids of all keys, in the order of the setting.
	kids      []string
	public    map[string]ed25519.PublicKey
	issuer    string
	parser    *jwt.Parser
	validator *jwt.Validator
	verified  verifiedTokens
}

// NewAccessTokens reads GATEHOUSE_SIGNING_KEY, the base64 of Ed25519 seeds with commas between. issuer is the public base
// URL.
func NewAccessTokens(encoded, issuer string, clock account.Clock) (*AccessTokens, error) {
	keys, err := signingKeys(encoded)
	if err != nil {
		return nil, err
	}
	rules := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(accessAudience), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithLeeway(clockLeeway), jwt.WithTimeFunc(clock.Now),
		// No judgement of iat: the database's clock writes it, and one that is ahead of ours makes no token worse.
	}
	t := &AccessTokens{
		key: keys[0], public: map[string]ed25519.PublicKey{}, issuer: issuer,
		parser: jwt.NewParser(rules...), validator: jwt.NewValidator(rules...),
	}
	for _, key := range keys {
		public, _ := key.Public().(ed25519.PublicKey)
		kid := thumbprint(public)
		if _, twice := t.public[kid]; twice {
			return nil, errors.New("GATEHOUSE_SIGNING_KEY names a key twice")
		}
		t.kids, t.public[kid] = append(t.kids, kid), public
	}
	t.kid = t.kids[0]
	return t, nil
}

// thumbprint is the id of a public key (RFC 7638).
func thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

type accessClaims struct {
	Session string `json:"sid"`
	jwt.RegisteredClaims
}

// Sign returns the access token of a session. The same session, issue time and expiry give the same token, so a repeated
// answer repeats the token.
func (t *AccessTokens) Sign(session, subject uuid.UUID, issued, expires time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		Session: session.String(),
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: t.issuer, Subject: subject.String(), Audience: jwt.ClaimStrings{accessAudience},
			IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(expires),
		},
	})
	token.Header["kid"] = t.kid
	token.Header["typ"] = accessType
	signed, err := token.SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("sign an access token: %w", err)
	}
	return signed, nil
}

var errNotOurs = errors.New("not an access token of ours")

// ErrTokenExpired is the one flaw of an access token that may be shown: it is ours, and its time is over.
var ErrTokenExpired = errors.New("the access token has expired")

// Session returns the session that a token names. It returns ErrTokenExpired; any other flaw gives an error that must not be
// shown.
func (t *AccessTokens) Session(token string) (uuid.UUID, error) {
	// Base64 skips line breaks even where it is strict: one token would have any number of spellings.
	if len(token) > maxTokenLength || strings.ContainsAny(token, "\r\n") {
		return uuid.Nil, errNotOurs
	}
	hash := hashOf(token)
	if known, ok := t.verified.find(hash); ok {
		if err := t.validator.Validate(&known.claims); err != nil {
			return uuid.Nil, flaw(err)
		}
		return known.session, nil
	}
	var claims accessClaims
	_, err := t.parser.ParseWithClaims(token, &claims, func(parsed *jwt.Token) (any, error) {
		kid, _ := parsed.Header["kid"].(string)
		typ, _ := parsed.Header["typ"].(string)
		public, known := t.public[kid]
		if !known || typ != accessType || parsed.Header["crit"] != nil {
			return nil, errNotOurs
		}
		return public, nil
	})
	if err != nil {
		return uuid.Nil, flaw(err)
	}
	session, err := uuid.Parse(claims.Session)
	if err != nil {
		return uuid.Nil, errNotOurs
	}
	t.verified.keep(hash, &verified{session: session, claims: claims.RegisteredClaims})
	return session, nil
}

// flaw is why a token is refused. Its claims are judged once its signature is good.
func flaw(err error) error {
	if errors.Is(err, jwt.ErrTokenExpired) {
		return ErrTokenExpired
	}
	return errNotOurs
}

// hashOf is the hash under which a token is remembered. It copies tokens of our length to the stack.
func hashOf(token string) [sha256.Size]byte {
	var copied [512]byte
	if len(token) > len(copied) {
		return sha256.Sum256([]byte(token))
	}
	return sha256.Sum256(copied[:copy(copied[:], token)])
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517, RFC 8037).
func (t *AccessTokens) JWKS() ([]byte, error) {
	keys := make([]map[string]string, 0, len(t.kids))
	for _, kid := range t.kids {
		keys = append(keys, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
			"x": base64.RawURLEncoding.EncodeToString(t.public[kid]),
		})
	}
	return json.Marshal(map[string]any{"keys": keys})
}
