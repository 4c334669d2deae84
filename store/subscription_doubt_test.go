package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// Whoever asks what has become of a change whose answer was lost waits until it is committed, or given up.
func TestCommittedSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	_, err := w.CommittedSubscription(t.Context(), "sub_none")
	require.ErrorIs(t, err, account.ErrNotFound)
	read := make(chan account.Subscription, 1)
	err = w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		_, err := tx.ChangeSubscription(ctx, s.ID, "cancel", noon, func(s account.Subscription) (account.SubscriptionChange, error) { return s.CancelNow(noon) })
		if err != nil {
			return err
		}
		go func() {
			found, _ := w.CommittedSubscription(t.Context(), s.ID)
			read <- found
		}()
		testkit.Eventually(t, 10*time.Second, func() bool {
			return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		}, "the reader to wait")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionCanceled, (<-read).Status)
}
