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

// responsePad pads the response time of one operation, so that the time does not tell whether an address is known (security.md
// ENU-01). Each answer is delayed until it has taken as long as the slowest of the recent ones. A fixed time would not do: on a
// machine that is busy, the work for a known address may take longer than any time chosen here.
type responsePad struct {
	// least is the shortest time that an answer takes: longer than the work takes on a machine that is not busy.
	least time.Duration
	clock account.Clock
	// recent is the time of the slowest recent answer, in nanoseconds. It loses a hundredth with each answer, so it falls back to
	// least once the machine is quick again.
	recent atomic.Int64
}

// mostOverLeast caps recent, in multiples of least: a few very slow answers must not delay those after them by as much.
const mostOverLeast = 10

// most is the longest that other answers are delayed for the sake of one that took as long.
func (p *responsePad) most() time.Duration { return mostOverLeast * p.least }

// begin notes when the work on an answer begins. The function that it returns delays the answer. Put it first in an operation:
//
//	defer p.begin()()
func (p *responsePad) begin() (end func()) {
	began := p.clock.Now()
	return func() {
		took := p.clock.Now().Sub(began)
		height := p.raise(took) + rand.N(answerSpread) //nolint:gosec // Hides differences; nothing is guessed from it.
		<-time.After(height - took)
	}
}

// raise notes how long the work on an answer took, and returns how long the answer is to take in all.
func (p *responsePad) raise(took time.Duration) time.Duration {
	for {
		old := p.recent.Load()
		next := max(min(took, p.most()), time.Duration(old-old/100))
		if p.recent.CompareAndSwap(old, int64(next)) {
			return max(p.least, next)
		}
	}
}

// responsePads are the padded operations of a process.
type responsePads struct {
	// resend pads C23, reset C07 and B05: they ask for a code or a link, which only a known address gets.
	resend, reset responsePad
	// signup pads C08, B02 and what else opens an account: only a free address starts a flow that makes one (ENU-03).
	signup responsePad
	// guess pads C06 and C31: a code awaits its proof only where a sign-up of the address, or its account, does (ENU-03).
	guess responsePad
}

func newPads(clock account.Clock) *responsePads {
	return &responsePads{
		resend: responsePad{least: 60 * time.Millisecond, clock: clock},
		reset:  responsePad{least: 60 * time.Millisecond, clock: clock},
		signup: responsePad{least: 250 * time.Millisecond, clock: clock},
		guess:  responsePad{least: 60 * time.Millisecond, clock: clock},
	}
}

// padHidden is begin, in hidden enumeration mode alone: there neither the answer nor its time may tell that an address is taken
// (security.md ENU-03).
func (c *Core) padHidden(p *responsePad) (end func()) {
	if !c.hidden() {
		return func() {}
	}
	return p.begin()
}
