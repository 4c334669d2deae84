//go:build !unix

package secret

func newBlocks(n int) []block { return make([]block, n) }
