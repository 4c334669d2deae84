// Package secret makes and checks everything that must not be guessed or read: keyed hashes, one-time codes, link and
// refresh tokens, API keys, password hashes and access tokens. Nothing here is stored or logged in the clear.
package secret

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"gatehouse/account"
)

const keyLength = 32

// Keys derives one key per use from the secret key of the installation.
type Keys struct {
	identifier, code, link, token, refresh, pepper, factor []byte

	sealer cipher.AEAD
}

// NewKeys reads GATEHOUSE_SECRET_KEY: 32 bytes in base64, optionally marked "dev:".
func NewKeys(encoded string) (*Keys, error) {
	master, err := decodeKey(encoded)
	if err != nil {
		return nil, fmt.Errorf("GATEHOUSE_SECRET_KEY %w", err)
	}
	k := &Keys{}
	for label, dst := range map[string]*[]byte{
		"identifier": &k.identifier, "code": &k.code, "link": &k.link, "token": &k.token,
		"refresh": &k.refresh, "password-pepper": &k.pepper, "factor": &k.factor,
	} {
		key, err := hkdf.Key(sha256.New, master, nil, "gatehouse/"+label, keyLength)
		if err != nil {
			return nil, fmt.Errorf("derive the %s key: %w", label, err)
		}
		*dst = key
	}
	if k.sealer, err = newSealer(k.factor); err != nil {
		return nil, fmt.Errorf("prepare the factor key: %w", err)
	}
	return k, nil
}

// GenerateKey returns 32 random bytes in base64, for GATEHOUSE_SECRET_KEY or GATEHOUSE_SIGNING_KEY.
func GenerateKey() string {
	b := make([]byte, keyLength)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(b)
}

func decodeKey(encoded string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(encoded, "dev:"))
	if err != nil || len(b) != keyLength {
		return nil, errors.New("must be 32 bytes in base64; `gatehouse keys generate` prints one")
	}
	return b, nil
}

// Subject is the keyed hash under which an address or account appears where it must not be readable: quotas, challenges,
// workflow ids. label keeps the uses apart.
func (k *Keys) Subject(label, value string) []byte {
	return mac(k.identifier, label, value)
}

// FlowID is the id of the workflow of one kind for one subject (design D1): no PII, the same for every retry.
func (k *Keys) FlowID(flow, kind, value string) string {
	return flow + "/" + hex.EncodeToString(mac(k.identifier, flow, kind, value)[:16])
}

// Code derives the one-time code of a challenge, so that a retry of its delivery sends the same digits and nothing
// readable is stored.
func (k *Keys) Code(challenge uuid.UUID) string {
	const span = 1_000_000
	n := binary.BigEndian.Uint64(mac(k.code, "code", challenge.String())) % span
	return fmt.Sprintf("%0*d", account.CodeLength, n)
}

// CodeHash is what the store keeps of a code.
func (k *Keys) CodeHash(challenge uuid.UUID, code string) []byte {
	return mac(k.code, "hash", challenge.String(), code)
}

// CodeMatches compares a guess with the stored hash in constant time.
func (k *Keys) CodeMatches(challenge uuid.UUID, guess string, hash []byte) bool {
	return subtle.ConstantTimeCompare(k.CodeHash(challenge, guess), hash) == 1
}

// LinkToken derives the 256-bit token of a challenge's link.
func (k *Keys) LinkToken(challenge uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(k.link, challenge.String()))
}

// UndoToken derives the token of the link that opens a closed account again: LinkToken at the account's own address, 0, and one
// that begins with it at each former one, so that whoever shows it has shown which mailbox they read.
func (k *Keys) UndoToken(closure uuid.UUID, former int) string {
	token := k.LinkToken(closure)
	if former > 0 {
		token += "." + base64.RawURLEncoding.EncodeToString(mac(k.link, "former", strconv.Itoa(former), closure.String()))
	}
	return token
}

// UndoTokenOf returns which of the first most former addresses an UndoToken went to, compared in constant time, or 0.
func (k *Keys) UndoTokenOf(closure uuid.UUID, token string, most int) int {
	for former := 1; former <= most; former++ {
		if subtle.ConstantTimeCompare([]byte(k.UndoToken(closure, former)), []byte(token)) == 1 {
			return former
		}
	}
	return 0
}

// TempToken derives the token that a client shows together with a challenge's code. It belongs to the challenge and to
// the purpose, and is compared by TempTokenMatches: nothing of it is stored.
func (k *Keys) TempToken(purpose account.Purpose, challenge uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString(mac(k.link, "temp", string(purpose), challenge.String()))
}

// TempTokenMatches compares a token with a challenge's in constant time.
func (k *Keys) TempTokenMatches(purpose account.Purpose, challenge uuid.UUID, token string) bool {
	return subtle.ConstantTimeCompare([]byte(k.TempToken(purpose, challenge)), []byte(token)) == 1
}

// TokenHash is what the store keeps of a link, refresh or API token. It is looked up by this value, so equal tokens give
// equal hashes.
func (k *Keys) TokenHash(kind, token string) []byte {
	return mac(k.token, kind, token)
}

// NextToken derives the successor of a refresh token. The same token always has the same successor, so that a repeated
// refresh is answered alike, and nobody without the key can tell it from the token.
func (k *Keys) NextToken(prefix, token string) string {
	return prefix + base64.RawURLEncoding.EncodeToString(mac(k.refresh, token))
}

// NewToken returns a random 256-bit token with a prefix that names its kind.
func NewToken(prefix string) string {
	b := make([]byte, keyLength)
	_, _ = rand.Read(b)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// The prefixes of API keys.
const (
	APIKeyPrefix     = "ghk_"
	ServiceKeyPrefix = "ghs_"
)

// IsAPIKey reports whether a Bearer value has the form of an API key rather than of an access token.
func IsAPIKey(s string) bool {
	return strings.HasPrefix(s, APIKeyPrefix) || strings.HasPrefix(s, ServiceKeyPrefix)
}

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// signingKeys reads the keys of a list, the one that signs first.
func signingKeys(encoded string) ([]ed25519.PrivateKey, error) {
	var keys []ed25519.PrivateKey
	for one := range strings.SplitSeq(encoded, ",") {
		seed, err := decodeKey(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("GATEHOUSE_SIGNING_KEY %w, or several with commas between", err)
		}
		keys = append(keys, ed25519.NewKeyFromSeed(seed))
	}
	return keys, nil
}
