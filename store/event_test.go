package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// events are the names of what an account's log holds, in its order.
func (w world) events(t *testing.T, accountID uuid.UUID) []string {
	t.Helper()
	return one[[]string](t, w, `SELECT coalesce(array_agg(name ORDER BY sequence), '{}') FROM audit_events WHERE account_id = $1`, accountID)
}

func TestAudit_TheProverOfACodeActs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prover := account.Acting{Kind: account.ActorVisitor, Network: "192.0.2.0/24", RequestID: "r-1"}
	w.park(t, account.SignupByCode, "ann@example.com")
	ch := w.sent(t, account.PurposeSignup, "ann@example.com", nil)
	ctx := account.WithActing(t.Context(), prover)
	require.NoError(t, w.Prove(ctx, ch.ID, guessOf(ch.Purpose, ch.Destination, ""), store.Proof{}))

	flow := account.WithActing(t.Context(), account.Acting{Kind: account.ActorFlow, ID: "signup/x"})
	for range 2 { // an activity is tried again
		_, err := w.CompleteSignup(flow, ch.ID, bonus, sessionTTL)
		require.NoError(t, err)
	}

	id := one[uuid.UUID](t, w, `SELECT id FROM accounts`)
	require.Equal(t, []string{"account.created"}, w.events(t, id))
	require.Equal(t, "visitor||192.0.2.0/24|r-1|signup", one[string](t, w, `
		SELECT concat_ws('|', actor_kind, coalesce(actor_id, ''), network, request_id, details ->> 'method')
		FROM audit_events WHERE account_id = $1`, id))
}

func TestAudit_OnlyGrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	for _, statement := range []string{
		`UPDATE audit_events SET name = 'x'`, `DELETE FROM audit_events`, `TRUNCATE audit_events`, `DELETE FROM audit_events WHERE false`,
	} {
		_, err := w.sql.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "the audit log only grows", statement)
	}
}

func TestAuditRace_SequencesHaveNoGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		owner := w.member(t, strings.ToLower(uuid.NewString())+"@example.com").AccountID
		errs := race(crowd, func(i int) error {
			return w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
				if err := tx.Record(ctx, owner, account.EventSessionRevoked, nil); err != nil {
					return err
				}
				if i%3 == 0 { // what is rolled back leaves no gap
					return account.ErrInvalid
				}
				return nil
			})
		})
		won := winners(t, errs, account.ErrInvalid)
		require.Equal(t, won+1, w.count(t, `audit_events WHERE account_id = $1`, owner))
		require.Equal(t, won+1, one[int](t, w, `SELECT max(sequence)::int FROM audit_events WHERE account_id = $1`, owner))
		require.Equal(t, won+1, one[int](t, w, `SELECT last::int FROM audit_heads WHERE account_id = $1`, owner))
	}
}
