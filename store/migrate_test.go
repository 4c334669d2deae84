package store_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
	"gatehouse/store"
)

func noMigration(context.Context, string) error { return nil }

// emptyWorld is a world without a schema.
func emptyWorld(t *testing.T) world {
	t.Helper()
	return openWorld(t, testkit.NewDatabase(t, noMigration, "store: empty"))
}

// schema describes every column, constraint, index and extension outside the migrator's own tables.
func schema(t *testing.T, w world) []string {
	t.Helper()
	return one[[]string](t, w, `
		SELECT coalesce(array_agg(line ORDER BY line), '{}') FROM (
			SELECT 'column ' || table_name || '.' || column_name || ' ' || ordinal_position || ' ' || data_type || ' '
				|| is_nullable || ' ' || coalesce(column_default, '') AS line
			FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'bun\_%'
			UNION ALL
			SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
			FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'bun\_%'
			UNION ALL
			SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'bun\_%'
			UNION ALL
			SELECT 'table ' || relname || ' ' || relkind::text || ' ' || relpersistence::text
			FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'bun\_%'
			UNION ALL
			SELECT 'routine ' || proname || ' ' || md5(prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		) AS lines`)
}

func TestMigrationsGoUpDownAndUpAgain(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	empty := schema(t, w)

	applied, err := w.Migrate(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, applied)
	full, plans := schema(t, w), w.count(t, "plans")
	require.Greater(t, len(full), len(empty)+100)

	again, err := w.Migrate(t.Context())
	require.NoError(t, err)
	require.Empty(t, again, "a second run has nothing to do")

	require.NoError(t, w.Rollback(t.Context()))
	require.Equal(t, empty, schema(t, w), "going down leaves nothing behind")

	reapplied, err := w.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, applied, reapplied)
	require.Equal(t, full, schema(t, w))
	require.Equal(t, plans, w.count(t, "plans"))
}

func TestEveryMigrationGoesDownAlone(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	all, err := w.Migrate(t.Context())
	require.NoError(t, err)
	full := schema(t, w)
	// As if each had been deployed on its own day.
	w.exec(t, `UPDATE bun_migrations SET group_id = id`)

	for range all {
		before := schema(t, w)
		require.NoError(t, w.Rollback(t.Context()))
		require.NotEqual(t, before, schema(t, w))
	}
	_, err = w.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, full, schema(t, w))
}

func TestFailingMigrationStaysUnapplied(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	// In the way of the last statement of a file, so that all before it has to be rolled back.
	_, err := w.sql.Exec(t.Context(), `CREATE TABLE rate_limits (in_the_way int)`)
	require.NoError(t, err)

	applied, err := w.Migrate(t.Context())
	require.ErrorContains(t, err, "rate_limits")
	require.NotEmpty(t, applied, "those before the failing one are in")
	for _, name := range applied {
		require.NotContains(t, name, "messages", "the failing one is not")
	}
	require.Nil(t, one[*string](t, w, `SELECT to_regclass('messages')::text`), "nothing of the failing file remains")
	require.NotNil(t, one[*string](t, w, `SELECT to_regclass('challenges')::text`))
	require.Equal(t, len(applied), w.count(t, "bun_migrations"))

	_, err = w.sql.Exec(t.Context(), `DROP TABLE rate_limits`)
	require.NoError(t, err)
	rest, err := w.Migrate(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, rest)
	require.Contains(t, rest[0], "messages")
}

// A migrator dies after a file and before it is written down that it was applied: then the file was not applied.
func TestF40_MigrationAndItsMarkAreOne(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	_, err := w.Migrate(t.Context())
	require.NoError(t, err)
	full := schema(t, w)
	require.NoError(t, w.Rollback(t.Context()))
	require.Zero(t, w.count(t, "bun_migrations"), "and taking them back is one with its mark, too")
	_, err = w.sql.Exec(t.Context(), `CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'died'; END $$`)
	require.NoError(t, err)
	_, err = w.sql.Exec(t.Context(), `CREATE TRIGGER die BEFORE INSERT ON bun_migrations FOR EACH ROW WHEN (NEW.name = '20261122000003') EXECUTE FUNCTION die()`)
	require.NoError(t, err)
	_, err = w.Migrate(t.Context())
	require.ErrorContains(t, err, "died")
	require.Zero(t, w.count(t, "information_schema.columns WHERE column_name = 'failed_guesses'"))

	_, err = w.sql.Exec(t.Context(), `DROP FUNCTION die() CASCADE`)
	require.NoError(t, err)
	_, err = w.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, full, schema(t, w))
}

func TestTwoMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	stores := []*store.Store{openStore(t, w.url), openStore(t, w.url), openStore(t, w.url), openStore(t, w.url)}
	applied := make([][]string, len(stores))

	errs := race(len(stores), func(i int) (err error) {
		applied[i], err = stores[i].Migrate(t.Context())
		return err
	})

	require.Equal(t, len(stores), winners(t, errs))
	worked := 0
	for _, names := range applied {
		worked += min(len(names), 1)
	}
	require.Equal(t, 1, worked, "one did all the work, the others found it done")
	require.Equal(t, w.count(t, "bun_migrations"), w.count(t, "(SELECT DISTINCT name FROM bun_migrations) x"))
}

func TestOneStoreMigratesTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	small, err := store.Open(store.Options{URL: w.url, Pool: 2, StatementTimeout: -1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = small.Close() })

	errs := race(4, func(int) error {
		_, err := small.Migrate(t.Context())
		return err
	})

	require.Equal(t, 4, winners(t, errs), "waiting for the lock must not hold the connections that the holder needs")
}

// A migration that waits for a table lets others pass, and comes back.
func TestMigrateDoesNotHoldUpTraffic(t *testing.T) {
	t.Parallel()
	const altersAccounts = "20261123000402"
	w := emptyWorld(t)
	all, err := w.Migrate(t.Context())
	require.NoError(t, err)
	w.exec(t, `UPDATE bun_migrations SET group_id = id`)
	for w.count(t, `bun_migrations WHERE name >= '`+altersAccounts+`'`) > 0 {
		require.NoError(t, w.Rollback(t.Context()))
	}
	missing, err := w.MissingMigrations(t.Context())
	require.NoError(t, err)
	polite, err := store.Open(store.Options{URL: w.url, StatementTimeout: -1, LockTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = polite.Close() })

	slow, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = slow.Exec(t.Context(), `SELECT count(*) FROM accounts`)
	require.NoError(t, err)
	var applied []string
	done := make(chan error, 1)
	go func() {
		var err error
		applied, err = polite.Migrate(t.Context())
		done <- err
	}()
	const waits = `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'`
	for range 3 {
		require.Eventually(t, func() bool { return w.count(t, waits) == 1 }, 10*time.Second, time.Millisecond, "it waits for its lock")
		require.Eventually(t, func() bool { return w.count(t, waits) == 0 }, 10*time.Second, time.Millisecond, "and gives way")
		w.count(t, "accounts")
	}
	require.NoError(t, slow.Rollback(t.Context()))
	require.NoError(t, <-done)
	require.Equal(t, missing, applied)
	require.Equal(t, all[len(all)-len(applied):], applied)
}

func TestMissingMigrations(t *testing.T) {
	t.Parallel()
	w := emptyWorld(t)
	missing, err := w.MissingMigrations(t.Context())
	require.NoError(t, err)
	applied, err := w.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, applied, missing, "a database that was never migrated lacks all")

	missing, err = w.MissingMigrations(t.Context())
	require.NoError(t, err)
	require.Empty(t, missing)
	w.exec(t, `INSERT INTO bun_migrations (name, group_id, migrated_at) VALUES ('29990101000000', 99, now())`)
	missing, err = w.MissingMigrations(t.Context())
	require.NoError(t, err)
	require.Empty(t, missing, "what a newer build has added does not count")

	newest := applied[len(applied)-1]
	w.exec(t, `DELETE FROM bun_migrations WHERE name = $1`, strings.SplitN(newest, "_", 2)[0])
	missing, err = w.MissingMigrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{newest}, missing)
}

// taking matches what a build that still runs may need: see "The schema" in docs/operations.md.
var taking = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|VIEW|TYPE|FUNCTION)|RENAME|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE|` +
	`ADD\s+COLUMN\s+(IF\s+NOT\s+EXISTS\s+)?[^,;]*\bNOT\s+NULL\b)`)

// givesDefault matches the one kind of column that must be given and that a build which does not know it can leave out.
var givesDefault = regexp.MustCompile(`(?i)\bDEFAULT\b|\bGENERATED\b`)

// takes returns what a migration's way up takes from a build that runs beside it, unless its text has a line "-- contract:" that
// says since when nobody needs it.
func takes(text string) []string {
	if regexp.MustCompile(`(?m)^-- contract: \S`).MatchString(text) {
		return nil
	}
	text = regexp.MustCompile(`(?m)--.*$`).ReplaceAllString(text, "")
	var found []string
	for statement := range strings.SplitSeq(text, ",") {
		for _, one := range taking.FindAllString(statement, -1) {
			if !strings.HasPrefix(strings.ToUpper(one), "ADD") || !givesDefault.MatchString(statement) {
				found = append(found, one)
			}
		}
	}
	return found
}

// Old processes run on the new schema: a migration adds, and takes away only what no build in use needs any more.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	// The first schema that was deployed anywhere has all before it.
	const since = "20261124"
	files, err := filepath.Glob("migrations/*.up.sql")
	require.NoError(t, err)
	read := 0
	for _, file := range files {
		if filepath.Base(file) < since {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Empty(t, takes(string(text)), "%s: see \"The schema\" in docs/operations.md", file)
		read++
	}
	require.Positive(t, read)

	for text, want := range map[string]int{
		"ALTER TABLE a DROP COLUMN b":                                          1,
		"drop table a;":                                                        1,
		"ALTER TABLE a RENAME b TO c":                                          1,
		"ALTER TABLE a ALTER COLUMN b SET NOT NULL":                            1,
		"ALTER TABLE a ALTER COLUMN b TYPE bigint":                             1,
		"ALTER TABLE a ADD COLUMN b text NOT NULL":                             1,
		"ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT ''":                  0,
		"ALTER TABLE a ADD COLUMN b text, ADD COLUMN c int NOT NULL DEFAULT 0": 0,
		"CREATE TABLE a (b text NOT NULL)":                                     0,
		"-- DROP TABLE a":                                                      0,
		"-- contract: unused since v7\nDROP TABLE a":                           0,
	} {
		require.Len(t, takes(text), want, text)
	}
}

func TestMigrationsAreNamedInOrder(t *testing.T) {
	t.Parallel()
	migrations, err := store.Migrations()
	require.NoError(t, err)
	last := ""
	for _, m := range migrations.Sorted() {
		require.Greater(t, m.Name, last)
		require.NotNil(t, m.Up, m.Name)
		require.NotNil(t, m.Down, m.Name)
		last = m.Name
	}
	require.Len(t, store.MigrationFingerprint(), 16)
	require.Empty(t, strings.Trim(store.MigrationFingerprint(), "0123456789abcdef"))
}
