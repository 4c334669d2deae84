package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// F-41: whatever might have ended after the moment that a database was put back to, ends, once, and the log says so.
func TestF41_EndRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me, other := w.withApp(t, ada), w.member(t, "eve@example.com")
	w.exec(t, `UPDATE totp_factors SET last_step = 100`)
	w.exec(t, `INSERT INTO devices (id, account_id, token_hash, device_id, expires_at)
		VALUES (gen_random_uuid(), $1, '\x01', 'phone', now() + interval '1 day')`, me.AccountID)
	w.exec(t, `INSERT INTO challenges (id, purpose, subject, channel, destination, send_by, code_expires_at)
		VALUES (gen_random_uuid(), 'signup', '\x02', 'email', 'x', now(), now() + interval '1 hour')`)
	key, err := w.CreateAPIKey(t.Context(), account.APIKey{ID: uuid.New(), AccountID: &me.AccountID, Name: "ci", Scopes: []account.Scope{account.ScopeRead}}, []byte("k"), 5)
	require.NoError(t, err)

	kept, err := w.EndRestored(t.Context(), true)
	require.NoError(t, err)
	require.EqualValues(t, 2, kept.Accounts)
	require.EqualValues(t, 2, kept.Sessions)
	require.EqualValues(t, 1, kept.Devices)
	require.Positive(t, kept.BackupCodes)
	require.Zero(t, kept.Keys)
	require.Positive(t, kept.Challenges)
	for _, session := range []uuid.UUID{me.ID, other.SessionID} {
		_, err := w.PrincipalBySession(t.Context(), session)
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	require.Zero(t, w.count(t, `backup_codes WHERE used_at IS NULL`))
	require.Zero(t, w.count(t, `challenges WHERE consumed_at IS NULL AND superseded_at IS NULL`))
	require.Zero(t, w.count(t, `devices WHERE revoked_at IS NULL`))
	_, err = w.ShowFactor(t.Context(), stepUse(me.AccountID, other.SessionID, time.Now().Unix()/30))
	require.ErrorIs(t, err, account.ErrInvalidCode, "a code of the app of before")

	all, err := w.EndRestored(t.Context(), false)
	require.NoError(t, err)
	require.EqualValues(t, 1, all.Keys)
	require.Equal(t, 1, w.count(t, `api_keys WHERE id = $1 AND revoked_at IS NOT NULL`, key.ID))
	again, err := w.EndRestored(t.Context(), false)
	require.NoError(t, err)
	require.Zero(t, again)
	require.Equal(t, 3, w.count(t, `audit_events WHERE details ->> 'reason' = 'restored'`))
	faults, err := w.AuditFaults(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, faults, 1, "but of what this test has put there")
	require.Contains(t, faults[0], "device trusted")
}
