package testkit

import (
	"testing"
	"time"
)

// poll is how often Eventually looks.
const poll = 10 * time.Millisecond

// Eventually waits until cond holds and fails the test after timeout; what is the thing waited for, for the message. It is how
// tests wait for anything that happens. They sleep only where time itself is the matter: generators of load, servers that are slow
// on purpose, outages that last, and what must not happen within a while.
func Eventually(t testing.TB, timeout time.Duration, cond func() bool, what string) {
	t.Helper()
	late := time.NewTimer(timeout)
	defer late.Stop()
	again := time.NewTicker(poll)
	defer again.Stop()
	for !cond() {
		select {
		case <-late.C:
			t.Fatalf("waited %s in vain for: %s", timeout, what)
		case <-again.C:
		}
	}
}
