//go:build unix

package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/payment/paymenttest"
)

// chargingPatience covers the time after which a charge that nobody reports on is asked for again.
const chargingPatience = time.Minute

// withStripe are settings, in pairs, that lead to a stand-in for Stripe.
func withStripe(server *paymenttest.Server) []string {
	return []string{
		"GATEHOUSE_STRIPE_URL", server.URL, "GATEHOUSE_STRIPE_SECRET_KEY", paymenttest.SecretKey,
		"GATEHOUSE_STRIPE_WEBHOOK_SECRETS", paymenttest.WebhookSecret,
	}
}

// requireLedger checks I-08 and I-09 between Stripe's ledger and our books: each charge is one of a paid invoice of the same
// amount, made once, and each paid invoice has one.
func (s *system) requireLedger(t *testing.T, server *paymenttest.Server) {
	t.Helper()
	entries := server.Ledger()
	seen := map[string]bool{}
	for _, e := range entries {
		require.False(t, seen[e.InvoiceID], "an invoice was charged twice: %+v", e)
		seen[e.InvoiceID] = true
		require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM invoices i JOIN payment_attempts t ON t.invoice_id = i.id
			WHERE i.id = $1 AND t.key = $2 AND i.amount = $3 AND i.currency = $4 AND t.created_at < i.paid_at + interval '1 minute'
				AND i.status = 'paid' AND t.state = 'succeeded' AND t.provider_id = $5`, e.InvoiceID, e.Key, e.Amount, e.Currency, e.IntentID))
	}
	require.Equal(t, len(entries), s.db.number(t, `SELECT count(*) FROM invoices WHERE status = 'paid' AND amount > 0`))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM (SELECT 1 FROM invoices WHERE reason <> 'subscription_update'
		GROUP BY subscription_id, period_start HAVING count(*) > 1) x`))
}

func TestStripe(t *testing.T) {
	t.Parallel()
	server := paymenttest.Start(t)
	s := startSystem(t, withStripe(server)...)

	token, id := s.subscribed(t, premiumPlan)
	require.Len(t, server.Customers(), 1)
	s.want(t, 200, put(token, id, fields{"paymentMethodId": "pm_card_amex"}))
	require.Len(t, server.Customers(), 1, "the same customer, who has another card now")
	s.requireLedger(t, server)

	stranger, _ := s.payer(t)
	s.refused(t, 400, "payment_declined", subscribe(stranger, premiumPlan, "pm_card_chargeDeclined"))
	s.refused(t, 400, "invalid_request", subscribe(stranger, premiumPlan, "pm_nobody_knows"))
	theirs := s.db.texts(t, `SELECT method_id FROM subscriptions WHERE id = $1`, id)[0]
	asked := server.Requests()
	s.refused(t, 404, "not_found", subscribe(stranger, premiumPlan, theirs))
	require.Equal(t, asked, server.Requests(), "PAY-09: the provider was not asked")

	made := s.want(t, 200, subscribe(stranger, premiumPlan, "pm_card_authenticationRequired")).object(t)
	require.Equal(t, "incomplete", made["status"])
	s.pays(t, stranger, premiumPlan)
	s.requireLedger(t, server)
}

// A message of Stripe's makes a flow ask that would have waited; what it says is not believed, and who it is from is checked.
func TestStripe_AMessageEndsTheWait(t *testing.T) {
	t.Parallel()
	server := paymenttest.Start(t)
	s := startSystem(t, withStripe(server)...)
	// Charged at once, but for six times nobody learns of it: the next time would be half a minute later.
	server.Next(
		paymenttest.Fault{Moment: paymenttest.After}, paymenttest.Fault{Moment: paymenttest.Before}, paymenttest.Fault{Moment: paymenttest.Before},
		paymenttest.Fault{Moment: paymenttest.Before}, paymenttest.Fault{Moment: paymenttest.Before},
	)
	token, _ := s.payer(t)
	id := s.want(t, 200, subscribe(token, premiumPlan, visa)).text(t, "id")
	asked := server.Requests()
	testkit.Eventually(t, patience, func() bool { return server.Requests() >= asked+3 }, "the charge to be tried five times")
	require.Equal(t, "incomplete", s.statusOf(t, id))

	notify := func(body []byte, signature string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/webhooks/stripe", strings.NewReader(string(body)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
		request.Header.Set("Stripe-Signature", signature)
		got, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		return got.StatusCode
	}
	body, signature := server.Notice(server.Ledger()[0].Key)
	require.Equal(t, http.StatusUnauthorized, notify(body, strings.Replace(signature, "v1=", "v1=00", 1)))
	require.Equal(t, http.StatusOK, notify(body, signature), "too young to matter")
	s.db.change(t, `UPDATE payment_attempts SET created_at = now() - interval '2 minutes'`)
	sent := time.Now()
	require.Equal(t, http.StatusOK, notify(body, signature))
	s.awaitStatus(t, id, "active")
	require.Less(t, time.Since(sent), 8*time.Second*crowding())
	require.Equal(t, http.StatusOK, notify(body, signature), "once more, when nothing waits for it")
	s.requireLedger(t, server)
}

// F-02 with Stripe: the worker dies after a renewal was charged and before it hears of it. There is one charge for each period.
// subscription_fault_test.go kills it at every step, with the sandbox.
func TestFault_F02_I09_StripeWorkerKilledAfterTheCharge(t *testing.T) {
	t.Parallel()
	server := paymenttest.Start(t)
	s := &system{}
	s.stack, s.api, s.worker = stacktest.StartAll(t, stacktest.Options{Env: quick(withStripe(server)...)})
	s.db, s.client = openDatabase(t, s.stack), newClient(s.stack.BaseURL)
	token, id := s.subscribed(t, s.secondsPlan(t, 3))

	struck := make(chan struct{})
	server.Next(paymenttest.Fault{Moment: paymenttest.Never, Reached: struck})
	<-struck
	s.worker.Kill()
	s.stack.StartWorker(t, nil)
	testkit.Eventually(t, chargingPatience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, id) >= 4
	}, "the renewals to go on")
	testkit.Eventually(t, patience, func() bool {
		got, err := s.try(t.Context(), put(token, id+"/cancel", fields{"immediately": true}))
		return err == nil && got.ok()
	}, "the subscription to end between two charges")
	s.requireLedger(t, server)
}
