package durable

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestFlowLimit_FewUpdatesOfOneFlow(t *testing.T) {
	t.Parallel()
	var l flowLimits
	var inside, most, served atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			leave, err := l.enter(t.Context(), "flow")
			if err != nil {
				t.Error(err)
				return
			}
			for now := inside.Add(1); ; {
				seen := most.Load()
				if now <= seen || most.CompareAndSwap(seen, now) {
					break
				}
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
			served.Add(1)
			leave()
		})
	}
	all.Wait()
	require.EqualValues(t, 100, served.Load())
	require.EqualValues(t, updatesPerFlow, most.Load())
	require.Empty(t, l.open, "a limit that nobody needs is gone")
}

func TestFlowLimit_IsOfOneFlow(t *testing.T) {
	t.Parallel()
	var l flowLimits
	for range updatesPerFlow {
		leave, err := l.enter(t.Context(), "full")
		require.NoError(t, err)
		defer leave()
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := l.enter(late, "full")
	require.ErrorIs(t, err, account.ErrBusy, "nothing was sent")
	leave, err := l.enter(t.Context(), "another")
	require.NoError(t, err)
	leave()
	require.Len(t, l.open, 1)
	require.Equal(t, updatesPerFlow, l.open["full"].users)
}
