//go:build unix

// Package e2e_test plays whole journeys against real processes: PostgreSQL, Temporal, and a Gatehouse API and worker that a
// test may kill at any moment. It talks to them as clients do, and looks into the database only to check what was promised.
package e2e_test

import (
	"flag"
	"testing"

	"gatehouse/devstack/stacktest"
)

// parallel is more than the machine has cores: these tests mostly wait for others.
const parallel = "6"

func TestMain(m *testing.M) {
	// Read before the command line, which may say otherwise. Of the random lives (TestDialects) the same few every time; a
	// failing one cannot be made shorter in reasonable time.
	for name, value := range map[string]string{
		"test.parallel": parallel, "rapid.seed": "41", "rapid.checks": "2", "rapid.nofailfile": "true", "rapid.shrinktime": "1s",
	} {
		_ = flag.Set(name, value)
	}
	stacktest.Main(m)
}
