package payment_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"

	"gatehouse/providers/payment"
	"gatehouse/providers/payment/paymenttest"
)

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

func TestWebhook(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	payload := []byte(`{"id":"evt_1","object":"event","type":"payment_intent.succeeded","api_version":"2019-01-01",
		"data":{"object":{"id":"pi_1","metadata":{"gatehouse_key":"in_1/2","gatehouse_invoice":"in_1"}}}}`)
	sign := func(at time.Time, secret string, payload []byte) string {
		return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(stripe.ComputeSignature(at, payload, secret)))
	}
	good := sign(now, paymenttest.WebhookSecret, payload)
	w := payment.NewWebhook(payment.Settings{StripeWebhookSecrets: []string{"whsec_new", paymenttest.WebhookSecret}}, fixed(now))

	for _, signature := range []string{
		good, sign(now, "whsec_new", payload), sign(now.Add(-4*time.Minute), "whsec_new", payload), good + ",v1=00,v0=ff",
	} {
		hint, err := w.Read(payload, signature)
		require.NoError(t, err, signature)
		require.Equal(t, payment.Hint{Key: "in_1/2", InvoiceID: "in_1"}, hint)
	}

	old := sign(now.Add(-6*time.Minute), "whsec_new", payload)
	for name, signature := range map[string]string{
		"none":                  "",
		"unsigned":              fmt.Sprintf("t=%d", now.Unix()),
		"of another secret":     sign(now, "whsec_other", payload),
		"of another body":       sign(now, "whsec_new", []byte("{}")),
		"of no secret":          sign(now, "", payload),
		"a recording":           old,
		"of tomorrow":           sign(now.Add(24*time.Hour), "whsec_new", payload),
		"a recording made new":  fmt.Sprintf("t=%d,%s", now.Unix(), old),
		"a recording made new ": fmt.Sprintf("%s,t=%d", old, now.Unix()),
		"another time":          strings.Replace(good, "t=", "t=1", 1),
		"another scheme":        strings.Replace(good, "v1=", "v0=", 1),
		"garbage":               "t=x,v1=zz,=,,",
	} {
		_, err := w.Read(payload, signature)
		require.ErrorIs(t, err, payment.ErrBadSignature, name)
	}
	_, err := payment.NewWebhook(payment.Settings{StripeWebhookSecrets: []string{""}}, fixed(now)).Read(payload, sign(now, "", payload))
	require.ErrorIs(t, err, payment.ErrBadSignature, "an empty secret is none")

	for body, readable := range map[string]bool{
		`{"data":{"object":{"metadata":{"gatehouse_key":"in_1/2"}}}}`: true, // half of ours is nothing of ours
		`{"data":{"object":{"id":"pi_2","metadata":{}}}}`:             true,
		`{}`: true,
		`{"data":{"object":{"metadata":{"gatehouse_key":7}}}}`: false,
		`not JSON`: false,
	} {
		hint, err := w.Read([]byte(body), sign(now, "whsec_new", []byte(body)))
		require.Equal(t, readable, err == nil, body)
		require.Zero(t, hint, body)
	}
}
