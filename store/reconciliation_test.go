package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func TestReconciliationsFollowEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	begin := func(id string) account.Reconciliation {
		r, err := w.BeginReconciliation(ctx, id, 48*time.Hour, time.Minute)
		require.NoError(t, err)
		return r
	}
	end := func(id string, complete bool) (repaired, alarms int64) {
		repaired, alarms, err := w.EndReconciliation(ctx, id, account.ReconciliationCounts{Charges: 7}, complete)
		require.NoError(t, err)
		return repaired, alarms
	}
	first := begin("1")
	require.Equal(t, first, begin("1"), "a repetition")
	require.WithinDuration(t, time.Now(), first.Until, 2*time.Minute)
	require.WithinDuration(t, first.Until.Add(-48*time.Hour), first.Since, 2*time.Minute)

	for _, f := range []account.Finding{
		{Kind: account.FindingFlowLost, Subject: "sub_1", Repaired: true},
		{Kind: account.FindingForeignCharge, Subject: "nobody/1", Detail: "7.00 USD"},
	} {
		added, err := w.KeepFinding(ctx, "1", f)
		require.NoError(t, err)
		require.True(t, added)
		added, err = w.KeepFinding(ctx, "1", f)
		require.NoError(t, err)
		require.False(t, added, "an alarm is raised once")
	}
	repaired, alarms := end("1", false)
	require.Equal(t, []int64{1, 1}, []int64{repaired, alarms})
	repaired, alarms = end("1", true)
	require.Equal(t, []int64{1, 1}, []int64{repaired, alarms}, "a repetition")
	require.False(t, one[bool](t, w, `SELECT complete FROM reconciliations`))
	listed, err := w.Findings(ctx, time.Hour)
	require.NoError(t, err)
	require.Len(t, listed, 2)
	require.Equal(t, account.FindingForeignCharge, listed[0].Kind, "the newest first")
	require.Equal(t, "7.00 USD", listed[0].Detail)
	require.True(t, listed[1].Repaired)

	w.exec(t, `UPDATE reconciliations SET until = until - interval '3 days'`)
	second := begin("2")
	require.WithinDuration(t, first.Since, second.Since, time.Minute, "the first one was not complete")
	end("2", true)
	third := begin("3")
	require.Equal(t, second.Until.Add(-48*time.Hour), third.Since, "from the last complete one on, with an overlap")
}

func TestLiveSubscriptionsInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := map[string]bool{}
	for _, email := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		ids[w.brought(t, email, account.SubscriptionActive).ID] = true
	}
	over := w.brought(t, "d@example.com", account.SubscriptionCanceled)
	w.exec(t, `UPDATE subscriptions SET ended_at = now() - interval '3 days' WHERE id = $1`, over.ID)
	after, seen := "", 0
	for {
		page, err := w.LiveSubscriptions(t.Context(), after, 2)
		require.NoError(t, err)
		for _, s := range page {
			require.True(t, ids[s.ID])
			require.Greater(t, s.ID, after)
			require.Equal(t, "starter", s.PlanCode)
			after = s.ID
			seen++
		}
		if len(page) < 2 {
			break
		}
	}
	require.Equal(t, 3, seen)
	needless, err := w.NeedlessFlows(t.Context(), []string{after, over.ID, "sub_never"}, 48*time.Hour)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{over.ID, "sub_never"}, needless)
	needless, err = w.NeedlessFlows(t.Context(), []string{over.ID}, 96*time.Hour)
	require.NoError(t, err)
	require.Empty(t, needless, "it may be sending its last mail")
}

func TestAttemptsAreConfirmedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.subscribed(t, "ada@example.com")
	require.NoError(t, w.KeepPaymentMethod(t.Context(), store.PaymentMethod{
		Provider: "sandbox", ID: s.MethodID, AccountID: s.AccountID, Customer: "cus_1",
	}))
	_, err := w.settled(t.Context(), s, nil, noon)
	require.NoError(t, err)
	key := s.Invoice.ID + "/1"
	unconfirmed := func(provider, after string) []store.AttemptRecord {
		page, err := w.UnconfirmedAttempts(t.Context(), provider, after, time.Now(), 10)
		require.NoError(t, err)
		return page
	}
	want := store.AttemptRecord{
		Key: key, SubscriptionID: s.ID, InvoiceID: s.Invoice.ID, State: "succeeded", ProviderID: "ch_1", Customer: "cus_1",
		Amount: s.Invoice.Amount, Paid: true,
	}
	require.Equal(t, []store.AttemptRecord{want}, unconfirmed("sandbox", ""))
	require.Empty(t, unconfirmed("sandbox", key))
	require.Empty(t, unconfirmed("stripe", ""))
	known, err := w.AttemptsByKey(t.Context(), []string{key, "nobody/1"})
	require.NoError(t, err)
	require.Equal(t, map[string]store.AttemptRecord{key: want}, known)
	require.NoError(t, w.ConfirmAttempts(t.Context(), []string{key, "nobody/1"}))
	require.Empty(t, unconfirmed("sandbox", ""))
}

func TestReviewBilling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	_, err := w.BeginReconciliation(ctx, "1", time.Hour, time.Minute)
	require.NoError(t, err)
	review := func() map[account.FindingKind]string {
		all, err := w.ReviewBilling(ctx, "1", store.BillingLimits{UnknownAfter: 25 * time.Hour, OverdueAfter: time.Hour, Since: noon.Add(-time.Hour)}, 10)
		require.NoError(t, err)
		found := map[account.FindingKind]string{}
		for _, f := range all {
			require.NotEmpty(t, f.Detail)
			require.False(t, f.Repaired)
			found[f.Kind] = f.Subject
		}
		return found
	}
	sound, late := w.brought(t, "ada@example.com", account.SubscriptionActive), w.brought(t, "bob@example.com", account.SubscriptionActive)
	open, left := w.subscribed(t, "cyd@example.com"), w.subscribed(t, "dan@example.com")
	_, err = w.BeginAttempt(ctx, "sandbox", open.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.Empty(t, review())

	w.exec(t, `UPDATE subscriptions SET period_start = now() - interval '1 month', period_end = now() - interval '2 hours' WHERE id = $1`, late.ID)
	w.exec(t, `UPDATE payment_attempts SET created_at = now() - interval '26 hours' WHERE invoice_id = $1`, open.Invoice.ID)
	w.exec(t, `UPDATE subscriptions SET status = 'canceled' WHERE id = $1`, left.ID)
	w.exec(t, `DELETE FROM payment_attempts WHERE invoice_id LIKE 'in_' || $1 || '%'`, sound.ID)
	require.Equal(t, map[account.FindingKind]string{
		account.FindingOverdue: late.ID, account.FindingOutcomeUnknown: open.Invoice.ID + "/1", account.FindingOpenAfterEnd: left.Invoice.ID,
		account.FindingPaidForNothing: "in_" + sound.ID + "_1",
	}, review())
	waiting, err := w.AwaitedCharges(ctx, 25*time.Hour, 10)
	require.NoError(t, err)
	require.Equal(t, []string{open.ID}, waiting)

	_, err = w.KeepFinding(ctx, "1", account.Finding{Kind: account.FindingFlowLost, Subject: late.ID, Repaired: true})
	require.NoError(t, err)
	require.NotContains(t, review(), account.FindingOverdue, "its flow has just been started again")
}

// A flow that does not know what its row says is found by what it leaves undone.
func TestOverdueSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	overdue := func() []string {
		ids, err := w.OverdueSubscriptions(t.Context(), time.Hour, 10)
		require.NoError(t, err)
		return ids
	}
	paid, owing := w.brought(t, "ada@example.com", account.SubscriptionActive), w.subscribed(t, "bob@example.com")
	w.exec(t, `UPDATE subscriptions SET period_start = now() - interval '1 month', period_end = now() - interval '50 minutes'`)
	w.exec(t, `UPDATE invoices SET created_at = now() - interval '50 minutes'`)
	require.Empty(t, overdue(), "not for long")

	for name, c := range map[string]struct {
		row  string
		want bool
	}{
		"period over":         {`period_end = now() - interval '2 hours'`, true},
		"unpaid":              {`period_end = now() - interval '2 hours', status = 'unpaid'`, false},
		"paused":              {`period_end = now() - interval '2 hours', status = 'paused', resumes_at = now() + interval '1 day'`, false},
		"paused for too long": {`status = 'paused', resumes_at = now() - interval '2 hours'`, true},
		"over":                {`period_end = now() - interval '2 hours', status = 'canceled'`, false},
	} {
		w.exec(t, `UPDATE subscriptions SET `+c.row+` WHERE id = $1`, paid.ID)
		require.Equal(t, c.want, len(overdue()) == 1, name)
		w.exec(t, `UPDATE subscriptions SET period_end = now() + interval '1 day', status = 'active', resumes_at = NULL WHERE id = $1`, paid.ID)
	}

	w.exec(t, `UPDATE invoices SET created_at = now() - interval '2 hours' WHERE id = $1`, owing.Invoice.ID)
	require.Equal(t, []string{owing.ID}, overdue())
	w.exec(t, `UPDATE subscriptions SET declines = 1, retry_at = now() + interval '1 day' WHERE id = $1`, owing.ID)
	require.Empty(t, overdue(), "it is to be tried again tomorrow")
	w.exec(t, `UPDATE subscriptions SET retry_at = now() - interval '2 hours' WHERE id = $1`, owing.ID)
	require.Equal(t, []string{owing.ID}, overdue())
	_, err := w.BeginAttempt(t.Context(), "sandbox", owing.Invoice.ID, 1, nil)
	require.NoError(t, err)
	require.Empty(t, overdue(), "it is being asked for")
}
