package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
	"gatehouse/store"
)

func (w world) balance(t checking, owner uuid.UUID) int64 {
	t.Helper()
	var balance, sum int64
	err := w.sql.QueryRow(t.Context(), `SELECT balance, (SELECT coalesce(sum(amount), 0)::bigint FROM credit_moves WHERE account_id = $1)
		FROM credits WHERE account_id = $1`, owner).Scan(&balance, &sum)
	require.NoError(t, err)
	require.Equal(t, balance, sum, "I-11")
	require.GreaterOrEqual(t, balance, int64(0))
	return balance
}

func (w world) hold(owner uuid.UUID, key string, amount int64) store.NewHold {
	return store.NewHold{AccountID: owner, Key: key, Amount: amount, TTL: time.Hour}
}

func TestMoveCredits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	require.EqualValues(t, 100, w.balance(t, owner))
	grant := store.CreditMove{AccountID: owner, Kind: "gift", Key: "gift/1", Amount: 30}
	for _, want := range []bool{true, false} {
		moved, err := w.MoveCredits(t.Context(), grant)
		require.NoError(t, err)
		require.Equal(t, want, moved)
	}
	require.EqualValues(t, 130, w.balance(t, owner))
	_, err := w.MoveCredits(t.Context(), store.CreditMove{AccountID: owner, Kind: "fee", Key: "fee/1", Amount: -131})
	require.ErrorIs(t, err, store.ErrTooFewCredits)
	_, err = w.MoveCredits(t.Context(), store.CreditMove{AccountID: uuid.New(), Kind: "gift", Key: "x", Amount: 1})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.MoveCredits(t.Context(), store.CreditMove{AccountID: owner, Kind: "fee", Key: "fee/1", Amount: -130})
	require.NoError(t, err, "a refused line is none")
	require.Zero(t, w.balance(t, owner))
}

func TestHoldCredits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, other := w.member(t, ada).AccountID, w.member(t, "bob@example.com").AccountID
	h, err := w.HoldCredits(t.Context(), w.hold(owner, "job/1", 60))
	require.NoError(t, err)
	require.EqualValues(t, 40, w.balance(t, owner))
	again, err := w.HoldCredits(t.Context(), w.hold(owner, "job/1", 60))
	require.NoError(t, err)
	require.Equal(t, h, again)
	_, err = w.HoldCredits(t.Context(), w.hold(owner, "job/1", 61))
	require.ErrorIs(t, err, store.ErrHoldDiffers)
	_, err = w.HoldCredits(t.Context(), w.hold(owner, "job/2", 41))
	require.ErrorIs(t, err, store.ErrTooFewCredits)
	require.Equal(t, 1, w.count(t, "credit_holds"), "a refused hold is none")
	_, err = w.HoldCredits(t.Context(), w.hold(uuid.New(), "job/1", 1))
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.HoldCredits(t.Context(), w.hold(owner, "job/3", 0))
	require.Error(t, err)
	_, err = w.HoldCredits(t.Context(), w.hold(other, "job/1", 100))
	require.NoError(t, err, "keys are of one account each")

	require.ErrorIs(t, w.CaptureHold(t.Context(), other, h.ID, 10), store.ErrHoldEnded, "somebody else's")
	require.ErrorIs(t, w.CaptureHold(t.Context(), owner, uuid.New(), 10), store.ErrHoldEnded)
	require.ErrorIs(t, w.CaptureHold(t.Context(), owner, h.ID, 61), store.ErrHoldEnded, "more than was held")
	require.ErrorIs(t, w.CaptureHold(t.Context(), owner, h.ID, -1), store.ErrHoldEnded)
	for range 2 {
		require.NoError(t, w.CaptureHold(t.Context(), owner, h.ID, 45))
	}
	require.ErrorIs(t, w.CaptureHold(t.Context(), owner, h.ID, 0), store.ErrHoldEnded)
	require.EqualValues(t, 55, w.balance(t, owner))
	require.EqualValues(t, 45, one[int64](t, w, `SELECT total_used FROM credits WHERE account_id = $1`, owner))
	ended, err := w.HoldCredits(t.Context(), w.hold(owner, "job/1", 60))
	require.NoError(t, err)
	require.True(t, ended.Ended)
	require.EqualValues(t, 45, ended.Used)
	w.requireInvariants(t)
}

func TestHoldsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	h, err := w.HoldCredits(t.Context(), w.hold(owner, "job/1", 60))
	require.NoError(t, err)
	late, err := w.HoldCredits(t.Context(), w.hold(owner, "job/2", 10))
	require.NoError(t, err)
	w.exec(t, `UPDATE credit_holds SET expires_at = now()`)
	require.NoError(t, w.CaptureHold(t.Context(), owner, late.ID, 10), "late, but nobody has ended it")
	for range 2 {
		require.NoError(t, w.Sweep(t.Context(), time.Hour))
	}
	require.EqualValues(t, 90, w.balance(t, owner))
	require.ErrorIs(t, w.CaptureHold(t.Context(), owner, h.ID, 60), store.ErrHoldEnded)
	w.exec(t, `UPDATE credit_holds SET ended_at = now() - interval '91 days'`)
	require.NoError(t, w.Sweep(t.Context(), time.Hour))
	require.Zero(t, w.count(t, "credit_holds"))
	require.EqualValues(t, 90, w.balance(t, owner), "the ledger stays")
}

// I-11: a hundred holds of a tenth of the balance each: ten get through, and nothing is spent twice.
func TestHoldCreditsRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		owner := w.member(t, fmt.Sprintf("ada%d@example.com", round)).AccountID
		errs := race(crowd, func(i int) error {
			_, err := w.HoldCredits(t.Context(), w.hold(owner, fmt.Sprint("job/", i), 10))
			return err
		})
		require.Equal(t, 10, winners(t, errs, store.ErrTooFewCredits))
		require.Zero(t, w.balance(t, owner))
		require.Equal(t, 10, w.count(t, "credit_holds WHERE account_id = $1", owner))
	}
	w.requireInvariants(t)
}

func TestHoldCreditsRaceOfOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		owner := w.member(t, fmt.Sprintf("ada%d@example.com", round)).AccountID
		ids := make([]uuid.UUID, crowd)
		errs := race(crowd, func(i int) error {
			h, err := w.HoldCredits(t.Context(), w.hold(owner, "job", 30))
			ids[i] = h.ID
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		for _, id := range ids {
			require.Equal(t, ids[0], id)
		}
		require.EqualValues(t, 70, w.balance(t, owner))

		// Captured, captured otherwise, and released at once: one of them decides.
		used := []int64{30, 12, 0}
		errs = race(crowd, func(i int) error { return w.CaptureHold(t.Context(), owner, ids[0], used[i%3]) })
		winners(t, errs, store.ErrHoldEnded)
		cost := one[int64](t, w, `SELECT used FROM credit_holds WHERE id = $1`, ids[0])
		require.Equal(t, 100-cost, w.balance(t, owner))
		require.Equal(t, cost, one[int64](t, w, `SELECT total_used FROM credits WHERE account_id = $1`, owner))
		for i, err := range errs {
			require.Equal(t, used[i%3] == cost, err == nil)
		}
	}
}

// The ledger agrees with a sum in the head, whatever happens in which order.
func TestCreditsModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	balance, n := int64(100), 0
	type held struct {
		id     uuid.UUID
		amount int64
	}
	var open []held
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 8).Draw(r, "steps") {
			n++
			amount := rapid.Int64Range(1, 60).Draw(r, "amount")
			switch step := rapid.SampledFrom([]string{"grant", "hold", "hold", "end"}).Draw(r, "step"); {
			case step == "grant":
				_, err := w.MoveCredits(r.Context(), store.CreditMove{AccountID: owner, Kind: "gift", Key: fmt.Sprint("gift/", n), Amount: amount})
				require.NoError(r, err)
				balance += amount
			case step == "hold":
				h, err := w.HoldCredits(r.Context(), w.hold(owner, fmt.Sprint("job/", n), amount))
				if amount > balance {
					require.ErrorIs(r, err, store.ErrTooFewCredits)
					break
				}
				require.NoError(r, err)
				balance -= amount
				open = append(open, held{h.ID, amount})
			case len(open) > 0:
				h := open[0]
				open = open[1:]
				used := rapid.Int64Range(0, h.amount).Draw(r, "used")
				require.NoError(r, w.CaptureHold(r.Context(), owner, h.id, used))
				balance += h.amount - used
			}
			require.Equal(r, balance, w.balance(r, owner))
		}
	})
}
