package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// brought is a subscription that lives now, in a status.
func (w world) brought(t *testing.T, email string, status account.SubscriptionStatus) account.Subscription {
	t.Helper()
	s := w.subscribed(t, email)
	if status != account.SubscriptionIncomplete {
		change, err := w.settled(t.Context(), s, nil, noon)
		require.NoError(t, err)
		s = change.After
	}
	w.exec(t, `UPDATE subscriptions SET status = $2, period_start = now(), period_end = now() + interval '1 month' WHERE id = $1`, s.ID, status)
	return s
}

func (w world) needs(t *testing.T) map[string]account.Realignment {
	t.Helper()
	all, err := w.Strays(t.Context(), 100)
	require.NoError(t, err)
	needs := map[string]account.Realignment{}
	for _, s := range all {
		needs[s.SubscriptionID] = s.Needs
		require.NotEmpty(t, s.PlanCode)
		require.NotZero(t, s.Version)
		one, err := w.StraysOf(t.Context(), s.AccountID)
		require.NoError(t, err)
		require.Equal(t, []account.Stray{s}, one)
	}
	return needs
}

func TestStrays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for status, want := range map[account.SubscriptionStatus]struct{ deactivated, closed account.Realignment }{
		account.SubscriptionIncomplete: {account.RealignEnd, account.RealignEnd},
		account.SubscriptionTrialing:   {account.RealignPause, account.RealignEnd},
		account.SubscriptionActive:     {account.RealignPause, account.RealignEnd},
		account.SubscriptionPastDue:    {account.RealignEnd, account.RealignEnd},
		account.SubscriptionUnpaid:     {account.RealignEnd, account.RealignEnd},
		account.SubscriptionPaused:     {"", account.RealignEnd},
		account.SubscriptionCanceled:   {"", ""},
	} {
		t.Run(string(status), func(t *testing.T) {
			s := w.brought(t, string(status)+"@example.com", status)
			set := func(change string) { w.exec(t, `UPDATE accounts SET `+change+` WHERE id = $1`, s.AccountID) }
			require.NotContains(t, w.needs(t), s.ID)
			set(`deactivated_at = now()`)
			require.Equal(t, want.deactivated, w.needs(t)[s.ID])
			set(`deleted_at = now()`)
			require.Equal(t, want.closed, w.needs(t)[s.ID])
			set(`deactivated_at = NULL`)
			require.Equal(t, want.closed, w.needs(t)[s.ID])
			set(`deleted_at = NULL`)
			require.NotContains(t, w.needs(t), s.ID)
		})
	}
}

func TestStrays_WaitForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.brought(t, "ada@example.com", account.SubscriptionActive)
	w.exec(t, `UPDATE accounts SET deactivated_at = now() WHERE id = $1`, s.AccountID)
	require.Equal(t, account.RealignPause, w.needs(t)[s.ID])

	w.exec(t, `UPDATE subscriptions SET cancel_at_period_end = true`)
	require.Empty(t, w.needs(t), "it ends with its period, and charges nothing until then")
	w.exec(t, `UPDATE subscriptions SET cancel_at_period_end = false, period_start = now() - interval '2 months', period_end = now() - interval '1 month'`)
	require.Empty(t, w.needs(t), "about to renew: no pause can come between")
	w.exec(t, `UPDATE subscriptions SET status = 'paused', pause_reason = 'account_deactivated'`)
	require.Empty(t, w.needs(t))
	w.exec(t, `UPDATE accounts SET deactivated_at = NULL`)
	require.Equal(t, account.RealignResume, w.needs(t)[s.ID])
	w.exec(t, `UPDATE subscriptions SET pause_reason = 'owner'`)
	require.Empty(t, w.needs(t), "its owner's pause is its owner's to end")
	w.exec(t, `UPDATE subscriptions SET resumes_at = now() + interval '1 day'`)
	require.Empty(t, w.needs(t))
	w.exec(t, `UPDATE accounts SET deactivated_at = now()`)
	require.Equal(t, account.RealignPause, w.needs(t)[s.ID], "it must not go on by itself")
	w.exec(t, `UPDATE subscriptions SET resumes_at = NULL`)
	require.Empty(t, w.needs(t))

	open := w.subscribed(t, "bob@example.com")
	w.exec(t, `UPDATE accounts SET deleted_at = now() WHERE id = $1`, open.AccountID)
	require.Equal(t, account.RealignEnd, w.needs(t)[open.ID])
	_, err := w.BeginAttempt(t.Context(), "sandbox", open.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.Empty(t, w.needs(t), "a charge is under way")
}

// Most accounts may have been closed, long ago: they are not looked at.
func TestStrays_UseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO accounts (id, email, onboarding_done, anonymous_id, deleted_at)
		SELECT gen_random_uuid(), 'g' || i || '@example.com', true, repeat('wide', 150),
			CASE WHEN i % 500 = 0 THEN now() WHEN i % 2 = 0 THEN now() - interval '31 days' END
		FROM generate_series(1, 20000) AS i`)
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end, method_id)
		SELECT 'sub_' || id, id, 'premium_monthly', 'active', now(), now() + interval '1 month', repeat('wide', 150) FROM accounts WHERE deleted_at IS NULL`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE accounts, subscriptions`)
	require.NoError(t, err)
	plan := strings.Join(w.explain(t, store.StraysQuery, nil), "\n")
	require.NotContains(t, plan, "Seq Scan on accounts", plan)
	require.NotContains(t, plan, "Seq Scan on subscriptions", plan)
}

func TestStrays_LongAgo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	w.exec(t, `UPDATE accounts SET deleted_at = now() - interval '29 days' WHERE id = $1`, s.AccountID)
	require.Equal(t, account.RealignEnd, w.needs(t)[s.ID])
	w.exec(t, `UPDATE accounts SET deleted_at = now() - interval '31 days' WHERE id = $1`, s.AccountID)
	all, err := w.Strays(t.Context(), 100)
	require.NoError(t, err)
	require.Empty(t, all)
	of, err := w.StraysOf(t.Context(), s.AccountID)
	require.NoError(t, err)
	require.Len(t, of, 1, "whoever asks for the account is told")
}
