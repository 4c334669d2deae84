package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// leaving is a subscription whose account is closed, its term over.
func (w world) leaving(t *testing.T, email string) (account.Subscription, uuid.UUID) {
	t.Helper()
	s := w.subscribed(t, email)
	require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: s.MethodID, AccountID: s.AccountID, Customer: "cus_1"}))
	id := w.close(t, s.AccountID)
	w.due(t, id, "3 days")
	return s, id
}

// An account whose charge has no outcome keeps the customer under which the charge is looked up.
func TestEraseAccount_WaitsForTheOutcomeOfACharge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, id := w.leaving(t, "ann@example.com")
	_, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	for range 2 {
		wait, err := w.EraseAccount(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, time.Hour, wait)
		require.NoError(t, w.Sweep(t.Context(), time.Hour))
	}
	again, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.Equal(t, "cus_1", again.Customer)

	change, err := w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionActive, change.After.Status, "the money that was taken is in the books")
	wait, err := w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, wait)
	require.Zero(t, w.count(t, `payment_methods`))
	w.requireBillingInvariants(t)
}

// A charge that begins while the account is erased is asked of nobody.
func TestRace_EraseAccountAgainstACharge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, id := w.leaving(t, "ann@example.com")
	begun := make(chan store.PaymentAttempt, 1)
	err := w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		wait, err := tx.EraseAccount(ctx, id)
		if err != nil || wait > 0 {
			return err
		}
		go func() {
			attempt, _ := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
			begun <- attempt
		}()
		testkit.Eventually(t, 10*time.Second, func() bool {
			return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		}, "the charge to wait")
		return nil
	})
	require.NoError(t, err)
	attempt := <-begun
	require.Empty(t, attempt.Customer)
	require.True(t, attempt.Unwanted)
	require.Equal(t, account.DeclineInactive, attempt.Refused)
	again, err := w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.True(t, again.Begun)
	require.Equal(t, account.DeclineInactive, again.Refused, "though it was closed while the charge began")
	require.Equal(t, 1, w.count(t, `closures WHERE erased_at IS NOT NULL`))
}
