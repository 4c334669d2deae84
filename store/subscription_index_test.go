package store_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// Every statement that a renewal or a request runs finds its rows by an index, among thousands of others'.
func TestSubscriptionsReadIndexesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ann@example.com")
	w.exec(t, `INSERT INTO accounts (id, email, email_verified_at) SELECT gen_random_uuid(), 'u' || n || '@example.com', now() FROM generate_series(1, 5000) n`)
	w.exec(t, `INSERT INTO credits (account_id) SELECT id FROM accounts ON CONFLICT DO NOTHING`)
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end)
		SELECT 'sub_' || id, id, 'premium_monthly', 'active', now(), now() + interval '1 month' FROM accounts WHERE email LIKE 'u%'`)
	w.exec(t, `INSERT INTO invoices (id, subscription_id, account_id, reason, plan_id, amount, currency, period_start, period_end, status, paid_at, created_at)
		SELECT 'in_' || id, id, account_id, 'subscription_create', plan_id, 2900, 'usd', now(), now(), 'paid', now(), now()
		FROM subscriptions WHERE status = 'active'`)
	w.exec(t, `INSERT INTO payment_attempts (invoice_id, attempt, key, provider, method_id, state)
		SELECT id, 1, id || '/1', 'sandbox', 'pm', 'succeeded' FROM invoices WHERE status = 'paid'`)
	w.exec(t, `INSERT INTO payment_methods (provider, id, account_id, customer) SELECT 'sandbox', 'pm_' || id, id, 'cus' FROM accounts`)
	w.exec(t, `INSERT INTO subscription_events (subscription_id, version, key, event, status, at)
		SELECT id, 1, 'open', 'created', status, now() FROM subscriptions WHERE status = 'active'`)
	w.exec(t, `INSERT INTO credit_moves (account_id, kind, key, amount) SELECT account_id, 'subscription', id, 0 FROM subscriptions WHERE status = 'active'`)
	w.exec(t, `INSERT INTO card_trials (family, fingerprint) SELECT 'main', 'card' || n FROM generate_series(1, 5000) n`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE`)
	require.NoError(t, err)

	// A connection of its own: what an old one has scanned before is counted until Postgres gets round to adding it up.
	require.NoError(t, openStore(t, w.url).InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		w.renewAndRead(ctx, t, tx, s)
		return nil
	}))
}

// requireIndexed fails when the transaction has read a table from end to end.
func requireIndexed(ctx context.Context, t *testing.T, tx *store.Store, step string) {
	t.Helper()
	for _, table := range []string{"subscriptions", "invoices", "payment_attempts", "payment_methods", "card_trials", "subscription_events", "credit_moves", "credits", "accounts"} {
		whole, _, err := tx.Scans(ctx, table)
		require.NoError(t, err)
		require.Zero(t, whole, "%s: %s was read from end to end", step, table)
	}
}

// renewAndRead runs every statement of a subscription's life that is not rare.
func (w world) renewAndRead(ctx context.Context, t *testing.T, tx *store.Store, s account.Subscription) {
	t.Helper()
	require.NoError(t, tx.KeepPaymentMethod(ctx, store.PaymentMethod{Provider: "sandbox", ID: "pm_1", AccountID: s.AccountID, Shown: "pm"}))
	requireIndexed(ctx, t, tx, "KeepPaymentMethod")
	_, err := tx.TrialLeft(ctx, s.AccountID, "premium")
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "trialLeft")
	_, err = tx.PayerOf(ctx, "sandbox", "pm_1", s.AccountID)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "PayerOf")
	_, err = tx.MethodShown(ctx, s.AccountID, "pm_1")
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "MethodShown")
	now := noon
	for i := range 2 {
		if i > 0 {
			now = s.PeriodEnd
			c, err := tx.ChangeSubscription(ctx, s.ID, "renew", now, func(s account.Subscription) (account.SubscriptionChange, error) { return s.Renew(now) })
			require.NoError(t, err)
			requireIndexed(ctx, t, tx, "ChangeSubscription")
			s = c.After
		}
		_, err = tx.BeginAttempt(ctx, "sandbox", s.Invoice.ID, 1, nil)
		require.NoError(t, err)
		requireIndexed(ctx, t, tx, "BeginAttempt")
		_, err = tx.AwaitedCharge(ctx, s.Invoice.ID+"/1", 0)
		require.NoError(t, err)
		requireIndexed(ctx, t, tx, "AwaitedCharge")
		id := s.Invoice.ID
		c, err := tx.SettleAttempt(ctx, store.Settlement{InvoiceID: id, Attempt: 1}, now, func(s account.Subscription) (account.SubscriptionChange, error) {
			return s.Paid(id, now)
		})
		require.NoError(t, err)
		requireIndexed(ctx, t, tx, "SettleAttempt")
		s = c.After
	}
	_, err = tx.Subscription(ctx, s.ID)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "Subscription")
	_, err = tx.SubscriptionEvent(ctx, s.ID, s.Version)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "SubscriptionEvent")
	_, _, err = tx.Generation(ctx, s.AccountID, "main")
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "Generation")
	all, err := tx.SubscriptionsOf(ctx, s.AccountID)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "SubscriptionsOf")
	require.Len(t, all, 1)
	_, err = tx.InvoicesOf(ctx, s.AccountID, s.ID, 100)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "InvoicesOf")
	_, err = tx.InvoiceAt(ctx, s.ID, s.Version)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "InvoiceAt")
	_, err = tx.OpenSubscription(ctx, account.NewSubscription{ID: s.ID, AccountID: s.AccountID, Plan: s.Plan, MethodID: "pm_1", Trial: true}, now)
	require.NoError(t, err)
	requireIndexed(ctx, t, tx, "OpenSubscription")
	_, err = tx.Subscription(ctx, "sub_"+uuid.NewString())
	require.ErrorIs(t, err, account.ErrNotFound)
	requireIndexed(ctx, t, tx, "Subscription")
}
