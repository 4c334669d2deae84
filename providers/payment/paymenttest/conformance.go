package paymenttest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers"
	"gatehouse/providers/payment"
)

// prompt is how soon, in real time, a provider must be back after its context ended.
const prompt = 2 * time.Second

// Vendor is a provider with the books of its other side, fresh for each test.
type Vendor struct {
	Provider payment.Provider
	// Charged counts the times that money was moved under each key.
	Charged func() map[string]int
	// Now is the time at the other side.
	Now func() time.Time
	// Down makes the next charge fail before anything happens. Lost makes it and loses the answer, Hang makes it and never
	// answers. Decline declines it with a code, Processing leaves its outcome open for a while.
	Down, Lost, Hang func()
	Decline          func(code string)
	Processing       func(time.Duration)
	// Later lets a time pass after which the other side remembers no key, nil where it remembers them for ever.
	Later func()
	// Secrets must not be in an error.
	Secrets []string
}

// Conform holds the provider that open returns to the contract of payment.Provider.
func Conform(t *testing.T, open func(t *testing.T) Vendor) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, Vendor){
		"a method is attached once":                          attachesOnce,
		"a method of somebody else is no method":             foreignMethod,
		"one card has one fingerprint":                       fingerprints,
		"a charge moves money once":                          chargesOnce,
		"a hundred charges with one key move money once":     chargesOnceAtOnce,
		"a key means one charge":                             keyMeansOneCharge,
		"a decline is an outcome":                            declines,
		"a decline is repeated by its key, and ends with it": declineAndAgain,
		"a method that is gone is declined":                  goneMethod,
		"an outage moves nothing and passes":                 outage,
		"an answer that is lost is found":                    lostAnswer,
		"an answer that never comes is found":                noAnswer,
		"what is looked up after the key is forgotten":       forgottenKey,
		"an open outcome is settled later":                   settlesLater,
		"all charges are listed, the oldest first":           listed,
		"an ended context moves nothing":                     endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}

var price = account.Money{Amount: 2900, Currency: "usd"}

// payer is one more account, with a good card.
func (v Vendor) payer(t *testing.T) payment.Method {
	t.Helper()
	return v.card(t, "pm_card_visa")
}

func (v Vendor) card(t *testing.T, id string) payment.Method {
	t.Helper()
	m, err := v.Provider.Attach(t.Context(), payment.Payer{AccountID: uuid.New(), Email: "canary@people.example"}, id)
	require.NoError(t, err)
	return m
}

// bill is one more charge of a method.
func bill(m payment.Method) payment.Charge {
	invoice := "in_sub_" + uuid.NewString()
	return payment.Charge{Key: invoice + "/1", InvoiceID: invoice, Customer: m.Customer, MethodID: m.ID, Amount: price}
}

func (v Vendor) unknown(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.False(t, providers.IsPermanent(err), "%v", err)
	v.clean(t, err)
}

func (v Vendor) clean(t *testing.T, err error) {
	t.Helper()
	for _, secret := range append([]string{"canary", "people.example"}, v.Secrets...) {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), secret)
	}
}

func (v Vendor) paid(t *testing.T, c payment.Charge, out payment.Outcome) {
	t.Helper()
	require.NotEmpty(t, out.ID)
	require.WithinDuration(t, v.Now(), out.At, time.Minute)
	out.ID, out.At = "", time.Time{}
	require.Equal(t, payment.Outcome{Key: c.Key, State: payment.Succeeded, Amount: c.Amount}, out)
}

func attachesOnce(t *testing.T, v Vendor) {
	t.Helper()
	payer := payment.Payer{AccountID: uuid.New(), Email: "canary@people.example"}
	first, err := v.Provider.Attach(t.Context(), payer, "pm_card_visa")
	require.NoError(t, err)
	require.NotEmpty(t, first.ID)
	require.NotEmpty(t, first.Customer)
	require.Equal(t, "visa", first.Brand)
	require.Equal(t, "4242", first.Last4)
	require.True(t, first.ExpiresAt.After(v.Now()))

	// The answer may be lost, so the payer may still be unknown as a customer.
	for _, id := range []string{"pm_card_visa", first.ID} {
		for _, known := range []string{"", first.Customer} {
			payer.Customer = known
			again, err := v.Provider.Attach(t.Context(), payer, id)
			require.NoError(t, err)
			require.Equal(t, first, again)
		}
	}
	second, err := v.Provider.Attach(t.Context(), payer, "pm_card_mastercard")
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, first.Customer, second.Customer)
}

func foreignMethod(t *testing.T, v Vendor) {
	t.Helper()
	ada := v.payer(t)
	eve := payment.Payer{AccountID: uuid.New()}
	for _, known := range []string{"", v.payer(t).Customer} {
		eve.Customer = known
		for _, id := range []string{ada.ID, "pm_unknown", "x"} {
			_, err := v.Provider.Attach(t.Context(), eve, id)
			require.ErrorIs(t, err, payment.ErrNoSuchMethod)
			v.clean(t, err)
		}
	}
	c := bill(ada)
	c.Customer = v.payer(t).Customer
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, payment.Declined, out.State)
	require.Equal(t, account.Decline{Code: payment.CodeNoSuchMethod, Hard: true}, out.Decline)
	require.Empty(t, v.Charged())
}

func fingerprints(t *testing.T, v Vendor) {
	t.Helper()
	ada, eve := v.payer(t), v.payer(t)
	require.NotEqual(t, ada.ID, eve.ID)
	require.NotEqual(t, ada.Customer, eve.Customer)
	require.NotEmpty(t, ada.Fingerprint)
	require.Equal(t, ada.Fingerprint, eve.Fingerprint)
	require.NotEqual(t, ada.Fingerprint, v.card(t, "pm_card_mastercard").Fingerprint)
}

func chargesOnce(t *testing.T, v Vendor) {
	t.Helper()
	m := v.payer(t)
	c := bill(m)
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	v.paid(t, c, out)
	for range 3 {
		again, err := v.Provider.Charge(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, out, again)
	}
	next := bill(m)
	other, err := v.Provider.Charge(t.Context(), next)
	require.NoError(t, err)
	require.NotEqual(t, out.ID, other.ID)
	require.Equal(t, map[string]int{c.Key: 1, next.Key: 1}, v.Charged())
}

func chargesOnceAtOnce(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	outs, errs := make([]payment.Outcome, 100), make([]error, 100)
	var group sync.WaitGroup
	for i := range outs {
		group.Go(func() { outs[i], errs[i] = v.Provider.Charge(t.Context(), c) })
	}
	group.Wait()
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
	for i := range outs {
		require.NoError(t, errs[i])
		require.Equal(t, outs[0], outs[i])
	}
}

func keyMeansOneCharge(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	dearer := c
	dearer.Amount.Amount++
	_, err = v.Provider.Charge(t.Context(), dearer)
	require.ErrorIs(t, err, payment.ErrKeyUsed)
	v.clean(t, err)
	found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.NoError(t, err)
	require.Equal(t, out, found)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
}

func declines(t *testing.T, v Vendor) {
	t.Helper()
	m := v.payer(t)
	for code, want := range map[string]account.Decline{
		"insufficient_funds":      {},
		"generic_decline":         {},
		"do_not_honor":            {},
		"processing_error":        {},
		"card_velocity_exceeded":  {},
		"a_code_of_tomorrow":      {},
		"expired_card":            {Hard: true},
		"lost_card":               {Hard: true},
		"stolen_card":             {Hard: true},
		"incorrect_cvc":           {Hard: true},
		"fraudulent":              {Hard: true},
		"authentication_required": {ActionRequired: true},
	} {
		want.Code = code
		v.Decline(code)
		c := bill(m)
		out, err := v.Provider.Charge(t.Context(), c)
		require.NoError(t, err, code)
		require.NotEmpty(t, out.ID)
		require.WithinDuration(t, v.Now(), out.At, time.Minute)
		found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
		require.NoError(t, err)
		require.Equal(t, out, found)
		out.ID, out.At = "", time.Time{}
		require.Equal(t, payment.Outcome{Key: c.Key, State: payment.Declined, Decline: want, Amount: c.Amount}, out)
	}
	require.Empty(t, v.Charged())
}

func declineAndAgain(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	v.Decline("insufficient_funds")
	first, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, payment.Declined, first.State)
	again, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, first, again, "the same attempt has the same outcome")
	c.Key = c.InvoiceID + "/2"
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	v.paid(t, c, out)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
}

func goneMethod(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	c.MethodID = "pm_gone"
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, payment.Declined, out.State)
	require.Equal(t, account.Decline{Code: payment.CodeNoSuchMethod, Hard: true}, out.Decline)
	require.Equal(t, c.Key, out.Key)
	require.Equal(t, c.Amount, out.Amount)
	_, err = v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.ErrorIs(t, err, payment.ErrNotFound)
}
