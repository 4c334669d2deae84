package core

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gatehouse/account"
)

// answerSpread is the most that is added at random to the time of a padded answer. It is far more than what padding leaves of the
// difference between a known address and an unknown one.
const answerSpread = 20 * time.Millisecond

// level pads the response time of one operation, so that the time does not tell whether an address is known (security.md ENU-01):
// it brings all answers to one level. Each answer is delayed until it has taken as long as the slowest of the recent ones. A fixed
// time would not do: on a machine that is busy, the work for a known address may take longer than any time chosen here.
type level struct {
	// least is the shortest time that an answer takes: longer than the work takes on a machine that is not busy.
	least time.Duration
	clock account.Clock
	// recent is the time of the slowest recent answer, in nanoseconds. It loses a hundredth with each answer, so it falls back to
	// least once the machine is quick again.
	recent atomic.Int64
}

// mostOverLeast caps recent, in multiples of least: a few very slow answers must not delay those after them by as much.
const mostOverLeast = 10

// begin notes when the work on an answer begins. The function that it returns delays the answer. Put it first in an operation:
//
//	defer l.begin()()
func (l *level) begin() (end func()) {
	began := l.clock.Now()
	return func() {
		took := l.clock.Now().Sub(began)
		height := l.raise(took) + rand.N(answerSpread) //nolint:gosec // Hides differences; nothing is guessed from it.
		<-time.After(height - took)
	}
}

// raise notes how long the work on an answer took, and returns how long the answer is to take in all.
func (l *level) raise(took time.Duration) time.Duration {
	for {
		old := l.recent.Load()
		next := max(min(took, mostOverLeast*l.least), time.Duration(old-old/100))
		if l.recent.CompareAndSwap(old, int64(next)) {
			return max(l.least, next)
		}
	}
}

// levels are the padded operations of a process.
type levels struct {
	// resend pads C23, reset C07 and B05: they ask for a code or a link, which only a known address gets.
	resend, reset level
	// signup pads C08, B02 and what else opens an account: only a free address starts a flow that makes one (ENU-03).
	signup level
}

func newLevels(clock account.Clock) *levels {
	return &levels{
		resend: level{least: 60 * time.Millisecond, clock: clock},
		reset:  level{least: 60 * time.Millisecond, clock: clock},
		signup: level{least: 250 * time.Millisecond, clock: clock},
	}
}

// levelSignup is begin for a sign-up. It pads only in hidden enumeration mode, where neither the answer nor its time may tell that
// an address is taken (security.md ENU-03).
func (c *Core) levelSignup() (end func()) {
	if c.Policy.Enumeration != account.EnumerationHidden {
		return func() {}
	}
	return c.levels.signup.begin()
}
