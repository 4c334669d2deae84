package core

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"gatehouse/account"
)

// Answer is what a request under an Idempotency-Key was answered, kept for its repetitions.
type Answer struct {
	Status int
	Body   []byte
	// Operation is where the answer said the operation is, empty for nowhere.
	Operation string
}

const (
	idempotencyTTL   = 48 * time.Hour
	idempotencyPoll  = 50 * time.Millisecond
	idempotencyLease = 3 * time.Second
	// idempotencyReserve is what a waiting caller keeps of its deadline for its own answer.
	idempotencyReserve = 500 * time.Millisecond
)

// HashKey returns the keyed hash under which an Idempotency-Key is stored, so that neither the header nor the caller can
// be read back.
func (c *Core) HashKey(parts ...string) string {
	return hex.EncodeToString(c.Keys.Subject("idempotency", strings.Join(parts, "\x00")))
}

// ClaimKey takes an idempotency key for the caller, or returns the kept answer. It waits while another caller is serving
// the same key, also until the lease of one that died runs out. It returns account.ErrIdempotencyKeyReused when the key
// was used for another request and account.ErrIdempotencyKeyInUse when the other caller does not finish in time.
func (c *Core) ClaimKey(ctx context.Context, key string, requestHash []byte) (*Answer, error) {
	// Longer than a request and the keeping of its answer can take, so that a live holder never loses its key.
	lease := c.RequestTimeout + idempotencyLease
	// Keyed, because a request may hold a password that a plain hash would give away to whoever reads the table.
	requestHash = c.Keys.Subject("idempotency-request", string(requestHash))
	for {
		claim, err := c.Store.ClaimKey(ctx, key, requestHash, lease, idempotencyTTL)
		switch {
		case err != nil || claim.Claimed:
			return nil, err
		case claim.Status != 0:
			body, err := c.Keyring.Open(claim.Answer, []byte(key))
			if err != nil {
				return nil, err
			}
			return &Answer{Status: claim.Status, Body: body, Operation: claim.Operation}, nil
		}
		if deadline, ok := ctx.Deadline(); ok && c.Clock.Now().Add(idempotencyReserve).After(deadline) {
			return nil, account.ErrIdempotencyKeyInUse
		}
		timer := time.NewTimer(idempotencyPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, account.ErrIdempotencyKeyInUse.Because(ctx.Err())
		case <-timer.C:
		}
	}
}

// KeepAnswer keeps the answer to a claimed key for 48 hours, sealed: it may hold tokens.
func (c *Core) KeepAnswer(ctx context.Context, key string, a Answer) error {
	if a.Status == 0 {
		return errors.New("an answer needs a status")
	}
	sealed, err := c.Keyring.Seal(a.Body, []byte(key))
	if err != nil {
		return err
	}
	return c.Store.KeepAnswer(ctx, key, a.Status, sealed, a.Operation)
}

// ReleaseKey gives up a claimed key whose request changed nothing.
func (c *Core) ReleaseKey(ctx context.Context, key string) error { return c.Store.ReleaseKey(ctx, key) }
