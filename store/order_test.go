package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// Whoever spends a code takes hold of the account's codes before its keys and sessions. So does whoever ends a key or, by the last
// wrong password, a session, and with it the codes of a pending change: the other way round the two would wait for each other.
func TestCodesBeforeKeysAndSessions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		table string
		end   func(w world, me store.Signed, key uuid.UUID) error
	}{
		"the end of a key": {"api_keys", func(w world, _ store.Signed, key uuid.UUID) error {
			_, err := w.RevokeKey(t.Context(), key)
			return err
		}},
		"the last guess": {"sessions", func(w world, me store.Signed, _ uuid.UUID) error {
			_, err := w.PasswordGuessed(t.Context(), me.SessionID, 1, 1)
			return err
		}},
	} {
		w := newWorld(t)
		me := w.member(t, ada)
		key := w.key(t, me.AccountID).ID
		change := w.moving(t, me.AccountID, "next@example.com")
		spending, err := w.sql.Begin(t.Context())
		require.NoError(t, err)
		_, err = spending.Exec(t.Context(), `SELECT 1 FROM challenges WHERE id = $1 FOR UPDATE`, change.ID)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- c.end(w, me, key) }()
		testkit.Eventually(t, 10*time.Second, func() bool {
			return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		}, "it to wait for the code")
		_, err = spending.Exec(t.Context(), `SELECT 1 FROM `+c.table+` WHERE account_id = $1 FOR UPDATE NOWAIT`, me.AccountID)
		require.NoError(t, err, "%s holds what comes after the codes", name)
		require.NoError(t, spending.Commit(t.Context()))
		require.NoError(t, <-ended, name)
		require.Equal(t, 1, w.count(t, `challenges WHERE id = $1 AND superseded_at IS NOT NULL`, change.ID), name)
	}
}
