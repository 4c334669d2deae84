package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var placed []time.Time
	set := func(at time.Time) error {
		placed = append(placed, at)
		return nil
	}
	var p patience
	for _, step := range []struct {
		what   string
		wanted time.Time
		places bool
	}{
		{"none, where none is", time.Time{}, false},
		{"the first", start.Add(60 * time.Second), true},
		{"the same", start.Add(60 * time.Second), false},
		{"one that is nearly the same", start.Add(60*time.Second + impatience - 1), false},
		{"one that is later", start.Add(60*time.Second + impatience), true},
		{"one that is earlier", start.Add(60 * time.Second), true},
		{"none", time.Time{}, true},
		{"one after none", start, true},
	} {
		before := len(placed)
		p.wanted = step.wanted
		require.NoError(t, p.place(set))
		if !step.places {
			require.Len(t, placed, before, step.what)
			continue
		}
		require.Len(t, placed, before+1, step.what)
		require.Equal(t, step.wanted, placed[before], step.what)
	}
}
