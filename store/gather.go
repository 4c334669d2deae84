package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"gatehouse/account"
)

// gather answers reads that are asked for at the same time by one statement: most of what a small read costs the database and us
// is the same for one row and for sixteen, and so is a commit, where reading is counting. Every read is answered by a statement
// that began after it was asked for, so it sees whatever was committed before: a session that was revoked is refused from the
// next request on, as if each had asked alone. While lanes are free a read is its own statement at once, and waits for nobody.
type gather[K, V any] struct {
	// read answers all reads of a group, or returns why it could not.
	read func(ctx context.Context, group []*reading[K, V]) error
	// lanes is how many statements run at once before reads begin to wait for each other.
	lanes int

	mu sync.Mutex
	// running are the statements that hold a lane.
	running []*statement
	waiting []*reading[K, V]
	// watched says that somebody looks out for statements that take too long.
	watched bool
}

// statement is one that runs.
type statement struct{ began time.Time }

// reading is one read and its answer.
type reading[K, V any] struct {
	ctx   context.Context //nolint:containedctx // a group lives as long as the last of those who wait for it
	key   K
	value V
	err   error
	// told gets the turn of this read's goroutine, or the zero one once somebody else has answered it.
	told chan turn[K, V]
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
	if len(g.running) < g.lanes {
		began := g.begin()
		g.mu.Unlock()
		g.answer(began, []*reading[K, V]{r}) //nolint:contextcheck // a reading brings its own
		return r.value, r.err
	}
	r.told = make(chan turn[K, V], 1)
	g.waiting = append(g.waiting, r)
	g.watch()
	g.mu.Unlock()
	select {
	case turn := <-r.told:
		turn.take(g)
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
	case turn := <-r.told:
		turn.take(g)
	default:
	}
}

// turn is a group that whoever gets it has to answer, as the statement that has the lane for it. The zero turn is nothing to do.
type turn[K, V any] struct {
	group []*reading[K, V]
	began *statement
}

func (t turn[K, V]) take(g *gather[K, V]) {
	if t.group != nil {
		g.answer(t.began, t.group)
	}
}

// answer runs the statement of a group, the first of which is the caller's.
func (g *gather[K, V]) answer(began *statement, group []*reading[K, V]) {
	ctx, cancel := together(group)
	defer cancel()
	err := errReadEnded
	defer func() {
		g.end(began)
		for _, r := range group {
			if err != nil {
				r.err = err
			}
			if r.told != nil && r != group[0] {
				r.told <- turn[K, V]{}
			}
		}
	}()
	err = g.read(ctx, group)
}

// begin takes a lane. The caller holds the mutex.
func (g *gather[K, V]) begin() *statement {
	began := &statement{began: account.SystemClock{}.Now()}
	g.running = append(g.running, began)
	return began
}

// end hands the lane of a statement on, unless that was done before, when it took too long.
func (g *gather[K, V]) end(s *statement) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.running, s); i >= 0 {
		g.running = slices.Delete(g.running, i, i+1)
		g.next()
	}
}

// next has those who wait begin, where a lane is free. The caller holds the mutex.
func (g *gather[K, V]) next() {
	if n := min(len(g.waiting), groupLimit); n > 0 {
		group := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		group[0].told <- turn[K, V]{group, g.begin()}
	}
}

// watch looks out for statements that take too long, while others wait for them: a timer for each of them would cost more than
// many of them do. The caller holds the mutex.
func (g *gather[K, V]) watch() {
	if g.watched || len(g.waiting) == 0 || len(g.running) == 0 {
		return
	}
	g.watched = true
	time.AfterFunc(slowRead-account.SystemClock{}.Now().Sub(g.running[0].began), g.overdue)
}

// overdue takes the lanes of statements that take too long from them.
func (g *gather[K, V]) overdue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = false
	now := account.SystemClock{}.Now()
	for len(g.running) > 0 && now.Sub(g.running[0].began) >= slowRead {
		g.running = slices.Delete(g.running, 0, 1)
		g.next()
	}
	g.watch()
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
