package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestResponsePad_FollowsTheSlowestAnswer(t *testing.T) {
	t.Parallel()
	p := &responsePad{least: 60 * time.Millisecond}
	require.Equal(t, 60*time.Millisecond, p.raise(10*time.Millisecond), "a quick machine")
	require.Equal(t, 100*time.Millisecond, p.raise(100*time.Millisecond))
	require.Equal(t, 99*time.Millisecond, p.raise(20*time.Millisecond), "an unknown address on a busy machine takes as long")
	for range 60 {
		p.raise(20 * time.Millisecond)
	}
	require.Equal(t, 60*time.Millisecond, p.raise(20*time.Millisecond), "and less again once it is not busy")
	require.Equal(t, 600*time.Millisecond, p.raise(time.Minute), "a fault holds nobody for long")
}

func TestResponsePad_WaitsFromTheBeginning(t *testing.T) {
	t.Parallel()
	p := &responsePad{least: 30 * time.Millisecond, clock: account.SystemClock{}}
	began := time.Now()
	p.begin()()
	require.GreaterOrEqual(t, time.Since(began), p.least)
}
