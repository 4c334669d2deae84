package machine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/machine"
)

func TestFreePort_GivesNoPortTwice(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 1000 { // by chance, about forty of them would be the same
		port, err := machine.FreePort()
		require.NoError(t, err)
		require.False(t, seen[port])
		seen[port] = true
	}
}
