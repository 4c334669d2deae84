package core

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gatehouse/account"
)

// answerSpread is far more than what still differs between answers that are held back alike.
const answerSpread = 20 * time.Millisecond

// level holds back the answers of an operation that must not tell by their time whether an address is known (security.md
// ENU-01): each takes at least as long as the slowest of the last ones, so a machine that is slow today tells no more than
// another.
type level struct {
	// least is longer than the work takes on a machine that is not busy.
	least time.Duration
	clock account.Clock
	// recent is the time of the slowest answer, in nanoseconds, less a hundredth for each answer since.
	recent atomic.Int64
}

// mostOverLeast bounds by how much a few slow answers hold back those that follow.
const mostOverLeast = 10

// begin starts the work on an answer, end waits until the answer may be given.
func (l *level) begin() (end func()) {
	began := l.clock.Now()
	return func() {
		took := l.clock.Now().Sub(began)
		height := l.raise(took) + rand.N(answerSpread) //nolint:gosec // Hides differences; nothing is guessed from it.
		<-time.After(height - took)
	}
}

// raise notes how long an answer took, and returns how long it should take with its wait.
func (l *level) raise(took time.Duration) time.Duration {
	for {
		old := l.recent.Load()
		next := max(min(took, mostOverLeast*l.least), time.Duration(old-old/100))
		if l.recent.CompareAndSwap(old, int64(next)) {
			return max(l.least, next)
		}
	}
}

// levels are those of a process.
type levels struct {
	// resend and reset are for C23, and for C07 and B05: a code or a link is asked for.
	resend, reset level
	// signup is for C08, B02 and what else opens an account: a flow makes one only for a free address (ENU-03).
	signup level
}

func newLevels(clock account.Clock) *levels {
	return &levels{
		resend: level{least: 60 * time.Millisecond, clock: clock},
		reset:  level{least: 60 * time.Millisecond, clock: clock},
		signup: level{least: 250 * time.Millisecond, clock: clock},
	}
}

// levelSignup begins a sign-up, and returns what ends it: in hidden enumeration mode a wait, so that the time tells no more than
// the answer (security.md ENU-03).
func (c *Core) levelSignup() (end func()) {
	if c.Policy.Enumeration != account.EnumerationHidden {
		return func() {}
	}
	return c.levels.signup.begin()
}
