//go:build unix

// Package e2e_test plays whole journeys against real processes: PostgreSQL, Temporal, and a Gatehouse API and worker that a
// test may kill at any moment. It talks to them as clients do, and looks into the database only to check what was promised.
package e2e_test

import (
	"testing"

	"gatehouse/devstack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }
