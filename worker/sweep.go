package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"gatehouse/internal/durable"
)

// Sweep calls sweep again and again, about every so often (up to a tenth later, so that replicas drift apart), until ctx
// ends. The first call comes after a random part of every. A failed sweep is logged by the name of its error and tried
// again at the next turn; sweep must bear being run by several processes at once.
func Sweep(ctx context.Context, every time.Duration, sweep func(context.Context) error, logger *slog.Logger) {
	pause := time.NewTimer(jitter(every))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if err := sweep(ctx); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "sweep failed", slog.String("error", durable.Describe(err)))
		}
		pause.Reset(every + jitter(every/10))
	}
}

func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit) //nolint:gosec // Spreads load; nothing is guessed from it.
}
