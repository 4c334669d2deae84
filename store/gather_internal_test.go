package store

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// counted is a gather over something that changes: every read returns its key and the version of the moment its statement began.
type counted struct {
	gather[int, string]

	version, statements atomic.Int64
	mu                  sync.Mutex
	sizes               []int
}

func newCounted(parallel int, during func(n int64, group []*reading[int, string]) error) *counted {
	c := &counted{}
	c.parallel = parallel
	c.read = func(_ context.Context, group []*reading[int, string]) error {
		version := c.version.Load()
		c.mu.Lock()
		c.sizes = append(c.sizes, len(group))
		c.mu.Unlock()
		if err := during(c.statements.Add(1), group); err != nil {
			return err
		}
		for _, r := range group {
			r.value = strconv.Itoa(r.key) + "@" + strconv.FormatInt(version, 10)
		}
		return nil
	}
	return c
}

func takes(d time.Duration) func(int64, []*reading[int, string]) error {
	return func(int64, []*reading[int, string]) error {
		time.Sleep(d)
		return nil
	}
}

// Everybody gets what is theirs, and those who come together share a statement.
func TestGather_EachGetsTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(2, takes(time.Millisecond))
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				got, err := c.get(t.Context(), i)
				require.NoError(t, err)
				require.Equal(t, strconv.Itoa(i)+"@0", got)
			})
		}
		group.Wait()
		require.Empty(t, c.running)
		require.Empty(t, c.waiting)
		require.Equal(t, []int{1, 1, 16, 16, 16}, c.sizes, "two at once, then those who waited")
	})
}

// Whoever asks after a change sees it, also while a statement from before it still runs and others wait.
func TestGather_NobodyReadsWhatWasBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(1, takes(10*time.Millisecond))
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				asked := c.version.Add(1)
				got, err := c.get(t.Context(), 0)
				require.NoError(t, err)
				version, err := strconv.ParseInt(got[len("0@"):], 10, 64)
				require.NoError(t, err)
				require.GreaterOrEqual(t, version, asked)
			})
		}
		group.Wait()
		require.Less(t, c.statements.Load(), int64(20))
	})
}

// A statement that hangs keeps nobody but those who asked for it.
func TestGather_SlowStatementsAreOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(1, func(n int64, _ []*reading[int, string]) error {
			if n == 1 {
				time.Sleep(time.Hour)
			}
			return nil
		})
		var group sync.WaitGroup
		group.Go(func() { _, _ = c.get(t.Context(), 1) })
		synctest.Wait()
		started := time.Now()
		_, err := c.get(t.Context(), 2)
		require.NoError(t, err)
		require.Equal(t, slowRead, time.Since(started))
		_, err = c.get(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, slowRead, time.Since(started), "another statement may run again")
		group.Wait()
		require.Empty(t, c.running)
	})
}

// Whoever gives up takes nothing from the others, whether or not the others count on them.
func TestGather_WhoGivesUpHarmsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(1, takes(20*time.Millisecond))
		patient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				time.Sleep(time.Duration(i))
				ctx := patient
				if i%2 == 1 { // each first of those who wait is one of them
					hasty, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond+time.Duration(i)*time.Millisecond)
					defer cancel()
					ctx = hasty
				}
				got, err := c.get(ctx, i)
				if i%2 == 1 && errors.Is(err, context.DeadlineExceeded) {
					return
				}
				require.NoError(t, err)
				require.Equal(t, strconv.Itoa(i)+"@0", got)
			})
		}
		group.Wait()
		require.Empty(t, c.running)
		require.Empty(t, c.waiting)
	})
}

// The read of a group lasts as long as the most patient of them waits.
func TestGather_GroupsEndWithTheirLast(t *testing.T) {
	t.Parallel()
	short, cancelShort := context.WithTimeout(t.Context(), time.Minute)
	defer cancelShort()
	long, cancelLong := context.WithTimeout(t.Context(), time.Hour)
	defer cancelLong()
	last, _ := long.Deadline()
	cancelShort()
	ctx, cancel := together([]*reading[int, string]{{ctx: short}, {ctx: long}})
	defer cancel()
	end, bounded := ctx.Deadline()
	require.True(t, bounded)
	require.Equal(t, last, end)
	require.NoError(t, ctx.Err(), "the first has gone, the others have not")
	ctx, cancel = together([]*reading[int, string]{{ctx: short}, {ctx: t.Context()}})
	defer cancel()
	_, bounded = ctx.Deadline()
	require.False(t, bounded)
	require.NoError(t, ctx.Err())
}

// What a group fails with is what each of them hears, a panic included, and the next group begins.
func TestGather_FailuresReachEverybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		c := newCounted(1, func(n int64, _ []*reading[int, string]) error {
			time.Sleep(time.Millisecond)
			if n == 3 {
				panic("oh")
			}
			return broken
		})
		var group sync.WaitGroup
		var panics, ended, brokens atomic.Int64
		for i := range 1 + 2*groupLimit {
			group.Go(func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				switch _, err := c.get(t.Context(), i); {
				case errors.Is(err, errReadEnded):
					ended.Add(1)
				case errors.Is(err, broken):
					brokens.Add(1)
				}
			})
		}
		group.Wait()
		require.Equal(t, []int64{1, groupLimit - 1, 1 + groupLimit}, []int64{panics.Load(), ended.Load(), brokens.Load()})
		require.Empty(t, c.running)
	})
}
