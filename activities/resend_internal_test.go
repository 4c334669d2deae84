package activities

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/store"
)

// sends are all names of steps that recipes may have.
func sends(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "resend.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "sends") {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			names = append(names, name)
		}
		return true
	})
	return names
}

func TestEveryStepThatSendsCanSendOnceMore(t *testing.T) {
	t.Parallel()
	known := sends(t)
	require.Len(t, known, 8)
	a := &Activities{}
	for _, name := range known {
		_, err := a.dispatch(t.Context(), store.Recipe{Send: name, Input: []byte(`not JSON`)})
		require.ErrorIs(t, err, account.ErrInternal, "%s got as far as its input", name)
	}
	_, err := a.dispatch(t.Context(), store.Recipe{Send: "carrier_pigeon"})
	require.ErrorContains(t, err, "no step sends")
}

func TestNextRetry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	info := func(attempt int32, left time.Duration) activity.Info {
		return activity.Info{
			Attempt: attempt, ScheduledTime: now.Add(-time.Minute), ScheduleToCloseTimeout: time.Minute + left,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
		}
	}
	for attempt, want := range map[int32]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 4000: 30 * time.Second} {
		require.Equal(t, want, nextRetry(info(attempt, time.Hour), now, 0), "attempt %d", attempt)
	}
	require.Equal(t, 42*time.Second, nextRetry(info(1, time.Hour), now, 42*time.Second), "the provider's own word")
	require.Equal(t, 2*time.Second, nextRetry(info(2, time.Hour), now, time.Second), "a second is nobody's word")
	require.Zero(t, nextRetry(info(6, 20*time.Second), now, 0), "its time is over before")
	require.Zero(t, nextRetry(info(1, time.Hour), now, 2*time.Hour))
	require.Equal(t, 4*time.Second, nextRetry(activity.Info{Attempt: 3}, now, 0), "the server's defaults, without an end")
}
