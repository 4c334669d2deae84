package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// gather answers reads that are asked for at the same time by one statement: most of what a small read costs the database and us
// is the same for one row and for sixteen, and so is a commit, where reading is counting. Every read is answered by a statement that began after it was asked for, so it sees
// whatever was committed before: a session that was revoked is refused from the next request on, as if each had asked alone.
// While lanes are free a read is its own statement at once, and waits for nobody.
type gather[K, V any] struct {
	// read answers all reads of a group, or returns why it could not.
	read func(ctx context.Context, group []*reading[K, V]) error
	// lanes is how many statements run at once before reads begin to wait for each other.
	lanes int

	mu      sync.Mutex
	running int
	waiting []*reading[K, V]
}

// reading is one read and its answer.
type reading[K, V any] struct {
	ctx   context.Context //nolint:containedctx // a group lives as long as the last of those who wait for it
	key   K
	value V
	err   error
	// told gets the group that this read's goroutine has to answer, or nil once somebody else has answered it.
	told chan []*reading[K, V]
}

const (
	// groupLimit is the most reads that one statement answers.
	groupLimit = 16
	// slowRead is when a statement stops holding up those who wait: what hangs in the network must not keep the others.
	slowRead = 50 * time.Millisecond
)

// lanesOf is as many statements at once as this process has cores: what could not be handled at once may as well be read together.
func lanesOf(pool int) int { return max(2, min(runtime.GOMAXPROCS(0), pool/2)) }

var errReadEnded = errors.New("the read ended early")

func (g *gather[K, V]) get(ctx context.Context, key K) (V, error) {
	r := &reading[K, V]{ctx: ctx, key: key}
	g.mu.Lock()
	if g.running < g.lanes {
		g.running++
		g.mu.Unlock()
		g.answer([]*reading[K, V]{r})
		return r.value, r.err
	}
	r.told = make(chan []*reading[K, V], 1)
	g.waiting = append(g.waiting, r)
	g.mu.Unlock()
	select {
	case group := <-r.told:
		if group != nil {
			g.answer(group)
		}
		return r.value, r.err
	case <-ctx.Done():
		g.leave(r)
		var nothing V
		return nothing, ctx.Err()
	}
}

// leave takes a read back. If the others of its group already count on it, it answers them first.
func (g *gather[K, V]) leave(r *reading[K, V]) {
	g.mu.Lock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *reading[K, V]) bool { return other == r })
	g.mu.Unlock()
	select {
	case group := <-r.told:
		if group != nil {
			g.answer(group)
		}
	default:
	}
}

// answer runs the statement of a group, the first of which is the caller's.
func (g *gather[K, V]) answer(group []*reading[K, V]) {
	ctx, cancel := together(group)
	defer cancel()
	err := errReadEnded
	slow := time.AfterFunc(slowRead, g.next)
	defer func() {
		if slow.Stop() {
			g.next()
		}
		for _, r := range group {
			if err != nil {
				r.err = err
			}
			if r.told != nil && r != group[0] {
				r.told <- nil
			}
		}
	}()
	err = g.read(ctx, group)
}

// next hands the lane of a statement to those who wait.
func (g *gather[K, V]) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), groupLimit)
	if n == 0 {
		g.running--
		return
	}
	group := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	group[0].told <- group
}

// together is the context of a group: it ends when the last of them does, for none may end the read of another.
func together[K, V any](group []*reading[K, V]) (context.Context, context.CancelFunc) {
	if len(group) == 1 {
		return group[0].ctx, func() {}
	}
	ctx := context.WithoutCancel(group[0].ctx)
	var last time.Time
	for _, r := range group {
		end, bounded := r.ctx.Deadline()
		if !bounded {
			return ctx, func() {}
		}
		if end.After(last) {
			last = end
		}
	}
	return context.WithDeadline(ctx, last)
}
