package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestLevel_FollowsTheSlowestAnswer(t *testing.T) {
	t.Parallel()
	l := &level{least: 60 * time.Millisecond}
	require.Equal(t, 60*time.Millisecond, l.raise(10*time.Millisecond), "a quick machine")
	require.Equal(t, 100*time.Millisecond, l.raise(100*time.Millisecond))
	require.Equal(t, 99*time.Millisecond, l.raise(20*time.Millisecond), "an unknown address on a busy machine takes as long")
	for range 60 {
		l.raise(20 * time.Millisecond)
	}
	require.Equal(t, 60*time.Millisecond, l.raise(20*time.Millisecond), "and less again once it is not busy")
	require.Equal(t, 600*time.Millisecond, l.raise(time.Minute), "a fault holds nobody for long")
}

func TestLevel_WaitsFromTheBeginning(t *testing.T) {
	t.Parallel()
	l := &level{least: 30 * time.Millisecond, clock: account.SystemClock{}}
	began := time.Now()
	l.begin()()
	require.GreaterOrEqual(t, time.Since(began), l.least)
}
