//go:build unix

package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// F-40: migrators are killed half-way again and again, then two run at once, then one runs once more. The schema is that of a
// database in which nothing went wrong, and an API starts on it.
func TestFault_F40_MigratorsKilled(t *testing.T) {
	t.Parallel()
	stacktest.Covers(t, "F-40")
	var p *proxy
	stack := stacktest.Start(t, stacktest.Options{Empty: true, Change: func(s *stacktest.Stack, env map[string]string) {
		p = startProxy(t, hostOf(t, s.DatabaseURL))
		env["DATABASE_URL"] = through(t, p, s.DatabaseURL)
	}})
	db := openDatabase(t, stack)
	const applied = `SELECT CASE WHEN to_regclass('bun_migrations') IS NULL THEN 0
		ELSE (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM bun_migrations', false, true, '')))[1]::text::int END`
	p.delay(2 * time.Millisecond) // slow enough to be caught at it
	killed := 0
	for done := 0; killed < 5; killed++ {
		migrator := stack.Launch(t, "migrate", nil)
		testkit.Eventually(t, patience, func() bool {
			select {
			case <-migrator.Done():
				return true
			default:
				return db.number(t, applied) > done
			}
		}, "a migration to be applied")
		migrator.Kill()
		if done = db.number(t, applied); migrator.Err() == nil {
			break
		}
	}
	require.Greater(t, killed, 2, "too quick to be killed half-way")
	p.pass()
	first, second := stack.Launch(t, "migrate", nil), stack.Launch(t, "migrate", nil)
	require.NoError(t, first.Err(), first.Output())
	require.NoError(t, second.Err(), second.Output())
	stack.Command(t, nil, "migrate")

	whole := stacktest.Start(t, stacktest.Options{})
	require.Equal(t, openDatabase(t, whole).texts(t, columns), db.texts(t, columns))
	stack.StartAPI(t, nil)
}
