package core

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
)

// Answer is what a request under an Idempotency-Key was answered, kept for its repetitions.
type Answer struct {
	Status int
	Body   []byte
	// Operation is where the answer said the operation is, empty for nowhere.
	Operation string
}

const (
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

// Claim is what ClaimKey found under an idempotency key.
type Claim struct {
	// Answer is the kept one; nil for none, where the caller holds the key now.
	Answer *Answer
	// Holder is account.Caller.KeyHolder.
	Holder uuid.UUID
	// Made is account.Caller.Made.
	Made []byte
	// Until is account.Caller.KeyUntil.
	Until time.Time
}

// ClaimKey takes an idempotency key for the caller, or returns the kept answer. It waits while another caller is serving
// the same key, also until the lease of one that died runs out. It returns account.ErrIdempotencyKeyReused when the key
// was used for another request and account.ErrIdempotencyKeyInUse when the other caller does not finish in time.
func (c *Core) ClaimKey(ctx context.Context, key string, requestHash []byte) (Claim, error) {
	// Longer than a request and the keeping of its answer can take, so that a live holder never loses its key.
	lease := c.RequestTimeout + idempotencyLease
	// Keyed, because a request may hold a password that a plain hash would give away to whoever reads the table.
	requestHash = c.Keys.Subject("idempotency-request", string(requestHash))
	holder := uuid.New()
	for {
		claim, err := c.Store.ClaimKey(ctx, key, holder, requestHash, lease, account.IdempotencyLife)
		switch {
		case err != nil:
			return Claim{}, err
		case claim.Claimed && claim.Made == nil:
			return Claim{Holder: holder, Until: claim.Until}, nil
		case claim.Claimed:
			opened, err := c.Keyring.Open(claim.Made, sealOfMade(key))
			return Claim{Holder: holder, Made: opened, Until: claim.Until}, err
		case claim.Status != 0:
			body, err := c.Keyring.Open(claim.Answer, []byte(key))
			return Claim{Answer: &Answer{Status: claim.Status, Body: body, Operation: claim.Operation}}, err
		}
		if deadline, ok := ctx.Deadline(); ok && c.Clock.Now().Add(idempotencyReserve).After(deadline) {
			return Claim{}, account.ErrIdempotencyKeyInUse
		}
		timer := time.NewTimer(idempotencyPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Claim{}, account.ErrIdempotencyKeyInUse.Because(ctx.Err())
		case <-timer.C:
		}
	}
}

// KeepAnswer keeps the answer to a key for the life of the key, sealed: it may hold tokens. It does nothing for whoever holds the
// key no more.
func (c *Core) KeepAnswer(ctx context.Context, key string, holder uuid.UUID, a Answer) error {
	if a.Status == 0 {
		return errors.New("an answer needs a status")
	}
	sealed, err := c.Keyring.Seal(a.Body, []byte(key))
	if err != nil {
		return err
	}
	return c.Store.KeepAnswer(ctx, key, holder, a.Status, sealed, a.Operation)
}

// ReleaseKey gives up a claimed key whose request changed nothing.
func (c *Core) ReleaseKey(ctx context.Context, key string, holder uuid.UUID) error {
	return c.Store.ReleaseKey(ctx, key, holder)
}

func sealOfMade(key string) []byte { return []byte("made/" + key) }

// made returns what an earlier request under the Idempotency-Key of by has made, if its change was committed and its answer was
// not kept. Then there is nothing left to prove or to change.
func made[R any](by account.Caller) (out R, done bool, err error) {
	if by.Made == nil {
		return out, false, nil
	}
	return out, true, json.Unmarshal(by.Made, &out)
}

// keepMade keeps what a change has made in the transaction of the change, if its request named an Idempotency-Key.
func (c *Core) keepMade(ctx context.Context, tx *store.Store, by account.Caller, out any) error {
	if by.IdempotencyKey == "" {
		return nil
	}
	plain, err := json.Marshal(out)
	if err != nil {
		return err
	}
	sealed, err := c.Keyring.Seal(plain, sealOfMade(by.IdempotencyKey))
	if err != nil {
		return err
	}
	return tx.KeepMade(ctx, by.IdempotencyKey, by.KeyHolder, sealed)
}

// commitOnce is commit for the change that a caller asks for: under an Idempotency-Key it is made once, and made returns what.
func commitOnce[R any](
	ctx context.Context, c *Core, by account.Caller, change func(ctx context.Context, tx *store.Store) (R, told, error),
) (out R, err error) {
	err = c.commit(ctx, func(ctx context.Context, tx *store.Store) (owed told, err error) {
		if out, owed, err = change(ctx, tx); err != nil {
			return nil, err
		}
		return owed, c.keepMade(ctx, tx, by, out)
	})
	return orNone(out, err)
}

// once is commitOnce for a change that owes nothing and is whole by itself: it takes a transaction for the key alone.
func once[R any](
	ctx context.Context, c *Core, by account.Caller, change func(ctx context.Context, tx *store.Store) (R, error),
) (out R, err error) {
	if by.IdempotencyKey == "" {
		return change(ctx, c.Store)
	}
	err = c.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) (err error) {
		if out, err = change(ctx, tx); err != nil {
			return err
		}
		return c.keepMade(ctx, tx, by, out)
	})
	return orNone(out, err)
}

func orNone[R any](out R, err error) (R, error) {
	if err != nil {
		var none R
		return none, err
	}
	return out, nil
}
