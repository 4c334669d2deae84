package core

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"

	"gatehouse/account"
	"gatehouse/providers/payment"
)

const webhookSecret = "whsec_test"

func notice(at time.Time, secret, key, invoice string) PaymentNoticeInput {
	body := []byte(fmt.Sprintf(`{"data":{"object":{"metadata":{"gatehouse_key":%q,"gatehouse_invoice":%q}}}}`, key, invoice))
	return PaymentNoticeInput{
		Payload:   body,
		Signature: fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(stripe.ComputeSignature(at, body, secret))),
	}
}

func TestPaymentNotice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.PaymentNotices = payment.NewWebhook(payment.Settings{StripeWebhookSecrets: []string{webhookSecret}}, w.clock)
	take := func(in PaymentNoticeInput) error {
		_, err := w.PaymentNotice(t.Context(), account.Caller{}, in)
		return err
	}
	now := w.clock.Now()
	require.ErrorIs(t, take(notice(now, "whsec_other", "in_1/1", "in_1")), account.ErrUnauthorized)
	require.ErrorIs(t, take(notice(now.Add(-time.Hour), webhookSecret, "in_1/1", "in_1")), account.ErrUnauthorized)
	require.ErrorIs(t, take(PaymentNoticeInput{}), account.ErrUnauthorized)
	garbled := PaymentNoticeInput{Payload: []byte("x")}
	garbled.Signature = fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(stripe.ComputeSignature(now, garbled.Payload, webhookSecret)))
	require.ErrorIs(t, take(garbled), account.ErrMalformed)

	// Nobody answers where the flow should be, so what is taken calmly did not ask for it.
	require.NoError(t, take(notice(now, webhookSecret, "", "")), "nothing of ours")
	require.NoError(t, take(notice(now, webhookSecret, "in_1/1", "in_1")), "no such charge")
	require.NoError(t, take(notice(now, webhookSecret, begun(t, w), "in_1")), "a charge that is just being asked for")
}

// begun is the key of a charge that was just begun.
func begun(t *testing.T, w world) string {
	t.Helper()
	w.member(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	plan, err := w.Store.Plan(t.Context(), "premium_monthly")
	require.NoError(t, err)
	s, err := w.Store.OpenSubscription(t.Context(), account.NewSubscription{
		ID: "sub_" + uuid.NewString(), AccountID: by.Principal.Account.ID, Generation: 1, Plan: plan, MethodID: "pm_1",
	}, w.clock.Now())
	require.NoError(t, err)
	attempt, err := w.Store.BeginAttempt(t.Context(), "stripe", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	return attempt.Key
}
