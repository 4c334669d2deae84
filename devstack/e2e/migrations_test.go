//go:build unix

package e2e_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// unfilled are the tables that no journey of TestMigrations_UpDownUpWithData writes to, and why.
var unfilled = map[string]string{
	"sandbox_faults":   "scripts of other tests",
	"billing_findings": "there is nothing amiss",
	"owed_notices":     "each is there for a moment only",
	"card_trials":      "no plan of theirs has a trial",
}

// takenBack are the tables that stay, of which a way down takes the rows that nobody could read there.
var takenBack = map[string]string{
	"email_changes":  "links of an email that take no other's place",
	"sessions":       "those that await a second step, and those of API keys",
	"refresh_tokens": "used ones, which would be good again",
	"login_history":  "outcomes that were not known",
	"subscriptions":  "states that were not known",
}

// Every migration is taken back and applied again in a database in which people have lived: first the newest alone, then the two
// newest, and so on (depths). The tables that stay keep their rows, and at the end of each way up the schema is that of a
// new database.
func TestMigrations_UpDownUpWithData(t *testing.T) {
	t.Parallel()
	s := startSystem(t, quickSends...)
	// Nobody listens there.
	s.stack.Command(t, nil, "webhooks", "add", "--url", "http://127.0.0.1:9/events", "--events", "account.created")
	journeys := map[string]func(*testing.T, *system){
		"sign up": signUpByCode, "register": registerAndOpenTheLink, "half way": registerAndEnterTheCode, "keys": keepAKey,
		"repeat": idempotencyKeys, "subscribe": subscribeAndSee, "declined": declinedThenAnotherMethod, "pause": pauseAndUnpause,
		"phone": proveAPhone, "outside": outsiders, "link": linkAndMove, "factor": enrolment, "device": listAndRevoke, "username": chooseUsername,
		"deactivate": deactivateAndReactivate, "settings": userSettings, "providers": dataProviders, "members": memberships,
		"push": pushTokens, "refresh": refreshes, "close": closeAndUndo, "move": moveByCode, "onboard": onboarding, "reset": resetPassword,
	}
	t.Run("journeys", func(t *testing.T) { playAll(t, s, journeys) })
	s.reconcile(t)
	s.api.Stop(t, stopPatience)
	s.worker.Stop(t, stopPatience)

	db, err := store.Open(store.Options{URL: s.stack.DatabaseURL, StatementTimeout: -1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	// As if each had been deployed on its own day.
	s.db.changeMany(t, `UPDATE bun_migrations SET group_id = id`)
	whole, rows := s.db.texts(t, columns), s.db.rows(t)
	var empty []string
	for table, n := range rows {
		if n == 0 && unfilled[table] == "" {
			empty = append(empty, table)
		}
	}
	require.Empty(t, empty, "no journey fills these: add one, or say why not in unfilled")
	steps := s.db.number(t, `SELECT count(*) FROM bun_migrations`)
	for _, depth := range depths(steps) {
		for range depth {
			require.NoError(t, db.Rollback(t.Context()))
		}
		kept := s.db.rows(t)
		for table, n := range kept {
			if takenBack[table] == "" {
				require.Equal(t, rows[table], n, "%s, %d migrations down", table, depth)
			}
		}
		applied, err := db.Migrate(t.Context())
		if err != nil {
			require.NoError(t, errors.Unwrap(account.AsError(err)), "%d migrations up again", depth)
		}
		require.Len(t, applied, depth)
		s.db.changeMany(t, `UPDATE bun_migrations SET group_id = id`)
		require.Equal(t, whole, s.db.texts(t, columns), "%d migrations up again", depth)
		rows = s.db.rows(t)
		for table, n := range kept {
			require.Equal(t, n, rows[table], "%s, %d migrations up again", table, depth)
		}
	}
}

// depths are how many migrations are taken back at once: from one to eight, since it is the newest that somebody goes back behind,
// then twice as many each time, and in the end all.
func depths(steps int) (out []int) {
	const each = 8
	for depth := 1; depth < steps; {
		out = append(out, depth)
		if depth < each {
			depth++
		} else {
			depth *= 2
		}
	}
	return append(out, steps)
}

func proveAPhone(t *testing.T, s *system) {
	email := newEmail()
	s.phoned(t, email, s.signUp(t, email))
}

// outsiders are rows of what needs somebody outside, or has no route yet.
func outsiders(t *testing.T, s *system) {
	email := newEmail()
	s.signUp(t, email)
	for _, row := range []string{
		`INSERT INTO linked_providers (account_id, provider, provider_account_id) SELECT id, 'google', id::text FROM accounts WHERE email = $1`,
		`INSERT INTO provider_links (id, account_id, starter, provider, state_hash, expires_at)
			SELECT gen_random_uuid(), id, gen_random_uuid(), 'github', '\x00', now() + interval '1 hour' FROM accounts WHERE email = $1`,
		`INSERT INTO credit_holds (id, account_id, key, amount, expires_at)
			SELECT gen_random_uuid(), id, 'held', 5, now() + interval '1 hour' FROM accounts WHERE email = $1`,
	} {
		s.db.change(t, row, email)
	}
}

func keepAKey(t *testing.T, s *system) {
	s.apiKey(t, s.signUp(t, newEmail()), "account:read")
}

// columns lists every column and constraint.
const columns = `SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
	FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'bun\_%'
	UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
	FROM pg_constraint WHERE contype <> 't' AND connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'bun\_%'
	UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'bun\_%' ORDER BY 1`

// rows counts the rows of every table.
func (d database) rows(t *testing.T) map[string]int {
	t.Helper()
	tables := d.texts(t, `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT LIKE 'bun\_%'`)
	counts := map[string]int{}
	for _, table := range slices.Sorted(slices.Values(tables)) {
		counts[table] = d.number(t, `SELECT count(*) FROM `+table)
	}
	return counts
}
