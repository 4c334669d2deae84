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
