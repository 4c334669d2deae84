package middleware

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// HeaderAssertion signs a request of a service key: t=<unix seconds>,n=<nonce>,sig=<HMAC-SHA256 of "t.n.body" with the key>,
// in hex or base64.
const HeaderAssertion = "X-Assertion"

const (
	assertionAge  = time.Minute
	maxNonce      = 128
	assertionSize = 3
)

// Nonces remembers what was signed once.
type Nonces interface {
	// SpendNonce returns ErrInvalidAssertion for a nonce that the key has used lately.
	SpendNonce(ctx context.Context, key uuid.UUID, nonce string) error
}

// Assertion judges the X-Assertion header of a service key, where one is sent: its age, its signature over the body, and
// that it is used once. Whether one must be sent is for the operation to say.
func Assertion(route endpoint.Route, nonces Nonces) fiber.Handler {
	return func(c *fiber.Ctx) error {
		caller := &endpoint.StateOf(c).Caller
		if !route.Service || caller.Principal == nil || !caller.Principal.Service() {
			return c.Next()
		}
		header, err := single(c, HeaderAssertion)
		if err != nil {
			return route.Fail(c, account.ErrInvalidAssertion)
		}
		if header == "" {
			return c.Next()
		}
		shown, err := credential(c, true)
		if err != nil {
			return route.Fail(c, err)
		}
		secret := shown.APIKey
		if shown.Bearer != "" {
			secret = shown.Bearer
		}
		nonce, ok := signed(header, secret, c.Request().Body(), endpoint.StateOf(c).Frame.Clock.Now())
		if !ok {
			return route.Fail(c, account.ErrInvalidAssertion)
		}
		if err := nonces.SpendNonce(c.UserContext(), caller.Principal.APIKey.ID, nonce); err != nil {
			return route.Fail(c, err)
		}
		caller.Asserted = true
		return c.Next()
	}
}

// signed checks age and signature and returns the nonce.
func signed(header, secret string, body []byte, now time.Time) (nonce string, ok bool) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	seconds, err := strconv.ParseInt(parts["t"], 10, 64)
	nonce = parts["n"]
	if err != nil || len(parts) != assertionSize || nonce == "" || len(nonce) > maxNonce {
		return "", false
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > assertionAge || age < -assertionAge {
		return "", false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts["t"] + "." + nonce + "."))
	mac.Write(body)
	return nonce, hmac.Equal(mac.Sum(nil), decoded(parts["sig"]))
}

func decoded(signature string) []byte {
	if raw, err := hex.DecodeString(signature); err == nil {
		return raw
	}
	signature = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(signature, "="))
	raw, err := base64.RawStdEncoding.DecodeString(signature)
	if err != nil {
		return nil
	}
	return raw
}
