package secret_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

func TestHashedPasswords(t *testing.T) {
	t.Parallel()
	h := secret.NewHasher(newKeys(t), 0, 64, time.Minute)
	const password = "correct horse battery"
	hash, err := h.Hash(t.Context(), password)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), hash)
	again, err := h.Hash(t.Context(), password)
	require.NoError(t, err)
	require.NotEqual(t, hash, again, "salted")
	for given, want := range map[string]bool{
		password: true, password + " ": false, " " + password: false, "Correct horse battery": false, "": false,
	} {
		match, err := h.Verify(t.Context(), hash, given, nil)
		require.NoError(t, err)
		require.Equal(t, want, match, "%q", given)
	}
	match, err := secret.NewHasher(newKeys(t), 0, 64, time.Minute).Verify(t.Context(), hash, password, nil)
	require.NoError(t, err)
	require.False(t, match, "without the pepper a stolen hash is of no use")
	_, err = h.Verify(t.Context(), "no hash", password, nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), password)
}

func TestLOG07_UnicodePasswords(t *testing.T) {
	t.Parallel()
	h := secret.NewHasher(newKeys(t), 0, 64, time.Minute)
	composed, decomposed := "p\u00e4ssw\u00f6rd-\U0001F511", "pa\u0308sswo\u0308rd-\U0001F511"
	hash, err := h.Hash(t.Context(), composed)
	require.NoError(t, err)
	for given, want := range map[string]bool{
		composed: true, decomposed: true, "password-\U0001F511": false, composed + " ": false, "p\u00e4ssw\u00f6rd-": false,
	} {
		match, err := h.Verify(t.Context(), hash, given, nil)
		require.NoError(t, err)
		require.Equal(t, want, match, "%q", given)
	}
	// Beyond the 72 bytes of bcrypt, and past a NUL.
	long := strings.Repeat("a", 200)
	hash, err = h.Hash(t.Context(), long+"\x00b")
	require.NoError(t, err)
	for given, want := range map[string]bool{long + "\x00b": true, long + "\x00c": false, long: false} {
		match, err := h.Verify(t.Context(), hash, given, nil)
		require.NoError(t, err)
		require.Equal(t, want, match)
	}
}

func TestENU01_UnknownAccountsCostTheSame(t *testing.T) {
	t.Parallel()
	h := secret.NewHasher(newKeys(t), 1, 64, time.Minute)
	hash, err := h.Hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	// The fastest of several, in turns: what else the machine does only ever adds.
	compare := func() (known, unknown time.Duration) {
		known, unknown = time.Hour, time.Hour
		for range 5 {
			for given, best := range map[string]*time.Duration{hash: &known, "": &unknown} {
				start := time.Now()
				match, err := h.Verify(t.Context(), given, "wrong horse battery", nil)
				*best = min(*best, time.Since(start))
				require.NoError(t, err)
				require.False(t, match)
			}
		}
		return known, unknown
	}
	var known, unknown time.Duration
	for range 10 {
		known, unknown = compare()
		if ratio := float64(unknown) / float64(known); 0.8 < ratio && ratio < 1.25 {
			return
		}
	}
	t.Fatalf("%s for nobody, %s for somebody", unknown, known)
}

func TestLOG09_WeakerHashesAreOutdated(t *testing.T) {
	t.Parallel()
	current, err := secret.NewHasher(newKeys(t), 0, 64, time.Minute).Hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	require.False(t, secret.Outdated(current))
	for _, weaker := range []string{"m=7168,t=2,p=1", "m=19456,t=1,p=1"} {
		require.True(t, secret.Outdated(strings.Replace(current, "m=19456,t=2,p=1", weaker, 1)), weaker)
	}
}

// held is a Hasher whose only slot is taken until release is called.
func held(t *testing.T, queue int, wait time.Duration) (h *secret.Hasher, release func()) {
	t.Helper()
	h = secret.NewHasher(newKeys(t), 1, queue, wait)
	taken, done := make(chan struct{}), make(chan struct{})
	end := errors.New("end")
	var holder sync.WaitGroup
	holder.Go(func() {
		_, _ = h.Verify(context.WithoutCancel(t.Context()), "", "x", func(context.Context) error {
			close(taken)
			<-done
			return end
		})
	})
	<-taken
	return h, sync.OnceFunc(func() {
		close(done)
		holder.Wait()
	})
}

func TestLOG05_FullQueueIsBusyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, release := held(t, 2, time.Hour)
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				if _, err := h.Hash(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		require.Equal(t, int64(2), h.Use().Waiting)
		start := time.Now()
		_, err := h.Hash(t.Context(), "x")
		require.ErrorIs(t, err, account.ErrBusy)
		_, err = h.Verify(t.Context(), "", "x", nil)
		require.ErrorIs(t, err, account.ErrBusy)
		require.Positive(t, account.AsError(err).RetryAfter)
		require.Zero(t, time.Since(start), "without waiting")
		require.Equal(t, secret.HashUse{Slots: 1, InUse: 1, Queue: 2, Waiting: 2, Refused: 2}, h.Use())
		release()
		waiting.Wait()
		require.Zero(t, h.Use().Waiting)
	})
}

func TestLOG05_LongWaitIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, release := held(t, 8, 2*time.Second)
		defer release()
		start := time.Now()
		_, err := h.Hash(t.Context(), "x")
		require.ErrorIs(t, err, account.ErrBusy)
		require.Equal(t, 2*time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = h.Verify(ctx, "", "x", nil)
		require.ErrorIs(t, err, account.ErrBusy, "whoever gave up is not served")
		require.Equal(t, time.Second, time.Since(start))
		require.Zero(t, h.Use().Waiting)
	})
}

func TestThrottleJudgesInsideTheSlot(t *testing.T) {
	t.Parallel()
	h := secret.NewHasher(newKeys(t), 1, 8, time.Minute)
	refused := account.ErrTooManyRequests.After(time.Second)
	match, err := h.Verify(t.Context(), "no hash, and never looked at", "x", func(context.Context) error { return refused })
	require.ErrorIs(t, err, refused)
	require.False(t, match)
	_, err = h.Hash(t.Context(), "x")
	require.NoError(t, err, "the slot is free again")
}

func BenchmarkHash(b *testing.B) {
	h := secret.NewHasher(newKeys(b), 0, 64, time.Minute)
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse battery"); err != nil {
			b.Fatal(err)
		}
	}
}
