package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/worker"
)

// A promotion goes on while workers of the build are starting and while Temporal is too busy to answer, and no longer than asked.
func TestPromote_WaitsForWorkersAndForTemporal(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		says  []error // the last one again and again
		tries int
		want  error
	}{
		"at once":           {[]error{nil}, 1, nil},
		"after a while":     {[]error{worker.ErrNoBuild, worker.ErrNotAnswered, nil}, 3, nil},
		"refused":           {[]error{refused}, 1, refused},
		"nobody comes":      {[]error{worker.ErrNoBuild}, 3, worker.ErrNoBuild},
		"nobody answers":    {[]error{worker.ErrNotAnswered}, 3, worker.ErrNotAnswered},
		"answered too late": {[]error{worker.ErrNotAnswered, worker.ErrNotAnswered, worker.ErrNoBuild, nil}, 3, worker.ErrNoBuild},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := promote(t.Context(), 2500*time.Millisecond, func(context.Context) error {
					tries++
					return c.says[min(tries, len(c.says))-1]
				})
				require.ErrorIs(t, err, c.want)
				require.Equal(t, c.tries, tries)
			})
		})
	}
}
