package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
)

// A change of plan that an earlier request under the key has begun is not judged again, and is told what became of it.
func TestChangeSubscription_AskedAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann := s.payer(t, "ann@example.com")
	own := s.sold(t, ann, starterPlan, true)
	plan, err := s.Store.Plan(t.Context(), premium)
	require.NoError(t, err)
	now := s.clock.Now().UTC().Truncate(time.Microsecond)
	again := ann
	again.IdempotencyKey = "key"
	started, err := s.Store.ChangeSubscription(t.Context(), own.ID, commandKey(again, activities.CommandChangePlan), now,
		func(sub account.Subscription) (account.SubscriptionChange, error) {
			return sub.ChangePlan(plan, now, s.Billing, now)
		})
	require.NoError(t, err)
	require.NotNil(t, started.Opened)

	shown, planID := now.Add(-time.Hour).Format(time.RFC3339), premium
	in := ChangeSubscriptionInput{ID: own.ID, PlanID: &planID, ProrationTime: &shown}
	_, err = s.ChangeSubscription(t.Context(), again, in)
	require.ErrorIs(t, err, errReached, "its flow knows the rest")
	in.MethodID = new("pm_2")
	_, err = s.ChangeSubscription(t.Context(), again, in)
	require.ErrorIs(t, err, errReached, "with a method, too: it is one change")
	_, err = s.ChangeSubscription(t.Context(), ann, in)
	require.ErrorIs(t, err, account.ErrInvalid, "another request is judged")
	in.ID = "\x00"
	_, err = s.ChangeSubscription(t.Context(), again, in)
	require.ErrorIs(t, err, account.ErrInvalid)

	_, err = s.Store.BeginAttempt(t.Context(), "sandbox", started.Opened.ID, 1, nil)
	require.NoError(t, err)
	o := store.Settlement{InvoiceID: started.Opened.ID, Attempt: 1, Decline: &account.Decline{Code: "card_declined"}}
	_, err = s.Store.SettleAttempt(t.Context(), o, now, func(sub account.Subscription) (account.SubscriptionChange, error) {
		return sub.Declined(o.InvoiceID, 1, *o.Decline, s.Billing, now)
	})
	require.NoError(t, err)
	in.ID = own.ID
	_, err = s.ChangeSubscription(t.Context(), again, in)
	require.ErrorIs(t, err, account.ErrPaymentDeclined)
}

// What cannot be done once more may have been done by an earlier request under the key.
func TestSubscription_EndedByAnEarlierRequest(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ann := s.payer(t, "ann@example.com")
	own := s.sold(t, ann, premium, true)
	now := s.clock.Now()
	again := ann
	again.IdempotencyKey = "key"
	_, err := s.Store.ChangeSubscription(t.Context(), own.ID, commandKey(again, activities.CommandCancelNow), now,
		func(sub account.Subscription) (account.SubscriptionChange, error) { return sub.CancelNow(now) })
	require.NoError(t, err)
	ended, err := s.CancelSubscription(t.Context(), again, CancelSubscriptionInput{ID: own.ID, Immediately: true})
	require.NoError(t, err)
	require.True(t, ended.Status.Ended())
	for name, by := range map[string]account.Caller{"another request": ann, "another key": {Principal: ann.Principal, IdempotencyKey: "b"}} {
		_, err = s.CancelSubscription(t.Context(), by, CancelSubscriptionInput{ID: own.ID, Immediately: true})
		require.ErrorIs(t, err, account.ErrSubscriptionState, name)
	}
	_, err = s.ResumeSubscription(t.Context(), again, SubscriptionInput{ID: own.ID})
	require.ErrorIs(t, err, account.ErrSubscriptionState, "the key was of another request")
}

// What a year costs and when it ends is the same whatever time zone the preview's moment comes back in.
func TestChangeSubscription_MomentsHaveNoTimeZone(t *testing.T) {
	t.Parallel()
	shown := time.Date(2026, 2, 28, 22, 30, 0, 0, time.UTC)
	year := account.Interval{Unit: account.IntervalYear, Count: 1}
	month := account.Interval{Unit: account.IntervalMonth, Count: 1}
	for _, offset := range []time.Duration{0, 2 * time.Hour, -23 * time.Hour} {
		text := shown.In(time.FixedZone("", int(offset.Seconds()))).Format(time.RFC3339)
		at, err := ChangeSubscriptionInput{PlanID: new("annual"), ProrationTime: &text}.validate(shown.Add(time.Minute))
		require.NoError(t, err)
		require.Equal(t, time.Date(2027, 2, 28, 22, 30, 0, 0, time.UTC), year.After(at, at).UTC(), text)
		require.Equal(t, time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC), month.After(at, at).UTC(), text)
	}
}
