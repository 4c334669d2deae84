package payment_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"gatehouse/providers/payment"
)

// Whatever header and body say, a hint comes only of a body that the secret has signed within five minutes, with one time.
func FuzzWebhook(f *testing.F) {
	const secret = "whsec_fuzz"
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	payload := []byte(`{"data":{"object":{"metadata":{"gatehouse_key":"in_1/2","gatehouse_invoice":"in_1"}}}}`)
	sign := func(at time.Time, payload []byte) string {
		return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(stripe.ComputeSignature(at, payload, secret)))
	}
	f.Add(payload, sign(now, payload))
	f.Add([]byte("null"), sign(now, []byte("null")))
	f.Add([]byte("{}\x00"), sign(now, []byte("{}\x00")))
	f.Add([]byte(`{"data":{"object":{"metadata":{"gatehouse_key":1}}}}`), sign(now, []byte(`{"data":{"object":{"metadata":{"gatehouse_key":1}}}}`)))
	f.Add(payload, "t=,v1=")
	f.Add(payload, sign(now.Add(-time.Hour), payload)+fmt.Sprintf(",t=%d", now.Unix()))
	f.Add(payload, "t=-9223372036854775808,v1=00")
	w := payment.NewWebhook(payment.Settings{StripeWebhookSecrets: []string{"", secret}}, fixed(now))
	f.Fuzz(func(t *testing.T, payload []byte, signature string) {
		hint, err := w.Read(payload, signature)
		if err != nil && hint != (payment.Hint{}) {
			t.Fatal("a fault and a hint")
		}
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(signature, ",") {
			at, is := strings.CutPrefix(part, "t=")
			if !is {
				continue
			}
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(at + "."))
			mac.Write(payload)
			if strings.Contains(strings.ToLower(signature), "v1="+hex.EncodeToString(mac.Sum(nil))) {
				return
			}
		}
		t.Fatalf("%q passes for %q", signature, payload)
	})
}

// What is signed and still nonsense is a fault or no hint, and never a half of one.
func FuzzWebhookPayload(f *testing.F) {
	const secret = "whsec_fuzz"
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, seed := range []string{
		`{"data":{"object":{"metadata":{"gatehouse_key":"in_1/2","gatehouse_invoice":"in_1"}}}}`, `{"data":null}`, `[]`, ``, `{"data":{"object":[]}}`,
		`{"data":{"object":{"metadata":{"gatehouse_key":"x"}}}}`, strings.Repeat(`{"data":`, 10_000), "\xff", `{"DATA":{"OBJECT":{"METADATA":{"gatehouse_key":"a"}}}}`,
	} {
		f.Add([]byte(seed))
	}
	w := payment.NewWebhook(payment.Settings{StripeWebhookSecrets: []string{secret}}, fixed(now))
	f.Fuzz(func(t *testing.T, payload []byte) {
		hint, err := w.Read(payload, fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(stripe.ComputeSignature(now, payload, secret))))
		if (hint.Key == "") != (hint.InvoiceID == "") || err != nil && hint.Key != "" {
			t.Fatalf("%q gave %+v, %v", payload, hint, err)
		}
	})
}
