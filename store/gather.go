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

// gather batches requests, like a DataLoader (decision 0024): reads that are asked for at the same time are answered by one
// statement. Most of what a small read costs the database and us is the same for one row and for sixteen. So is a commit, where
// reading is counting.
//
// Four requests A, B, C and D, where two statements may run in parallel:
//
//	A comes, nothing runs     A runs a statement for A at once
//	B comes, one runs         B runs a statement for B at once
//	C comes, two run          C waits
//	D comes, two run          D waits
//	A's statement ends        C is woken, and runs one statement for C and D
//	C's statement ends        D is woken, with its answer
//
// So nobody waits while a statement may run, and groups grow, to sixteen reads at most, only when the process falls behind. Every
// read is answered by a statement that began after it was asked for, so it sees whatever was committed before: a session that was
// revoked is refused from the next request on, as if each had asked alone.
type gather[K, V any] struct {
	// read answers all reads of a group, or returns why it could not.
	read func(ctx context.Context, group []*reading[K, V]) error
	// parallel is how many statements run at once before reads begin to wait for each other.
	parallel int

	mu sync.Mutex
	// running are the statements that count for parallel, the oldest first. One that takes too long counts no more (overdue).
	running []*statement
	waiting []*reading[K, V]
	// watched says that a timer will call overdue.
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
	// told wakes the goroutine of this read: with the job to answer a group, its own read first, or with the zero job once another
	// goroutine has answered it. Nil for a read that did not have to wait.
	told chan job[K, V]
}

const (
	// groupLimit is the most reads that one statement answers.
	groupLimit = 16
	// slowRead is when a statement stops holding up those who wait: what hangs in the network must not keep the others.
	slowRead = 50 * time.Millisecond
)

// parallelReads is as many statements as this process has cores, since it could not handle more answers at the same time, and at
// most half of the pool.
func parallelReads(pool int) int { return max(2, min(runtime.GOMAXPROCS(0), pool/2)) }

var errReadEnded = errors.New("the read ended early")

// get returns the answer for key.
func (g *gather[K, V]) get(ctx context.Context, key K) (V, error) {
	r := &reading[K, V]{ctx: ctx, key: key}
	g.mu.Lock()
	if len(g.running) < g.parallel {
		began := g.begin()
		g.mu.Unlock()
		g.answer(began, []*reading[K, V]{r}) //nolint:contextcheck // a reading brings its own
		return r.value, r.err
	}
	r.told = make(chan job[K, V], 1)
	g.waiting = append(g.waiting, r)
	g.watch()
	g.mu.Unlock()
	select {
	case woken := <-r.told:
		woken.do(g)
		return r.value, r.err
	case <-ctx.Done():
		g.leave(r)
		var nothing V
		return nothing, ctx.Err()
	}
}

// leave takes back a read whose caller gave up. If it was just given a group to answer, it answers that group first.
func (g *gather[K, V]) leave(r *reading[K, V]) {
	g.mu.Lock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *reading[K, V]) bool { return other == r })
	g.mu.Unlock()
	select {
	case woken := <-r.told:
		woken.do(g)
	default:
	}
}

// job is a group of reads that the goroutine which gets it has to answer, and the statement that counts for it. The zero job is
// nothing to do.
type job[K, V any] struct {
	group []*reading[K, V]
	began *statement
}

func (j job[K, V]) do(g *gather[K, V]) {
	if j.group != nil {
		g.answer(j.began, j.group)
	}
}

// answer runs the statement of a group, the first of which is the caller's own, and wakes the others.
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
				r.told <- job[K, V]{}
			}
		}
	}()
	err = g.read(ctx, group)
}

// begin counts one more statement as running. The caller holds the mutex.
func (g *gather[K, V]) begin() *statement {
	began := &statement{began: account.SystemClock{}.Now()}
	g.running = append(g.running, began)
	return began
}

// end counts a statement as running no more and lets the next group begin, unless overdue has done so before.
func (g *gather[K, V]) end(s *statement) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.running, s); i >= 0 {
		g.running = slices.Delete(g.running, i, i+1)
		g.next()
	}
}

// next gives those who wait, or the first sixteen of them, to the first one as a job. The caller holds the mutex, and has made sure
// that another statement may run.
func (g *gather[K, V]) next() {
	if n := min(len(g.waiting), groupLimit); n > 0 {
		group := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		group[0].told <- job[K, V]{group, g.begin()}
	}
}

// watch sets the timer that calls overdue, while others wait for the statements that run. There is one timer for all statements:
// one each would cost more than many of them do. The caller holds the mutex.
func (g *gather[K, V]) watch() {
	if g.watched || len(g.waiting) == 0 || len(g.running) == 0 {
		return
	}
	g.watched = true
	time.AfterFunc(slowRead-account.SystemClock{}.Now().Sub(g.running[0].began), g.overdue)
}

// overdue counts statements that take too long (slowRead) as running no more, so that those who wait need not wait for them.
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
