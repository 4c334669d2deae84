package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/store"
)

// What operators look accounts up by has an index, among thousands of others.
func TestOperatorsReadNoTableFromEndToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	has, closed := w.member(t, ada).AccountID, w.member(t, "eve@example.com").AccountID
	w.exec(t, `UPDATE accounts SET phone_number = '+491701234567' WHERE id = $1`, has)
	w.exec(t, `INSERT INTO closures (id, account_id, erase_at) VALUES (gen_random_uuid(), $1, now() + interval '1 day')`, closed)
	w.exec(t, `UPDATE accounts SET deleted_at = now() WHERE id = $1`, closed)
	w.exec(t, `INSERT INTO accounts (id, email, phone_number, email_verified_at)
		SELECT gen_random_uuid(), 'u' || n || '@example.com', '+4916000' || 10000 + n, now() FROM generate_series(1, 5000) n`)
	w.exec(t, `INSERT INTO audit_heads (account_id, last) SELECT id, 0 FROM accounts ON CONFLICT DO NOTHING`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE`)
	require.NoError(t, err)

	// A connection of its own: what an old one has scanned before is counted until Postgres gets round to adding it up.
	require.NoError(t, openStore(t, w.url).InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		for name, want := range map[string]uuid.UUID{ada: has, "eve@example.com": closed, has.String(): has} {
			found, err := tx.AuditedAccounts(ctx, name)
			require.NoError(t, err)
			require.Equal(t, []uuid.UUID{want}, found, name)
		}
		found, err := tx.AccountsOfPhone(ctx, "+491701234567")
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{has}, found)
		for _, table := range []string{"accounts", "audit_heads"} {
			whole, _, err := tx.Scans(ctx, table)
			require.NoError(t, err)
			require.Zero(t, whole, "%s was read from end to end", table)
		}
		return nil
	}))
}

// What reads the whole audit log takes longer than a request may.
func TestAudit_CheckAndPruneTakeTheirTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	_, err := w.sql.Exec(t.Context(), `ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only`)
	require.NoError(t, err)
	w.exec(t, `UPDATE audit_events SET at = now() - interval '500 days' WHERE account_id = $1`, me.AccountID)
	for _, statement := range []string{
		`ALTER TABLE audit_events ENABLE TRIGGER audit_events_append_only`,
		`CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN NEW; END'`,
		`CREATE TRIGGER slow BEFORE UPDATE ON audit_heads FOR EACH ROW WHEN (NEW.pruned_to > OLD.pruned_to) EXECUTE FUNCTION dawdle()`,
		`CREATE OR REPLACE FUNCTION audit_faults() RETURNS TABLE (account_id uuid, fault text) LANGUAGE sql
			AS 'SELECT gen_random_uuid(), ''slow'' FROM pg_sleep(1.2)'`,
	} {
		_, err := w.sql.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	hasty, err := store.Open(store.Options{URL: w.url, StatementTimeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = hasty.Close() })

	faults, err := hasty.AuditFaults(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, faults, 1)
	n, err := hasty.PruneEvents(t.Context(), time.Now().Add(-400*24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
}
