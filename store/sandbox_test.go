package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func sandboxCharge(id, key string) account.SandboxCharge {
	return account.SandboxCharge{
		ID: id, Key: key, InvoiceID: "in_1", Customer: "cus_1", MethodID: "pm_1", Amount: account.Money{Amount: 900, Currency: "usd"},
	}
}

func TestSandboxChargeRaceEntersOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		key := fmt.Sprintf("in_1/%d", round)
		kept := make([]account.SandboxCharge, crowd)
		errs := race(crowd, func(i int) (err error) {
			kept[i], err = w.PutSandboxCharge(t.Context(), sandboxCharge(fmt.Sprintf("ch_%d_%d", round, i), key))
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		for _, c := range kept {
			require.Equal(t, kept[0], c)
		}
		found, err := w.SandboxCharge(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, kept[0], found)
	}
	require.Equal(t, *rounds, w.count(t, "sandbox_charges"))
	_, err := w.SandboxCharge(t.Context(), "in_2/1")
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestSandboxChargesArePaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		_, err := w.PutSandboxCharge(t.Context(), sandboxCharge(fmt.Sprintf("ch_%d", i), fmt.Sprintf("in_1/%d", i)))
		require.NoError(t, err)
	}
	w.exec(t, `UPDATE sandbox_charges SET created_at = '2026-01-01T00:00:00Z' WHERE id IN ('ch_1', 'ch_2', 'ch_3')`)
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ids := func(since time.Time, after string) (out []string) {
		page, err := w.SandboxCharges(t.Context(), since, after, 2)
		require.NoError(t, err)
		for _, c := range page {
			out = append(out, c.ID)
		}
		return out
	}
	require.Equal(t, []string{"ch_1", "ch_2"}, ids(since, ""))
	require.Equal(t, []string{"ch_3", "ch_0"}, ids(since, "ch_2"))
	require.Equal(t, []string{"ch_0", "ch_4"}, ids(since.Add(time.Second), ""))
	require.Empty(t, ids(since.AddDate(100, 0, 0), ""))
}

func TestSandboxProcessingSettles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := sandboxCharge("ch_1", "in_1/1")
	c.Settles = time.Hour
	c, err := w.PutSandboxCharge(t.Context(), c)
	require.NoError(t, err)
	require.Greater(t, c.Settles, 59*time.Minute)
	w.exec(t, `UPDATE sandbox_charges SET settles_at = now()`)
	c, err = w.SandboxCharge(t.Context(), c.Key)
	require.NoError(t, err)
	require.Zero(t, c.Settles)
}

func TestSandboxMethodsStayWhoseTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.PutSandboxMethod(t.Context(), account.SandboxMethod{ID: "pm_1", Customer: "cus_1", TestID: "pm_card_visa"}))
	require.NoError(t, w.PutSandboxMethod(t.Context(), account.SandboxMethod{ID: "pm_1", Customer: "cus_2", TestID: "pm_card_amex"}))
	m, err := w.SandboxMethod(t.Context(), "pm_1")
	require.NoError(t, err)
	require.Equal(t, account.SandboxMethod{ID: "pm_1", Customer: "cus_1", TestID: "pm_card_visa"}, m)
	_, err = w.SandboxMethod(t.Context(), "pm_2")
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestSandboxFaultRaceStrikesAsOftenAsScripted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		for _, kind := range []account.SandboxFaultKind{account.SandboxDown, account.SandboxLost} {
			require.NoError(t, w.ScriptSandbox(t.Context(), account.SandboxFault{
				Kind: kind, TestID: "pm_card_visa", KeyPrefix: "in_1/", Code: "x", Delay: time.Second, Times: 7,
			}))
		}
		taken := make([]account.SandboxFault, crowd)
		errs := race(crowd, func(i int) (err error) {
			taken[i], err = w.TakeSandboxFault(t.Context(), "pm_card_visa", "in_1/1")
			return err
		})
		kinds := map[account.SandboxFaultKind]int{}
		for i, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, account.ErrNotFound)
				continue
			}
			kinds[taken[i].Kind]++
			require.Equal(t, time.Second, taken[i].Delay)
			require.Equal(t, "x", taken[i].Code)
		}
		require.Equal(t, map[account.SandboxFaultKind]int{account.SandboxDown: 7, account.SandboxLost: 7}, kinds)
	}
	require.NoError(t, w.ScriptSandbox(t.Context(), account.SandboxFault{Kind: account.SandboxDown, KeyPrefix: "in_%", Times: 1}))
	_, err := w.TakeSandboxFault(t.Context(), "pm_card_visa", "in_1/1")
	require.ErrorIs(t, err, account.ErrNotFound, "a prefix is no pattern")
}
