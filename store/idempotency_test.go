package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const keyTTL = 48 * time.Hour

func (w world) claim(t *testing.T, key, body string) (store.KeyClaim, error) {
	t.Helper()
	return w.ClaimKey(t.Context(), key, []byte(body), lease, keyTTL)
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

		require.NoError(t, w.ReleaseKey(t.Context(), key))
		require.Equal(t, 1, w.claimants(t, key, "body"), "a released key may be tried again")
		require.NoError(t, w.ReleaseKey(t.Context(), key))
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
	require.NoError(t, w.KeepAnswer(t.Context(), "key", 201, []byte("sealed"), "/v1/operations/1"))

	for range 2 {
		c, err = w.claim(t, "key", "body")
		require.NoError(t, err)
		require.Equal(t, store.KeyClaim{Status: 201, Answer: []byte("sealed"), Operation: "/v1/operations/1"}, c)
		require.NoError(t, w.ReleaseKey(t.Context(), "key"), "releasing does not forget an answer")
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
		_, err := w.ClaimKey(t.Context(), key, []byte("body"), lease, ttl)
		require.NoError(t, err)
		if answer != "" {
			require.NoError(t, w.KeepAnswer(t.Context(), key, 200, []byte(answer), ""))
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
