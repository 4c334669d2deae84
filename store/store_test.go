package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// Whoever loses a deadlock does its work once the winner is done.
func TestInTx_DeadlocksAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.member(t, ada).AccountID, w.member(t, "bob@example.com").AccountID
	var met sync.WaitGroup
	met.Add(2)
	runs := make([]int, 2)
	errs := race(2, func(i int) error {
		first, second := a, b
		if i == 1 {
			first, second = b, a
		}
		return w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
			if _, _, err := tx.ChangeProfile(ctx, account.Account{ID: first}, account.ProfileChange{}); err != nil {
				return err
			}
			if runs[i]++; runs[i] == 1 {
				met.Done()
				met.Wait()
			}
			_, _, err := tx.ChangeProfile(ctx, account.Account{ID: second}, account.ProfileChange{})
			return err
		})
	})
	require.Equal(t, 2, winners(t, errs))
	require.GreaterOrEqual(t, runs[0]+runs[1], 3, "one of them was run again")
}
