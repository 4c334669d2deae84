package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const keyTTL = 48 * time.Hour

// self holds the keys of these tests.
var self = uuid.New()

func (w world) claim(t *testing.T, key, body string) (store.KeyClaim, error) {
	t.Helper()
	c, err := w.ClaimKey(t.Context(), key, self, []byte(body), lease, keyTTL)
	require.Equal(t, c.Claimed, !c.Until.IsZero(), "%v", err)
	c.Until = time.Time{}
	return c, err
}

// claimants lets a crowd claim a key and counts who holds it.
func (w world) claimants(t *testing.T, key, body string) int {
	t.Helper()
	held := 0
	var mutex sync.Mutex
	errs := race(crowd, func(int) error {
		c, err := w.claim(t, key, body)
		mutex.Lock()
		defer mutex.Unlock()
		if c.Claimed {
			held++
		}
		if c.Status != 0 {
			return fmt.Errorf("answered %d before there was an answer", c.Status)
		}
		return err
	})
	require.Equal(t, crowd, winners(t, errs))
	return held
}

func TestClaimKeyRaceHasOneClaimant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		key := fmt.Sprintf("key %d", round)
		require.Equal(t, 1, w.claimants(t, key, "body"))
		require.Equal(t, 0, w.claimants(t, key, "body"), "the lease holds")

		w.exec(t, `UPDATE idempotency_keys SET locked_until = now() WHERE key = $1`, key)
		require.Equal(t, 1, w.claimants(t, key, "body"), "the holder died: one takes over")

		require.NoError(t, w.ReleaseKey(t.Context(), key, self))
		require.Equal(t, 1, w.claimants(t, key, "body"), "a released key may be tried again")
		require.NoError(t, w.ReleaseKey(t.Context(), key, self))
		_, err := w.claim(t, key, "another body")
		require.ErrorIs(t, err, account.ErrIdempotencyKeyReused, "but never for anything else")
	}
}

func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.True(t, c.Claimed)
	require.NoError(t, w.KeepAnswer(t.Context(), "key", self, 201, []byte("sealed"), "/v1/operations/1"))

	for range 2 {
		c, err = w.claim(t, "key", "body")
		require.NoError(t, err)
		require.Equal(t, store.KeyClaim{Status: 201, Answer: []byte("sealed"), Operation: "/v1/operations/1"}, c)
		require.NoError(t, w.ReleaseKey(t.Context(), "key", self), "releasing does not forget an answer")
		w.exec(t, `UPDATE idempotency_keys SET locked_until = now() - interval '1 hour'`)
	}
	_, err = w.claim(t, "key", "another body")
	require.ErrorIs(t, err, account.ErrIdempotencyKeyReused)

	w.exec(t, `UPDATE idempotency_keys SET expires_at = now()`)
	c, err = w.claim(t, "key", "another body")
	require.NoError(t, err)
	require.True(t, c.Claimed, "after 48 hours the key is free")
	require.Equal(t, 1, w.count(t, "idempotency_keys WHERE answer IS NULL AND status IS NULL"), "and the old answer gone")
}

func TestKeyOfAnotherRequestIsRefusedWhileServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	_, err = w.claim(t, "key", "another body")
	require.ErrorIs(t, err, account.ErrIdempotencyKeyReused)
	w.exec(t, `UPDATE idempotency_keys SET locked_until = now()`)
	_, err = w.claim(t, "key", "another body")
	require.ErrorIs(t, err, account.ErrIdempotencyKeyReused, "a dead holder's request may have changed something")
}

func TestSealedAnswersAreCountedByTheirKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keep := func(key, answer string, ttl time.Duration) {
		_, err := w.ClaimKey(t.Context(), key, self, []byte("body"), lease, ttl)
		require.NoError(t, err)
		if answer != "" {
			require.NoError(t, w.KeepAnswer(t.Context(), key, self, 200, []byte(answer), ""))
		}
	}
	keep("a", "\x01aaaa rest", keyTTL)
	keep("b", "\x01aaaa other", keyTTL)
	keep("c", "\x01bbbb rest", keyTTL)
	keep("expired", "\x01bbbb rest", -time.Hour)
	keep("unanswered", "", keyTTL)
	found, err := w.SealedAnswers(t.Context(), 5)
	require.NoError(t, err)
	require.Equal(t, []store.SealedAnswers{{Prefix: []byte("\x01aaaa"), Count: 2}, {Prefix: []byte("\x01bbbb"), Count: 1}}, found)
}

func TestKeepMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.ErrorIs(t, w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		require.NoError(t, tx.KeepMade(ctx, "key", self, []byte("undone")))
		return account.ErrNotFound
	}), account.ErrNotFound)
	require.NoError(t, w.KeepMade(t.Context(), "key", self, []byte("made")), "what was rolled back is not there")
	require.ErrorIs(t, w.KeepMade(t.Context(), "key", self, []byte("twice")), account.ErrIdempotencyKeyInUse)
	require.ErrorIs(t, w.KeepMade(t.Context(), "unclaimed", self, []byte("made")), account.ErrIdempotencyKeyInUse)

	c, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.Equal(t, store.KeyClaim{}, c, "its holder lives")
	for range 2 {
		require.NoError(t, w.ReleaseKey(t.Context(), "key", self))
		c, err = w.claim(t, "key", "body")
		require.NoError(t, err)
		require.Equal(t, store.KeyClaim{Claimed: true, Made: []byte("made")}, c, "whoever takes over is told what was made")
	}
	sealed, err := w.SealedAnswers(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []store.SealedAnswers{{Prefix: []byte("ma"), Count: 1}}, sealed, "its key is still needed")

	require.NoError(t, w.KeepAnswer(t.Context(), "key", self, 200, []byte("answer"), ""))
	require.Equal(t, 1, w.count(t, "idempotency_keys WHERE made IS NULL"), "the answer holds it")
	require.ErrorIs(t, w.KeepMade(t.Context(), "key", self, []byte("late")), account.ErrIdempotencyKeyInUse)
}

func TestKeepMade_Expires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.NoError(t, w.KeepMade(t.Context(), "key", self, []byte("made")))
	w.exec(t, `UPDATE idempotency_keys SET expires_at = now()`)
	c, err := w.claim(t, "key", "another body")
	require.NoError(t, err)
	require.Equal(t, store.KeyClaim{Claimed: true}, c)
}

// A key is known from its first use on: taking it over does not make it younger.
func TestClaimKey_TakenOverGrowsNoYounger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := func() store.KeyClaim {
		c, err := w.ClaimKey(t.Context(), "key", self, []byte("body"), lease, keyTTL)
		require.NoError(t, err)
		require.True(t, c.Claimed)
		require.NoError(t, w.ReleaseKey(t.Context(), "key", self))
		return c
	}
	first := claim()
	require.WithinDuration(t, time.Now().Add(keyTTL), first.Until, time.Minute)
	w.exec(t, `UPDATE idempotency_keys SET created_at = created_at - interval '47 hours', expires_at = expires_at - interval '47 hours'`)
	require.Equal(t, first.Until.Add(-47*time.Hour), claim().Until)
	w.exec(t, `UPDATE idempotency_keys SET expires_at = now() + interval '1 second'`)
	require.Equal(t, first.Until.Add(-47*time.Hour), claim().Until, "it is the same request to the end")
	kept := one[time.Time](t, w, `SELECT expires_at FROM idempotency_keys`)
	require.WithinDuration(t, time.Now().Add(lease), kept, lease/2, "nobody loses a key that is just served")
	w.exec(t, `UPDATE idempotency_keys SET expires_at = now()`)
	require.WithinDuration(t, time.Now().Add(keyTTL), claim().Until, time.Minute, "it is new")
}

// A refusal is not worth what was made.
func TestKeepAnswer_RefusalAfterTheChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.NoError(t, w.KeepMade(t.Context(), "key", self, []byte("made")))
	require.NoError(t, w.KeepAnswer(t.Context(), "key", self, 409, []byte("refused"), ""))
	c, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.Equal(t, store.KeyClaim{Claimed: true, Made: []byte("made")}, c)
}

// A holder that stood still for longer than its lease has lost its key: it neither makes its change, nor answers, nor gives up
// what is another's.
func TestClaimKey_LostToAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := uuid.New()
	_, err := w.ClaimKey(t.Context(), "key", late, []byte("body"), lease, keyTTL)
	require.NoError(t, err)
	w.exec(t, `UPDATE idempotency_keys SET locked_until = now()`)
	_, err = w.claim(t, "key", "body")
	require.NoError(t, err)
	stands := func() {
		err := w.KeepMade(t.Context(), "key", late, []byte("twice"))
		require.ErrorIs(t, err, account.ErrIdempotencyKeyInUse)
		require.NotErrorIs(t, err, account.ErrNotFound, "which a caller would take for what is not there")
		require.NoError(t, w.KeepAnswer(t.Context(), "key", late, 409, []byte("late"), ""))
		require.NoError(t, w.ReleaseKey(t.Context(), "key", late))
		c, err := w.ClaimKey(t.Context(), "key", late, []byte("body"), lease, keyTTL)
		require.NoError(t, err)
		require.False(t, c.Claimed, "the other one lives")
	}
	stands()
	require.NoError(t, w.KeepMade(t.Context(), "key", self, []byte("made")))
	stands()
	require.NoError(t, w.KeepAnswer(t.Context(), "key", self, 201, []byte("sealed"), ""))
	stands()
	c, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	require.Equal(t, store.KeyClaim{Status: 201, Answer: []byte("sealed")}, c)
}

// Of many tries to commit under one key one does.
func TestKeepMadeRaceHasOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		key := fmt.Sprintf("key %d", round)
		_, err := w.claim(t, key, "body")
		require.NoError(t, err)
		errs := race(crowd, func(int) error { return w.KeepMade(t.Context(), key, self, []byte("made")) })
		require.Equal(t, 1, winners(t, errs, account.ErrIdempotencyKeyInUse))
	}
}
