package secret

import (
	"crypto/rand"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
)

// Whatever an arena was used for before, it makes the library's hash, and is empty after.
func TestArena_IsArgon2id(t *testing.T) {
	t.Parallel()
	const slots = 2
	all := make(arenas, slots)
	var group sync.WaitGroup
	for range slots + 1 { // one more than are kept
		group.Go(func() {
			for i := range 4 {
				password, salt := make([]byte, 1+i*40), make([]byte, 16)
				_, _ = rand.Read(password)
				_, _ = rand.Read(salt)
				rounds, length := uint32(1+i%3), uint32(16+i*16)
				got := all.key(password, salt, rounds, hashParams.Memory, 1, length)
				if want := argon2.IDKey(password, salt, rounds, hashParams.Memory, 1, length); string(got) != string(want) {
					t.Errorf("%d rounds, %d bytes: %x instead of %x", rounds, length, got, want)
				}
			}
		})
	}
	group.Wait()
	require.Len(t, all, slots)
	for range slots {
		a := <-all
		require.Len(t, a.blocks, int(hashParams.Memory))
		for _, b := range a.blocks {
			require.Zero(t, b)
		}
	}
	salt := []byte("0123456789abcdef")
	require.Equal(t, argon2.IDKey([]byte("p"), salt, 1, 64, 2, 32), all.key([]byte("p"), salt, 1, 64, 2, 32), "of former days")
}

// A hash takes no new memory once there was one.
func TestArena_IsUsedAgain(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	all := make(arenas, 1)
	hash := func() { all.key([]byte("password"), []byte("0123456789abcdef"), 1, hashParams.Memory, 1, 32) }
	hash()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 5 {
		hash()
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}
