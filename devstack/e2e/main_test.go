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
	_ = flag.Set("test.parallel", parallel) // read before the command line, which may say otherwise
	stacktest.Main(m)
}
