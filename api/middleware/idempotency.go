package middleware

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// The headers of idempotent requests.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderReplayed       = "Idempotent-Replayed"
)

const (
	maxIdempotencyKey = 255
	// keepTimeout bounds the bookkeeping after an answer, whose own deadline may have passed.
	keepTimeout = 2 * time.Second
)

// Keys remembers the answers given under idempotency keys.
type Keys interface {
	// HashKey is a keyed hash: the client's key is as good as a credential for the kept answer.
	HashKey(parts ...string) string
	// ClaimKey reserves key, or returns the kept answer. It waits for a concurrent holder, and returns
	// ErrIdempotencyKeyReused for another request under the same key, ErrIdempotencyKeyInUse when the wait is over.
	ClaimKey(ctx context.Context, key string, requestHash []byte) (core.Claim, error)
	// KeepAnswer stores the final answer of a claimed key.
	KeepAnswer(ctx context.Context, key string, holder uuid.UUID, answer core.Answer) error
	// ReleaseKey gives a claimed key back unanswered.
	ReleaseKey(ctx context.Context, key string, holder uuid.UUID) error
}

// Idempotency answers a repeated request with the answer of the first one, for routes that say so and requests that
// name a key. Keys are scoped to the caller, the method and the route.
func Idempotency(route endpoint.Route, keys Keys) fiber.Handler {
	if !route.Idempotent {
		return func(c *fiber.Ctx) error { return c.Next() }
	}
	return func(c *fiber.Ctx) error {
		sent := c.Request().Header.PeekAll(HeaderIdempotencyKey)
		if len(sent) == 0 {
			return c.Next()
		}
		if len(sent) > 1 || !printable(sent[0]) {
			return route.Fail(c, account.ErrInvalidIdempotencyKey)
		}
		state := endpoint.StateOf(c)
		who := "anonymous"
		if p := state.Caller.Principal; p != nil {
			who = p.Account.ID.String()
			if p.Service() {
				who = p.APIKey.ID.String()
			}
		}
		key := keys.HashKey("idempotency", who, route.Method, route.Path, string(sent[0]))
		claim, err := keys.ClaimKey(c.UserContext(), key, requestHash(route.Asked(c)))
		if err != nil {
			return route.Fail(c, err)
		}
		if kept := claim.Answer; kept != nil {
			c.Set(HeaderReplayed, "true")
			if kept.Operation != "" {
				c.Set(endpoint.HeaderOperation, kept.Operation)
			}
			return endpoint.Replay(c, kept.Status, kept.Body)
		}
		state.Caller.IdempotencyKey, state.Caller.KeyHolder, state.Caller.KeyUntil, state.Caller.Made = key, claim.Holder, claim.Until, claim.Made
		return settle(c, keys, key, claim.Holder)
	}
}

// settle runs the request and keeps or releases its key, also when the request panics.
func settle(c *fiber.Ctx, keys Keys, key string, holder uuid.UUID) error {
	answered := false
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.UserContext()), keepTimeout)
		defer cancel()
		status := c.Response().StatusCode()
		var err error
		if answered && final(status) {
			err = keys.KeepAnswer(ctx, key, holder, core.Answer{
				Status: status, Body: bytes.Clone(c.Response().Body()), Operation: string(c.Response().Header.Peek(endpoint.HeaderOperation)),
			})
		} else {
			err = keys.ReleaseKey(ctx, key, holder)
		}
		if err != nil {
			state := endpoint.StateOf(c)
			state.Frame.Logger.LogAttrs(ctx, slog.LevelError, "idempotency key not settled",
				slog.String("request_id", state.RequestID), slog.String("cause", err.Error()))
		}
	}()
	err := c.Next()
	answered = err == nil
	return err
}

// final reports whether repeating the request could never be answered otherwise. 202 is not final: the repetition
// joins the running flow and gets its outcome.
func final(status int) bool {
	switch status {
	case http.StatusAccepted, http.StatusUnauthorized, http.StatusTooManyRequests:
		return false
	default:
		return status < http.StatusInternalServerError
	}
}

// requestHash leaves headers out where there are none: keys that are in use while an update rolls out have that hash.
func requestHash(uri, body []byte, headers []string) []byte {
	h := sha256.New()
	h.Write(uri)
	h.Write([]byte{0})
	h.Write(body)
	for _, line := range headers {
		sum := h.Sum(nil)
		h.Reset()
		h.Write(sum)
		h.Write([]byte(line))
	}
	return h.Sum(nil)
}

func printable(key []byte) bool {
	if len(key) == 0 || len(key) > maxIdempotencyKey {
		return false
	}
	for _, b := range key {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}
