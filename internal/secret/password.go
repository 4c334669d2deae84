package secret

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"

	"gatehouse/account"
)

// argon2id at the OWASP minimum of design D8: about 25 ms of one core.
var hashParams = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Hasher hashes passwords, as many at once as there are slots. Whoever finds the queue full, or waits too long in it,
// gets account.ErrBusy: memory and latency stay bounded when logins flood.
type Hasher struct {
	keys    *Keys
	slots   chan struct{}
	queue   int64
	wait    time.Duration
	waiting atomic.Int64
	refused atomic.Int64
	dummy   string
}

// NewHasher returns a Hasher with slots (0 means one per core), queue waiting places and the longest wait.
func NewHasher(keys *Keys, slots, queue int, wait time.Duration) *Hasher {
	if slots <= 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	h := &Hasher{keys: keys, slots: make(chan struct{}, slots), queue: int64(queue), wait: wait}
	h.dummy = dummyHash()
	return h
}

// dummyHash has the form of a hash and is that of nothing: making a real one would take 19 MiB which the process then keeps for
// long.
func dummyHash() string {
	random := make([]byte, hashParams.SaltLength+hashParams.KeyLength)
	_, _ = rand.Read(random) // never fails
	salt, key := random[:hashParams.SaltLength], random[hashParams.SaltLength:]
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashParams.Memory, hashParams.Iterations,
		hashParams.Parallelism, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// Hash returns the encoded hash of a password. It returns account.ErrBusy when no slot comes free.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, err := argon2id.CreateHash(h.peppered(password), hashParams)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}

// Verify compares password with hash. An empty hash stands for an unknown account or one without a password: it costs
// the same and never matches. before, when not nil, runs once a slot is held and its error ends the attempt, so that a
// throttle judges when the guess is about to be evaluated and not when it was queued.
// It returns account.ErrBusy when no slot comes free.
func (h *Hasher) Verify(ctx context.Context, hash, password string, before func(context.Context) error) (bool, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if before != nil {
		if err := before(ctx); err != nil {
			return false, err
		}
	}
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	match, err := argon2id.ComparePasswordAndHash(h.peppered(password), hash)
	if err != nil {
		return false, fmt.Errorf("compare a password: %w", err)
	}
	return match && known, nil
}

// Outdated reports whether a hash was made with other parameters than today's.
func Outdated(hash string) bool {
	params, _, _, err := argon2id.DecodeHash(hash)
	return err != nil || *params != *hashParams
}

// HashUse is how the slots and the queue are used, for metrics.
type HashUse struct {
	Slots, InUse   int
	Queue, Waiting int64
	// Refused counts, since the process began, those who got account.ErrBusy.
	Refused int64
}

// Use returns how the slots and the queue are used.
func (h *Hasher) Use() HashUse {
	return HashUse{
		Slots: cap(h.slots), InUse: len(h.slots), Queue: h.queue, Waiting: h.waiting.Load(), Refused: h.refused.Load(),
	}
}

func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	release = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return release, nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return nil, h.refuse(errors.New("the hashing queue is full"))
	}
	defer h.waiting.Add(-1)
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, h.refuse(errors.New("no hashing slot came free in time"))
	case <-ctx.Done():
		return nil, h.refuse(ctx.Err())
	}
}

func (h *Hasher) refuse(cause error) error {
	h.refused.Add(1)
	return account.ErrBusy.Because(cause)
}

// peppered keys the password with a secret that is not in the database, which also gives argon2id an input of fixed
// length without NUL.
func (h *Hasher) peppered(password string) string {
	return base64.RawStdEncoding.EncodeToString(mac(h.keys.pepper, account.NormalizePassword(password)))
}
