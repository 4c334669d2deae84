package worker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/worker"
)

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&logged, nil))
		ctx, cancel := context.WithCancel(t.Context())
		var turns []time.Time
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			worker.Sweep(ctx, time.Hour, func(context.Context) error {
				turns = append(turns, time.Now())
				if len(turns) == 1 {
					return account.ErrUnavailable.Because(errors.New("row of ada@example.com"))
				}
				return nil
			}, logger)
		}()

		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.GreaterOrEqual(t, len(turns), 21)
		require.LessOrEqual(t, len(turns), 24)
		require.Less(t, turns[0].Sub(start), time.Hour)
		spread := map[time.Duration]bool{}
		for i := 1; i < len(turns); i++ {
			pause := turns[i].Sub(turns[i-1])
			require.GreaterOrEqual(t, pause, time.Hour)
			require.Less(t, pause, 66*time.Minute)
			spread[pause] = true
		}
		require.Greater(t, len(spread), 1, "turns drift")
		require.Equal(t, 1, bytes.Count(logged.Bytes(), []byte("sweep failed")))
		require.Contains(t, logged.String(), "unavailable")
		require.NotContains(t, logged.String(), "ada@example.com")

		before := len(turns)
		cancel()
		<-done
		time.Sleep(24 * time.Hour)
		require.Len(t, turns, before)
	})
}

func TestSweepCutShortIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		worker.Sweep(ctx, time.Hour, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, slog.New(slog.NewTextHandler(&logged, nil)))
		require.Empty(t, logged.String())
	})
}
