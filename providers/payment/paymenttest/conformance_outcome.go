package paymenttest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/providers/payment"
)

func outage(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	v.Down()
	_, err := v.Provider.Charge(t.Context(), c)
	v.unknown(t, err)
	require.Empty(t, v.Charged())
	_, err = v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.ErrorIs(t, err, payment.ErrNotFound)

	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	v.paid(t, c, out)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
}

func lostAnswer(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	v.Lost()
	_, err := v.Provider.Charge(t.Context(), c)
	v.unknown(t, err)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())

	found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.NoError(t, err)
	v.paid(t, c, found)
	for _, other := range []string{"", v.payer(t).Customer} {
		_, err = v.Provider.Find(t.Context(), other, c.Key)
		require.ErrorIs(t, err, payment.ErrNotFound)
	}
	again, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, found, again)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
}

func noAnswer(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	v.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := v.Provider.Charge(ctx, c)
		done <- err
	}()
	select {
	case err := <-done:
		v.unknown(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(prompt):
		t.Fatalf("still charging after %v", prompt)
	}
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
	found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.NoError(t, err)
	v.paid(t, c, found)
}

// forgottenKey is why an attempt of unknown outcome is looked up before it is made again (reliability.md F-26).
func forgottenKey(t *testing.T, v Vendor) {
	t.Helper()
	c := bill(v.payer(t))
	v.Lost()
	_, err := v.Provider.Charge(t.Context(), c)
	v.unknown(t, err)
	want := map[string]int{c.Key: 1}
	if v.Later != nil {
		v.Later()
	}
	found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, found.State)
	require.Equal(t, want, v.Charged())

	// Without the look-up it is charged again by whoever forgets.
	_, err = v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	if v.Later != nil {
		want[c.Key] = 2
	}
	require.Equal(t, want, v.Charged())
}

func settlesLater(t *testing.T, v Vendor) {
	t.Helper()
	m := v.payer(t)
	c := bill(m)
	v.Processing(time.Second)
	out, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, payment.Processing, out.State)
	again, err := v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, out.ID, again.ID)
	require.Eventually(t, func() bool {
		found, err := v.Provider.Find(t.Context(), c.Customer, c.Key)
		return err == nil && found.State == payment.Succeeded && found.ID == out.ID
	}, 10*time.Second, 50*time.Millisecond)
	again, err = v.Provider.Charge(t.Context(), c)
	require.NoError(t, err)
	v.paid(t, c, again)
	require.Equal(t, map[string]int{c.Key: 1}, v.Charged())
}

func listed(t *testing.T, v Vendor) {
	t.Helper()
	m := v.payer(t)
	start := v.Now()
	var keys []string
	for i := range 5 {
		if i == 2 {
			v.Decline("insufficient_funds")
		}
		c := bill(m)
		_, err := v.Provider.Charge(t.Context(), c)
		require.NoError(t, err)
		keys = append(keys, c.Key)
	}
	list := func(since time.Time, most int) []string {
		var got []string
		require.NoError(t, v.Provider.Charges(t.Context(), since, func(o payment.Outcome) bool {
			found, err := v.Provider.Find(t.Context(), m.Customer, o.Key)
			require.NoError(t, err)
			require.Equal(t, found, o)
			got = append(got, o.Key)
			return len(got) < most
		}))
		return got
	}
	require.Equal(t, keys, list(start.Add(-time.Second), 100))
	require.Equal(t, keys, list(start.Add(-100*24*time.Hour), 100))
	require.Equal(t, keys[:3], list(start.Add(-time.Hour), 3))
	require.Empty(t, list(v.Now().Add(2*time.Second), 100))
}

func endedContext(t *testing.T, v Vendor) {
	t.Helper()
	m := v.payer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Provider.Charge(ctx, bill(m))
	v.unknown(t, err)
	require.ErrorIs(t, err, context.Canceled)
	_, err = v.Provider.Attach(ctx, payment.Payer{AccountID: uuid.New()}, "pm_card_visa")
	require.Error(t, err)
	require.NotErrorIs(t, err, payment.ErrNoSuchMethod)
	_, err = v.Provider.Find(ctx, m.Customer, "in_1/1")
	require.Error(t, err)
	require.NotErrorIs(t, err, payment.ErrNotFound)
	require.Error(t, v.Provider.Charges(ctx, v.Now().Add(-time.Hour), func(payment.Outcome) bool { return true }))
	require.Empty(t, v.Charged())
	v.clean(t, err)
}
