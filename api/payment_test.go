package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/config"
)

func TestPaymentNotices(t *testing.T) {
	t.Parallel()
	const path = "/webhooks/stripe"
	app := newApp(t, func(c *config.Config) { c.Payment.StripeWebhookSecrets = []string{"whsec_canary"} })
	// What is signed is every byte: nothing may be read into it, whatever it calls itself.
	for _, body := range []string{` {"id": "evt_1", "id": "evt_2"}` + "\n", "not JSON \x00\xff", `[1]`} {
		for _, media := range []string{"application/json; charset=utf-8", "text/plain"} {
			got := app.send(t, "POST", path, body, "Stripe-Signature", "t=1,v1=00", "Content-Type", media, "Authorization", "Bearer bad")
			require.Equal(t, http.StatusOK, got.Status, got.Body)
			require.JSONEq(t, `{"received":true}`, got.Body)
			calls := app.core.calls
			require.Equal(t, core.PaymentNoticeInput{Payload: []byte(body), Signature: "t=1,v1=00"}, calls[len(calls)-1].in)
		}
	}
	require.Equal(t, http.StatusOK, app.send(t, "POST", path, "").Status, "without a word it is for the operation to refuse")
	require.Equal(t, http.StatusMethodNotAllowed, app.send(t, "GET", path, "").Status)

	app.core.fails = account.ErrUnauthorized
	got := app.send(t, "POST", path, "{}")
	require.Equal(t, http.StatusUnauthorized, got.Status)
	require.Equal(t, "unauthorized", requireFailure(t, "site", http.StatusUnauthorized, got))

	require.Equal(t, http.StatusNotFound, newApp(t).send(t, "POST", path, "{}").Status, "no secret, no door")
}
