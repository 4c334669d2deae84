package account

import "time"

// Clock tells the time to everything that is not SQL (which uses now()) or a workflow (which uses workflow.Now).
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's clock in UTC.
type SystemClock struct{}

// Now returns the current time in UTC.
func (SystemClock) Now() time.Time { return time.Now().UTC() }

// OffsetClock is the machine's clock, wrong by an offset: what a test gives a process to see what a wrong clock does.
type OffsetClock struct{ Offset time.Duration }

// Now returns what the wrong clock shows, in UTC.
func (c OffsetClock) Now() time.Time { return SystemClock{}.Now().Add(c.Offset) }
