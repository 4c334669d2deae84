package main

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWorkerIsReadyOnceItPolls(t *testing.T) {
	t.Parallel()
	var polling atomic.Bool
	ready := begun(&polling)
	require.Error(t, ready(t.Context()))
	polling.Store(true)
	require.NoError(t, ready(t.Context()))
}
