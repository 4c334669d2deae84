//go:build unix

package secret

import (
	"syscall"
	"unsafe"
)

// newBlocks returns zeroed memory outside of the garbage collector's, which would let as much again pile up beside it before it
// collects. It is never given back.
func newBlocks(n int) []block {
	memory, err := syscall.Mmap(-1, 0, n*blockBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]block, n)
	}
	return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(memory))), n) //nolint:gosec // pages are aligned for anything
}
