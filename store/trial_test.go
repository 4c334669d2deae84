package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

func TestOneTrialPerCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `UPDATE plans SET trial_days = 14 WHERE id = $1`, starterPlan)
	for name, want := range map[string]account.SubscriptionStatus{"ann": account.SubscriptionTrialing, "bob": account.SubscriptionTrialing} {
		id := w.member(t, name+"@example.com").AccountID
		require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: "pm_" + name, AccountID: id, Fingerprint: name}))
		s, err := w.OpenSubscription(t.Context(), w.newSubscription(t, id, starterPlan), noon)
		require.NoError(t, err)
		require.Equal(t, want, s.Status)
	}
	id := w.member(t, "ann2@example.com").AccountID
	require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: "pm_ann2", AccountID: id, Fingerprint: "ann"}))
	s, err := w.OpenSubscription(t.Context(), w.newSubscription(t, id, starterPlan), noon)
	require.NoError(t, err)
	require.Equal(t, account.SubscriptionIncomplete, s.Status, "PAY-07: the card has had its trial")
}

// trialOf is how the subscription of a new account with a card begins.
func (w world) trialOf(t *testing.T, name, card string) account.Subscription {
	t.Helper()
	id := w.member(t, name+"@example.com").AccountID
	require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: "pm_" + name, AccountID: id, Fingerprint: card}))
	s, err := w.OpenSubscription(t.Context(), w.newSubscription(t, id, starterPlan), noon)
	require.NoError(t, err)
	return s
}

// The erasure of an account brings its cards no other trial, whether it came to them before or after its own.
func TestPAY07_ATrialOutlivesItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `UPDATE plans SET trial_days = 14 WHERE id = $1`, starterPlan)
	ann := w.trialOf(t, "ann", "first")
	require.Equal(t, account.SubscriptionTrialing, ann.Status)
	require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: "pm_late", AccountID: ann.AccountID, Fingerprint: "late"}))
	id := w.close(t, ann.AccountID)
	w.due(t, id, "0")
	wait, err := w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, wait)
	require.Zero(t, w.count(t, `payment_methods`))

	require.Equal(t, account.SubscriptionIncomplete, w.trialOf(t, "bob", "first").Status)
	require.Equal(t, account.SubscriptionIncomplete, w.trialOf(t, "cat", "late").Status)
	require.Equal(t, account.SubscriptionTrialing, w.trialOf(t, "dan", "new").Status)
	require.Equal(t, []string{"first", "late", "new"}, one[[]string](t, w, `SELECT array_agg(fingerprint ORDER BY 1) FROM card_trials WHERE family = 'main'`))
}

// Who gets no trial because one of two cards has just had it does not use up that of the other.
func TestPAY07_ARefusedTrialLeavesOtherCardsTheirs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `UPDATE plans SET trial_days = 14 WHERE id = $1`, starterPlan)
	two := w.member(t, "two@example.com").AccountID
	for _, card := range []string{"a", "b"} {
		require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{Provider: "sandbox", ID: "pm_" + card, AccountID: two, Fingerprint: card}))
	}
	n, opened := w.newSubscription(t, two, starterPlan), make(chan account.SubscriptionStatus, 1)
	// Somebody's trial with one of the cards is being granted.
	granting, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = granting.Exec(t.Context(), `INSERT INTO card_trials (family, fingerprint) VALUES ('main', 'b')`)
	require.NoError(t, err)
	go func() {
		s, _ := w.OpenSubscription(t.Context(), n, noon)
		opened <- s.Status
	}()
	testkit.Eventually(t, 10*time.Second, func() bool {
		return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, "the second one to wait")
	require.NoError(t, granting.Commit(t.Context()))
	require.Equal(t, account.SubscriptionIncomplete, <-opened)
	require.Equal(t, account.SubscriptionTrialing, w.trialOf(t, "ann", "a").Status)
}

func TestRacePAY07_OneTrialPerCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `UPDATE plans SET trial_days = 14 WHERE id = $1`, starterPlan)
	const cards, accounts = 10, 8
	for card := range cards {
		all := make([]account.NewSubscription, accounts)
		for i := range all {
			name := strconv.Itoa(card) + "-" + strconv.Itoa(i)
			owner := w.member(t, "farmer"+name+"@example.com").AccountID
			require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{
				Provider: "sandbox", ID: "pm_" + name, Shown: "pm", AccountID: owner, Fingerprint: "card " + strconv.Itoa(card),
			}))
			all[i] = w.newSubscription(t, owner, starterPlan)
		}
		errs := race(accounts, func(i int) error {
			_, err := w.OpenSubscription(t.Context(), all[i], noon)
			return err
		})
		require.Equal(t, accounts, winners(t, errs))
	}
	require.Equal(t, cards, w.count(t, `subscriptions WHERE trial_end IS NOT NULL`))
	w.requireBillingInvariants(t)
}
