package payment_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers"
	"gatehouse/providers/payment"
	"gatehouse/providers/payment/paymenttest"
)

func openStripe(t *testing.T) (payment.Provider, *paymenttest.Server) {
	t.Helper()
	vendor, server := paymenttest.Stripe(t)
	require.Equal(t, "stripe", vendor.Provider.Name())
	return vendor.Provider, server
}

func TestConformance_Stripe(t *testing.T) {
	t.Parallel()
	paymenttest.Conform(t, func(t *testing.T) paymenttest.Vendor {
		t.Helper()
		vendor, _ := paymenttest.Stripe(t)
		return vendor
	})
}

func attach(t *testing.T, p payment.Provider, id string) payment.Method {
	t.Helper()
	m, err := p.Attach(t.Context(), payment.Payer{AccountID: uuid.New(), Email: "ada@example.com"}, id)
	require.NoError(t, err)
	return m
}

func charge(m payment.Method) payment.Charge {
	invoice := "in_sub_" + uuid.NewString()
	return payment.Charge{
		Key: invoice + "/1", InvoiceID: invoice, Customer: m.Customer, MethodID: m.ID, Amount: account.Money{Amount: 900, Currency: "usd"},
	}
}

func TestStripe_AnAttachedMethodOfALostAnswerIsThePayersOwn(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	payer := payment.Payer{AccountID: uuid.New(), Email: "ada@example.com"}
	first, err := provider.Attach(t.Context(), payer, "pm_card_visa")
	require.NoError(t, err)
	server.Advance(48 * time.Hour)
	again, err := provider.Attach(t.Context(), payer, first.ID)
	require.NoError(t, err)
	require.Equal(t, first, again, "known by the customer's metadata, long after the keys are gone")

	payer.Email = "ada@example.org"
	other, err := provider.Attach(t.Context(), payer, "pm_card_mastercard")
	require.NoError(t, err, "a new address is no other use of the same key")
	require.NotEmpty(t, other.Customer)
}

func TestStripe_ACardThatTheBankRefusesIsNotKept(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	for id, card := range payment.TestCards() {
		m, err := provider.Attach(t.Context(), payment.Payer{AccountID: uuid.New()}, id)
		if card.KeepDeclined {
			require.ErrorIs(t, err, payment.ErrMethodDeclined, id)
			require.ErrorIs(t, err, payment.ErrNoSuchMethod, id)
			continue
		}
		require.NoError(t, err, id)
		out, err := provider.Charge(t.Context(), charge(m))
		require.NoError(t, err, id)
		require.Equal(t, card.DeclineCode, out.Decline.Code, id)
		require.Equal(t, card.DeclineCode == "", out.State == payment.Succeeded, id)
	}
	for _, e := range server.Ledger() {
		require.Equal(t, int64(900), e.Amount)
	}
}

// The second answer on a connection must not be taken for that of the next charge.
func TestStripe_AnAnswerThatComesTwiceIsNoOtherChargesAnswer(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	want := map[string]int{}
	for range 5 {
		server.Next(paymenttest.Fault{Moment: paymenttest.Twice})
		first, second := charge(m), charge(m)
		out, err := provider.Charge(t.Context(), first)
		require.NoError(t, err)
		require.Equal(t, first.Key, out.Key)
		for {
			out, err = provider.Charge(t.Context(), second)
			if err == nil {
				break
			}
			require.False(t, providers.IsPermanent(err))
		}
		require.Equal(t, second.Key, out.Key)
		want[first.Key], want[second.Key] = 1, 1
	}
	require.Equal(t, want, server.Charged())
}

func TestStripe_AnotherChargesAnswerIsNotBelieved(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	for _, decline := range []string{"", "insufficient_funds"} {
		server.Next(paymenttest.Fault{Decline: decline}, paymenttest.Fault{Stale: true})
		_, err := provider.Charge(t.Context(), charge(m))
		require.NoError(t, err)
		c := charge(m)
		_, err = provider.Charge(t.Context(), c)
		require.EqualError(t, err, "stripe: the answer is about something else")
		require.False(t, providers.IsPermanent(err))
		out, err := provider.Find(t.Context(), c.Customer, c.Key)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, out.State)
		require.Equal(t, 1, server.Charged()[c.Key])
	}
}

func TestStripe_AnotherChargesRefusalIsNotBelieved(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	tiny, c := charge(m), charge(m)
	tiny.Amount.Amount = 49
	out, err := provider.Charge(t.Context(), tiny)
	require.NoError(t, err)
	require.Equal(t, payment.Declined, out.State)
	server.Next(paymenttest.Fault{Stale: true})
	out, err = provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, out.State)
	require.Equal(t, map[string]int{c.Key: 1}, server.Charged())
}

// Stripe repeats a failure for as long as it remembers the key; what was charged all the same is found.
func TestStripe_AFailureThatChargedIsFound(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	c := charge(attach(t, provider, "pm_card_visa"))
	server.Next(paymenttest.Fault{Status: http.StatusInternalServerError, Done: true})
	for range 2 {
		out, err := provider.Charge(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, out.State)
	}
	require.Equal(t, map[string]int{c.Key: 1}, server.Charged())

	c = charge(attach(t, provider, "pm_card_visa"))
	server.Next(paymenttest.Fault{Status: http.StatusInternalServerError})
	_, err := provider.Charge(t.Context(), c)
	require.EqualError(t, err, "stripe: 500 api_error req_test")
	require.Zero(t, server.Charged()[c.Key])
}

// F-26: down for 26 hours, so that every key is forgotten. Looking up first charges once, before, within and after.
func TestStripe_F26_DownFor26HoursChargesOnce(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	heard, unheard := charge(m), charge(m)
	server.Next(paymenttest.Fault{Moment: paymenttest.After})
	_, err := provider.Charge(t.Context(), heard)
	require.Error(t, err)
	server.Always(&paymenttest.Fault{Status: http.StatusServiceUnavailable})
	for range 26 {
		server.Advance(time.Hour)
		for _, c := range []payment.Charge{heard, unheard} {
			_, err = provider.Find(t.Context(), c.Customer, c.Key)
			require.Error(t, err)
			require.NotErrorIs(t, err, payment.ErrNotFound, "what cannot be asked is not unknown")
			_, err = provider.Charge(t.Context(), c)
			require.Error(t, err)
		}
	}
	server.Always(nil)
	out, err := provider.Find(t.Context(), heard.Customer, heard.Key)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, out.State)
	_, err = provider.Find(t.Context(), unheard.Customer, unheard.Key)
	require.ErrorIs(t, err, payment.ErrNotFound)
	_, err = provider.Charge(t.Context(), unheard)
	require.NoError(t, err)
	require.Equal(t, map[string]int{heard.Key: 1, unheard.Key: 1}, server.Charged())
}

func TestStripe_FailuresAreToldWithoutTheirWords(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	for name, want := range map[string]struct {
		fault     paymenttest.Fault
		permanent bool
		after     time.Duration
		says      string
	}{
		"limited":     {paymenttest.Fault{Status: 429, RetryAfter: 7}, false, 7 * time.Second, "stripe: 429 invalid_request_error req_test"},
		"in use":      {paymenttest.Fault{Status: 409}, false, 0, "stripe: 409 api_error req_test"},
		"unavailable": {paymenttest.Fault{Status: 503}, false, 0, "stripe: 503 api_error req_test"},
		"no JSON":     {paymenttest.Fault{Status: 502, Raw: true}, false, 0, "stripe: the exchange failed"},
		"no JSON ok":  {paymenttest.Fault{Status: 200, Raw: true}, false, 0, "stripe: the exchange failed"},
		"not for us":  {paymenttest.Fault{Status: 403}, false, 0, "stripe: 403 api_error req_test"},
	} {
		server.Next(want.fault)
		_, err := provider.Charge(t.Context(), charge(m))
		require.EqualError(t, err, want.says, name)
		require.Equal(t, want.permanent, providers.IsPermanent(err), name)
		require.Equal(t, want.after, providers.RetryAfter(err), name)
		require.NotContains(t, errors.Unwrap(err).Error(), "canary", name)
	}
	require.Empty(t, server.Charged())

	settings := server.Settings()
	settings.StripeSecretKey = "sk_test_wrong_canary"
	stranger, err := payment.New(settings, nil, server)
	require.NoError(t, err)
	_, err = stranger.Charge(t.Context(), charge(m))
	require.EqualError(t, err, "stripe: 401 invalid_request_error req_test")
	_, err = stranger.Attach(t.Context(), payment.Payer{AccountID: uuid.New()}, "pm_card_visa")
	require.NotErrorIs(t, err, payment.ErrNoSuchMethod, "it is our key that is wrong, not the method")

	settings = server.Settings()
	settings.StripeURL = "http://127.0.0.1:1"
	nobody, err := payment.New(settings, nil, server)
	require.NoError(t, err)
	_, err = nobody.Find(t.Context(), m.Customer, "in_1/1")
	require.EqualError(t, err, "stripe: the exchange failed")
}

// What Stripe refuses because of what this charge is, it refuses for ever: nothing was charged, and nothing will be.
func TestStripe_ARefusedChargeIsDeclinedForGood(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	tiny := charge(m)
	tiny.Amount.Amount = 49
	for range 2 {
		out, err := provider.Charge(t.Context(), tiny)
		require.NoError(t, err)
		require.Equal(t, payment.Declined, out.State)
		require.Equal(t, account.Decline{Code: "amount_too_small", Hard: true}, out.Decline)
		require.Equal(t, tiny.Key, out.Key)
		require.Equal(t, tiny.Amount, out.Amount)
	}
	for want, faults := range map[string][]paymenttest.Fault{
		"amount_too_large":       {{Status: 400, Refusal: "amount_too_large"}},
		"invalid_charge_amount":  {{Status: 400, Param: "amount"}, {Status: 400, Refusal: "parameter_invalid_integer", Param: "amount"}},
		payment.CodeNoSuchMethod: {{Status: 400, Param: "payment_method"}, {Status: 400, Refusal: "payment_intent_incompatible_payment_method"}},
	} {
		for _, fault := range faults {
			server.Next(fault)
			out, err := provider.Charge(t.Context(), charge(m))
			require.NoError(t, err, want)
			require.Equal(t, account.Decline{Code: want, Hard: true}, out.Decline)
		}
	}
	server.DeleteCustomer(m.Customer)
	out, err := provider.Charge(t.Context(), charge(m))
	require.NoError(t, err)
	require.Equal(t, account.Decline{Code: payment.CodeNoSuchMethod, Hard: true}, out.Decline)
	require.Empty(t, server.Charged())
}

// What is refused to every charge is a mistake of ours: nobody's card is declined for it.
func TestStripe_WhatIsRefusedToAllIsNoDecline(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	for _, fault := range []paymenttest.Fault{
		{Status: 400, Refusal: "parameter_unknown", Param: "automatic_payment_methods"},
		{Status: 400, Param: "currency"},
		{Status: 400, Refusal: "testmode_charges_only"},
		{Status: 400, Refusal: "payment_method_unactivated", Param: "payment_method"},
		{Status: 401, Refusal: "api_key_expired"},
		{Status: 401, Refusal: "resource_missing", Param: "payment_method"},
		{Status: 403, Refusal: "secret_key_required", Param: "amount"},
		{Status: 400, Refusal: "resource_missing", Param: "customer"},
		{Status: 409, Refusal: "lock_timeout", Param: "payment_method"},
		{Status: 429, Refusal: "rate_limit", Param: "amount"},
		{Status: 404},
	} {
		server.Next(fault)
		c := charge(m)
		_, err := provider.Charge(t.Context(), c)
		require.Error(t, err, "%+v", fault)
		require.False(t, providers.IsPermanent(err), "%+v", fault)
		_, err = provider.Charge(t.Context(), c)
		require.NoError(t, err, "%+v: as soon as it is mended", fault)
	}
	// A key of another account, or of the other mode, knows nobody: neither the customer nor that it was deleted.
	stranger := charge(m)
	stranger.Customer = "cus_of_another_account"
	_, err := provider.Charge(t.Context(), stranger)
	require.EqualError(t, err, "stripe: 404 resource_missing req_test")
	server.Next(paymenttest.Fault{Status: 400, Refusal: "resource_missing", Param: "payment_method"})
	_, err = provider.Charge(t.Context(), stranger)
	require.EqualError(t, err, "stripe: 404 resource_missing req_test")
}

// An outcome that cannot be looked up is unknown, whatever the look-up is refused with.
func TestStripe_ARefusedLookUpIsNoDecline(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	c := charge(attach(t, provider, "pm_card_visa"))
	for _, fault := range []paymenttest.Fault{{Status: 400, Refusal: "amount_too_small", Param: "amount"}, {Status: 404, Refusal: "resource_missing"}} {
		server.Always(&fault)
		_, err := provider.Find(t.Context(), c.Customer, c.Key)
		require.Error(t, err)
		require.NotErrorIs(t, err, payment.ErrNotFound)
	}
}

// Whose customer was deleted at Stripe can show another card, and is another customer there.
func TestStripe_APayerWhoseCustomerIsDeletedBeginsAnew(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	payer := payment.Payer{AccountID: uuid.New(), Email: "ada@example.com"}
	first, err := provider.Attach(t.Context(), payer, "pm_card_visa")
	require.NoError(t, err)
	payer.Customer = first.Customer
	server.DeleteCustomer(first.Customer)
	server.Advance(48 * time.Hour)
	second, err := provider.Attach(t.Context(), payer, "pm_card_mastercard")
	require.NoError(t, err)
	require.NotEqual(t, first.Customer, second.Customer)
	out, err := provider.Charge(t.Context(), charge(second))
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, out.State)

	// Within a day Stripe answers what it answered before: the customer of the same key is the deleted one.
	lost := payment.Payer{AccountID: uuid.New(), Email: "eve@example.com"}
	gone, err := provider.Attach(t.Context(), lost, "pm_card_visa")
	require.NoError(t, err)
	server.DeleteCustomer(gone.Customer)
	for _, known := range []string{gone.Customer, ""} {
		lost.Customer = known
		anew, err := provider.Attach(t.Context(), lost, "pm_card_mastercard")
		require.NoError(t, err, known)
		require.NotEqual(t, gone.Customer, anew.Customer, known)
	}

	payer.Customer = "cus_of_another_account"
	_, err = provider.Attach(t.Context(), payer, "pm_card_amex")
	require.Error(t, err)
	require.NotErrorIs(t, err, payment.ErrNoSuchMethod, "our key may be wrong")
	require.Len(t, server.Customers(), 4)
}

func TestStripe_ListsPagesInOrder(t *testing.T) {
	t.Parallel()
	provider, server := openStripe(t)
	m := attach(t, provider, "pm_card_visa")
	start := server.Now()
	var keys []string
	for i := range 230 {
		c := charge(m)
		_, err := provider.Charge(t.Context(), c)
		require.NoError(t, err)
		keys = append(keys, c.Key)
		if i%40 == 0 {
			server.Advance(3 * time.Hour)
		}
	}
	var got []string
	require.NoError(t, provider.Charges(t.Context(), start, func(o payment.Outcome) bool {
		got = append(got, o.Key)
		return true
	}))
	require.Equal(t, keys, got)
}

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := payment.New(payment.Settings{}, nil, account.SystemClock{})
	require.ErrorContains(t, err, "GATEHOUSE_STRIPE_SECRET_KEY")
	for _, bad := range []string{"", "api.stripe.com", "ftp://api.stripe.com", "https://user:pw@api.stripe.com", "://"} {
		_, err = payment.New(payment.Settings{StripeSecretKey: "sk_test_x", StripeURL: bad}, nil, account.SystemClock{})
		require.ErrorContains(t, err, "GATEHOUSE_STRIPE_URL", bad)
		require.NotContains(t, err.Error(), "sk_test_x")
	}
	provider, err := payment.New(payment.Settings{StripeSecretKey: "sk_test_x", StripeURL: "https://api.stripe.com/"}, nil, account.SystemClock{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = provider.Find(ctx, "cus_1", "in_1/1")
	require.ErrorIs(t, err, context.Canceled)
}
