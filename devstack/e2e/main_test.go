//go:build unix

// Package e2e_test plays whole journeys against real processes: PostgreSQL, Temporal, and a Gatehouse API and worker that a
// test may kill at any moment. It talks to them as clients do, and looks into the database only to check what was promised.
package e2e_test

import (
	"flag"
	"testing"

	"gatehouse/devstack/stacktest"
)

// parallel is how many systems are up at once, for most tests start one: more than a small machine has cores, for these tests
// mostly wait for others. With five at once ten wanted each of two slow cores, and now and then a time-out of the product was
// reached. Subtests share the slot of their test (beside).
const parallel = "3"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", parallel) // read before the command line, which may say otherwise
	// Of the random lives (TestDialects) the same few every time, unless somebody asks for others by flags or by RAPID_CHECKS,
	// RAPID_SEED. A life that failed cannot be made shorter in reasonable time.
	for name, few := range map[string][2]string{
		"rapid.checks": {"100", "6"}, "rapid.seed": {"0", "20261122"}, "rapid.nofailfile": {"false", "true"}, "rapid.shrinktime": {"30s", "1s"},
	} {
		if flag.Lookup(name).DefValue == few[0] {
			_ = flag.Set(name, few[1])
		}
	}
	stacktest.AtEnd(requireNoCanary)
	stacktest.AtCommand(requireDiscreet)
	stacktest.Main(m)
}
