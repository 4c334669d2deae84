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

// A client's key is known for as long as the client was told. Used again later, it names another request; the keys of flows never
// do.
func TestChangeSubscription_AKeyIsUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.brought(t, "ann@example.com", account.SubscriptionActive)
	const key, flows = store.RequestKeyPrefix + "cancel-x/cancel", "flow/cancel/2"
	change := func(key string, transition store.Transition) string {
		c, err := w.ChangeSubscription(t.Context(), s.ID, key, noon, transition)
		require.NoError(t, err)
		return c.Event
	}
	cancel := func(s account.Subscription) (account.SubscriptionChange, error) { return s.Cancel(noon) }
	undo := account.Subscription.UndoCancel
	later := func(by string) {
		w.exec(t, `UPDATE subscription_events SET created_at = created_at - $1::interval`, by)
	}
	known := func(key string) bool {
		changed, err := w.SubscriptionChanged(t.Context(), s.ID, key)
		require.NoError(t, err)
		return changed
	}
	for range 3 {
		require.NotEmpty(t, change(key, cancel))
		require.NotEmpty(t, change(store.RequestKeyPrefix+uuid.NewString(), undo))
		later("47 hours 59 minutes")
		require.Empty(t, change(key, cancel), "a repetition")
		require.True(t, known(key))
		later("2 minutes")
		require.False(t, known(key))
	}
	require.NotEmpty(t, change(flows, cancel))
	require.NotEmpty(t, change("undo", undo))
	later("1 year")
	require.Empty(t, change(flows, cancel))
	require.True(t, known(flows))
	w.requireBillingInvariants(t)
}

// A change of plan that could not be paid is no answer to a request that has the same key by chance.
func TestPlanChange_AKeyIsUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.brought(t, "ann@example.com", account.SubscriptionActive)
	dearer, err := w.Plan(t.Context(), "premium_monthly")
	require.NoError(t, err)
	const key = store.RequestKeyPrefix + "up/change_plan"
	started, err := w.ChangeSubscription(t.Context(), s.ID, key, noon, func(s account.Subscription) (account.SubscriptionChange, error) {
		return s.ChangePlan(dearer, s.PeriodStart, rules, noon)
	})
	require.NoError(t, err)
	_, err = w.settled(t.Context(), started.After, &account.Decline{Code: "card_declined"}, noon)
	require.NoError(t, err)
	begun, declined, err := w.PlanChange(t.Context(), s.ID, key)
	require.NoError(t, err)
	require.True(t, begun && declined)
	w.exec(t, `UPDATE subscription_events SET created_at = created_at - interval '49 hours'`)
	begun, declined, err = w.PlanChange(t.Context(), s.ID, key)
	require.NoError(t, err)
	require.False(t, begun || declined)
}
