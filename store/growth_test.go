package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/store"
)

// tables are the tables of the schema but for the migrator's own.
func (w world) tables(t *testing.T) []string {
	t.Helper()
	return one[[]string](t, w, `SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
		WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname NOT LIKE 'bun_%'`)
}

var growthRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|[^|]*\\| (swept|kept|by its owner) \\|")

// TestEveryTableHasAnEnd wants a line in docs/scale.md for each table: what removes its rows, or why they stay.
func TestEveryTableHasAnEnd(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/scale.md")
	require.NoError(t, err)
	said := map[string]string{}
	for _, m := range growthRow.FindAllStringSubmatch(string(document), -1) {
		require.NotContains(t, said, m[1], "twice")
		said[m[1]] = m[2]
	}
	swept := map[string]bool{}
	for _, e := range store.Expired() {
		swept[e.Table] = true
	}
	tables := newWorld(t).tables(t)
	for _, table := range tables {
		require.Contains(t, said, table, "docs/scale.md does not say what removes the rows of this table")
		require.Equal(t, swept[table], said[table] == "swept", table)
		delete(said, table)
	}
	require.Empty(t, said, "no such tables")
}

// TestSweepReadsIndexesOnly wants an index for whatever runs each minute, on tables of any size.
func TestSweepReadsIndexesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(t, 2000)
	tx, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) }()
	// Then a table is read from end to end only where there is no other way.
	_, err = tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off`)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(store.Expired()), 20)
	for _, e := range store.Expired() {
		if e.Table == "reconciliations" {
			continue // one a night
		}
		var text string
		err := tx.QueryRow(t.Context(), `EXPLAIN (FORMAT JSON) SELECT ctid FROM `+e.Table+` WHERE `+e.Where+` LIMIT 1000`).Scan(&text)
		require.NoError(t, err)
		var plans []struct{ Plan planNode }
		require.NoError(t, json.Unmarshal([]byte(text), &plans))
		require.True(t, plans[0].Plan.narrows(e.Table), "%s: no index finds what %s\n%s", e.Table, e.Where, text)
		require.NoError(t, tx.QueryRow(t.Context(), `EXPLAIN (FORMAT JSON) `+store.Swept(e.Table, e.Where)).Scan(&text))
		require.Contains(t, text, `"Tid Scan"`, "%s: what was found is not gone to directly\n%s", e.Table, text)
	}
}

// unindexed are references without an index for the end of what they refer to.
var unindexed = map[string]string{
	"invoices.plan_id":              "a plan retires, and is never deleted",
	"subscriptions.plan_id":         "a plan retires, and is never deleted",
	"subscriptions.next_plan_id":    "a plan retires, and is never deleted",
	"subscriptions.upgrade_plan_id": "a plan retires, and is never deleted",
}

// TestEveryReferenceHasAnIndex wants one for each foreign key, or the end of a row reads every row that might refer to it. An index
// with a condition does not serve, but for the one that any key meets: it is not NULL.
func TestEveryReferenceHasAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	missing := one[[]string](t, w, `
		SELECT coalesce(array_agg(reference ORDER BY reference), '{}') FROM (
			SELECT c.conrelid::regclass || '.' || (SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
				WHERE attrelid = c.conrelid AND attnum = ANY (c.conkey)) AS reference
			FROM pg_constraint c
			WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
				SELECT 1 FROM pg_index i
				WHERE i.indrelid = c.conrelid AND i.indisvalid AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
					AND (i.indpred IS NULL OR cardinality(c.conkey) = 1 AND pg_get_expr(i.indpred, i.indrelid) = (
						SELECT format('(%I IS NOT NULL)', attname) FROM pg_attribute WHERE attrelid = c.conrelid AND attnum = c.conkey[1]))
			)) AS found`)
	for _, reference := range missing {
		require.Contains(t, unindexed, reference, "no index finds the rows that refer to a row, and neither does a reason")
	}
	require.Len(t, missing, len(unindexed), "%v: a reason without its case", missing)
}

const (
	// dropRules takes away what any content might break: checks and references.
	dropRules = `
		DO $$ DECLARE r record; BEGIN
			FOR r IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
				WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace AND conrelid <> 0 AND conparentid = 0 ORDER BY contype DESC
			LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.t, r.conname); END LOOP;
		END $$`
	// contentOf lists a table's columns, and for each an expression of n.
	contentOf = `
		SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(CASE
			WHEN typname = 'timestamptz' AND NOT attnotnull THEN 'CASE WHEN random() < 0.5 THEN now() - random() * interval ''1 hour'' END'
			WHEN typname = 'timestamptz' THEN 'now() - random() * interval ''1 hour'''
			WHEN typname = 'uuid' THEN 'gen_random_uuid()'
			WHEN typname = 'bytea' THEN 'int8send(n)'
			WHEN typname = 'bool' THEN 'n % 2 = 0'
			WHEN typname = 'jsonb' OR typcategory = 'A' THEN '''{}'''
			ELSE 'n::' || typname END, ', ' ORDER BY attnum)
		FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
		WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''`
)

// fill gives every table so many rows of any content, all of this hour, so that the planner has something to weigh.
func (w world) fill(t *testing.T, rows int) {
	t.Helper()
	_, err := w.sql.Exec(t.Context(), dropRules)
	require.NoError(t, err)
	for _, table := range w.tables(t) {
		var columns, values string
		require.NoError(t, w.sql.QueryRow(t.Context(), contentOf, table).Scan(&columns, &values))
		_, err := w.sql.Exec(t.Context(), fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) n ON CONFLICT DO NOTHING`,
			table, columns, values, rows))
		require.NoError(t, err, table)
	}
	_, err = w.sql.Exec(t.Context(), `ANALYZE`)
	require.NoError(t, err)
}

// narrows reports whether the plan finds rows of a table by a condition on an index, not by walking through all of one.
func (n planNode) narrows(table string) bool {
	for _, inner := range n.Plans {
		if inner.narrows(table) || n.Relation == table && n.Type == "Bitmap Heap Scan" && inner.Cond != "" {
			return true
		}
	}
	return n.Relation == table && n.Cond != ""
}

func TestSweepEndsWhatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com").AccountID
	w.exec(t, `INSERT INTO api_keys (id, account_id, name, key_hash, scopes, revoked_at) SELECT gen_random_uuid(), $1, 'n', decode(lpad(d::text, 4, '0'), 'hex'), '{}',
		CASE WHEN d > 0 THEN now() - d * interval '1 day' END FROM unnest(array[0, 89, 91]) d`, ada)
	w.exec(t, `INSERT INTO closures (id, account_id, erase_at, undone_at) SELECT gen_random_uuid(), $1, now(), now() - d * interval '1 day' FROM unnest(array[89, 91]) d`, ada)
	w.exec(t, `INSERT INTO closures (id, account_id, erase_at, erased_at) VALUES (gen_random_uuid(), $1, now() - interval '9 years', now() - interval '9 years')`, ada)
	w.exec(t, `INSERT INTO username_history (account_id, old_username, new_username, changed_at, held_until) VALUES
		($1, NULL, 'first', now() - interval '401 days', NULL),
		($1, 'first', 'second', now() - interval '401 days', now() - interval '1 second'),
		($1, 'second', 'third', now() - interval '401 days', now() + interval '1 hour'),
		($1, 'third', 'fourth', now() - interval '399 days', now() - interval '1 day')`, ada)
	w.exec(t, `INSERT INTO devices (id, account_id, token_hash, device_id, expires_at, revoked_at) VALUES
		(gen_random_uuid(), $1, '\x01', 'gone', now(), now() - interval '91 days'),
		(gen_random_uuid(), $1, '\x02', 'over', now() - interval '91 days', NULL),
		(gen_random_uuid(), $1, '\x03', 'late', now() - interval '1 year', now() - interval '89 days'),
		(gen_random_uuid(), $1, '\x04', 'here', now() + interval '1 day', NULL)`, ada)
	w.exec(t, `INSERT INTO credit_holds (id, account_id, key, amount, used, expires_at, ended_at) SELECT gen_random_uuid(), $1, d::text, 1, 0, now(), now() - d * interval '1 day'
		FROM unnest(array[89, 91]) d`, ada)

	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))

	require.Equal(t, 2, w.count(t, "api_keys"))
	require.Equal(t, 2, w.count(t, "closures"), "what was erased is remembered")
	require.Equal(t, []string{"third", "fourth"}, one[[]string](t, w, `SELECT array_agg(new_username ORDER BY id) FROM username_history`))
	require.Equal(t, []string{"here", "late"}, one[[]string](t, w, `SELECT array_agg(device_id ORDER BY device_id) FROM devices`))
	require.Equal(t, 1, w.count(t, "credit_holds"))
}
