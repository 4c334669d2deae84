package secret

import (
	"encoding/binary"
	_ "unsafe" // for go:linkname

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// The steps of argon2.IDKey, which has no way to be given its memory (golang/go#36634): a hash would take 19 MiB of new memory, have
// the kernel clear every page of it, and leave it to the garbage collector, which costs a tenth of the hash itself and three times
// the memory. A version of the library without these steps does not link, one with others fails TestArena_IsArgon2id.

//go:linkname initHash golang.org/x/crypto/argon2.initHash
func initHash(password, salt, key, data []byte, time, memory, threads, keyLen uint32, mode int) [blake2b.Size + 8]byte

//go:linkname blake2bHash golang.org/x/crypto/argon2.blake2bHash
func blake2bHash(out, in []byte)

//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(blocks []block, time, memory, threads uint32, mode int)

//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(blocks []block, memory, threads, keyLen uint32) []byte

const (
	blockWords = 128
	blockBytes = blockWords * 8
	// argon2idMode is the library's number of the variant, and the standard's.
	argon2idMode = 2
)

type block [blockWords]uint64

// arena is the memory of one hash at a time: as many KiB as hashParams says, zero whenever no hash is under way.
type arena struct{ blocks []block }

func newArena() *arena { return &arena{blocks: newBlocks(int(hashParams.Memory))} }

// key is argon2.IDKey with the memory and parallelism of hashParams. It leaves nothing of the password behind.
func (a *arena) key(password, salt []byte, time, length uint32) []byte {
	defer clear(a.blocks)
	memory := hashParams.Memory
	seed := initHash(password, salt, nil, nil, time, memory, 1, length, argon2idMode)
	var first [blockBytes]byte
	for i := range uint32(2) {
		binary.LittleEndian.PutUint32(seed[blake2b.Size:], i)
		blake2bHash(first[:], seed[:])
		for n := range a.blocks[i] {
			a.blocks[i][n] = binary.LittleEndian.Uint64(first[n*8:])
		}
	}
	processBlocks(a.blocks, time, memory, 1, argon2idMode)
	return extractKey(a.blocks, memory, 1, length)
}

// arenas are kept for the next hash, as many as there were hashes at once.
type arenas chan *arena

// key is argon2.IDKey.
func (all arenas) key(password, salt []byte, time, memory uint32, threads uint8, length uint32) []byte {
	if memory != hashParams.Memory || threads != hashParams.Parallelism {
		return argon2.IDKey(password, salt, time, memory, threads, length) // a hash of former days
	}
	var a *arena
	select {
	case a = <-all:
	default:
		a = newArena()
	}
	defer func() {
		select {
		case all <- a:
		default: // there are as many as slots
		}
	}()
	return a.key(password, salt, time, length)
}
