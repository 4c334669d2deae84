package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// Requests of one account for two plans of a family, or with two cards, meet in one flow: who gets what another has asked for
// is told so.
func TestAsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	owner := by.Principal.Account.ID
	plans, err := w.Plans(t.Context(), by, None{})
	require.NoError(t, err)
	require.Greater(t, len(plans), 1)
	require.NoError(t, w.Store.KeepPaymentMethod(t.Context(), store.PaymentMethod{
		Provider: "sandbox", ID: "pm_kept", Shown: "pm_card_visa", AccountID: owner,
	}))
	s, err := w.Store.OpenSubscription(t.Context(), account.NewSubscription{
		ID: "sub_" + uuid.NewString(), AccountID: owner, Generation: 1, Plan: plans[0], MethodID: "pm_kept",
	}, time.Now())
	require.NoError(t, err)
	got, err := w.asAsked(t.Context(), s, SubscribeInput{PlanID: plans[0].ID, MethodID: "pm_card_visa"})
	require.NoError(t, err)
	require.Equal(t, s, got)
	for _, in := range []SubscribeInput{
		{PlanID: plans[1].ID, MethodID: "pm_card_visa"}, {PlanID: plans[0].ID, MethodID: "pm_card_mastercard"},
	} {
		_, err = w.asAsked(t.Context(), s, in)
		require.ErrorIs(t, err, account.ErrAlreadySubscribed)
	}
}
