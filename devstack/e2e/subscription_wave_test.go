//go:build unix

package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

// Whoever subscribes while many renew does not wait for them, though all charges share the rate of the provider.
func TestSubscription_PeopleOvertakeRenewals(t *testing.T) {
	t.Parallel()
	const n = 60
	s := startSystem(t, "GATEHOUSE_PAYMENT_RATE", "2")
	token, _ := s.payer(t)
	due := time.Now().Add(2*time.Second + n*startEach).Truncate(time.Second)
	s.seedRenewals(t, n, due)
	s.startRenewals(t, n, due)
	const owed = `SELECT count(*) FROM invoices WHERE id LIKE 'in_sub_bench_%'`
	testkit.Eventually(t, patience, func() bool { return s.db.number(t, owed) == n }, "all renewals to be due")
	s.pays(t, token, premiumPlan)
	paid := s.db.number(t, owed+` AND status = 'paid'`)
	t.Logf("%d of %d renewals were paid before", paid, n)
	require.Less(t, paid, n/2)
}
