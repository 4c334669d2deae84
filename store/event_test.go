package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
		_, err := w.CompleteSignup(flow, ch.ID, bonus, sessionTTL, "")
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

// requireAudited checks security.md I-12.
func (w world) requireAudited(t *testing.T) {
	t.Helper()
	faults, err := w.AuditFaults(t.Context(), 20)
	require.NoError(t, err)
	require.Empty(t, faults)
}

func TestI12_AuditFaultsFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]string{
		"sequence":         `WITH x AS (SELECT set_config('gatehouse.audit_retention', 'on', false)) SELECT 1 FROM x`,
		"password changed": `UPDATE accounts SET password_changed_at = now()`,
		"session ended":    `UPDATE sessions SET revoked_at = now()`,
		"key created":      `INSERT INTO api_keys (id, account_id, name, key_hash, scopes) SELECT gen_random_uuid(), id, 'x', 'x', '{}' FROM accounts`,
		"provider linked":  `INSERT INTO linked_providers (account_id, provider, provider_account_id) SELECT id, 'google', 'x' FROM accounts`,
		"device trusted": `INSERT INTO devices (id, account_id, token_hash, device_id, expires_at)
			SELECT gen_random_uuid(), id, 'x', 'x', now() FROM accounts`,
		"account created": `UPDATE accounts SET created_at = now()`,
		"deactivated":     `UPDATE accounts SET deactivated_at = now()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			me := w.member(t, ada)
			require.NoError(t, w.RevokeSession(t.Context(), me.AccountID, w.signIn(t, me.AccountID), "revoked"))
			w.requireAudited(t)

			conn, err := pgx.Connect(t.Context(), w.url)
			require.NoError(t, err)
			defer func() { _ = conn.Close(t.Context()) }()
			_, err = conn.Exec(t.Context(), breaks)
			require.NoError(t, err)
			if name == "sequence" {
				_, err = conn.Exec(t.Context(), `DELETE FROM audit_events WHERE sequence = 1 AND account_id = $1`, me.AccountID)
				require.NoError(t, err)
			}

			faults, err := w.AuditFaults(t.Context(), 20)
			require.NoError(t, err)
			require.NotEmpty(t, faults)
			require.Contains(t, strings.Join(faults, " "), me.AccountID.String()+": "+name)
		})
	}
}

// Two requests of one account may begin in the same microsecond.
func TestI12_AuditFaultsAllowsTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	for range 2 {
		_, err := w.sql.Exec(t.Context(), `INSERT INTO api_keys (id, account_id, name, key_hash, scopes, created_at)
			SELECT gen_random_uuid(), $1, 'x', gen_random_uuid()::text::bytea, '{}', '2030-01-01'`, me.AccountID)
		require.NoError(t, err)
		_, err = w.sql.Exec(t.Context(), `WITH head AS (UPDATE audit_heads SET last = last + 1 WHERE account_id = $1 RETURNING last)
			INSERT INTO audit_events (account_id, sequence, id, name, actor_kind, details, at)
			SELECT $1, last, gen_random_uuid(), 'api_key.created', 'account', '{}', '2030-01-01' FROM head`, me.AccountID)
		require.NoError(t, err)
	}
	w.requireAudited(t)
}

func TestAudit_AChangeWithoutItsEventCannotCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, ada)
	config := w.sql.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = "gatehouse-api"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	for _, statement := range []string{
		`UPDATE accounts SET password_changed_at = now()`, `UPDATE accounts SET email = 'x@example.com'`, `DELETE FROM accounts`,
		`UPDATE accounts SET two_factor_enabled = true`, `UPDATE accounts SET roles = '{admin}'`, `UPDATE sessions SET revoked_at = now()`,
		`INSERT INTO api_keys (id, name, key_hash, scopes, is_service) VALUES (gen_random_uuid(), 'x', 'x', '{}', true)`,
		`INSERT INTO linked_providers (account_id, provider, provider_account_id) SELECT id, 'google', 'x' FROM accounts`,
	} {
		_, err := conn.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "audit events", statement)
	}
}

func TestPruneEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, young := w.member(t, ada), w.member(t, "eve@example.com")
	for range 3 {
		require.NoError(t, w.RevokeSession(t.Context(), old.AccountID, w.signIn(t, old.AccountID), "revoked"))
	}
	// The two oldest of one account are too old; the newest looks older than the one before it, as a long transaction's may.
	_, err := w.sql.Exec(t.Context(), `ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only`)
	require.NoError(t, err)
	w.exec(t, `UPDATE audit_events SET at = now() - interval '500 days' WHERE account_id = $1 AND sequence <> 3`, old.AccountID)
	_, err = w.sql.Exec(t.Context(), `ALTER TABLE audit_events ENABLE TRIGGER audit_events_append_only`)
	require.NoError(t, err)
	w.exec(t, `UPDATE accounts SET created_at = now() - interval '500 days', email_verified_at = now() - interval '500 days',
		password_changed_at = now() - interval '500 days' WHERE id = $1`, old.AccountID)
	w.exec(t, `UPDATE sessions SET revoked_at = revoked_at - interval '500 days' WHERE account_id = $1 AND revoked_at IS NOT NULL`, old.AccountID)

	operator := account.WithActing(t.Context(), account.Acting{Kind: account.ActorOperator, ID: "ann"})
	n, err := w.PruneEvents(operator, time.Now().Add(-400*24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
	require.Len(t, w.events(t, old.AccountID), 2)
	require.Len(t, w.events(t, young.AccountID), 1)
	require.Equal(t, []string{"audit.began", "audit.pruned"}, w.events(t, uuid.Nil))
	require.Equal(t, "operator ann 2", one[string](t, w, `
		SELECT concat_ws(' ', actor_kind, actor_id, details ->> 'events') FROM audit_events WHERE name = 'audit.pruned'`))
	w.requireAudited(t)

	n, err = w.PruneEvents(operator, time.Now().Add(-400*24*time.Hour))
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = w.sql.Exec(t.Context(), `DELETE FROM audit_events`)
	require.Error(t, err, "what a retention run may do ends with its transaction")
	require.NoError(t, w.RevokeSession(t.Context(), old.AccountID, w.signIn(t, old.AccountID), "revoked"))
	require.Equal(t, 5, one[int](t, w, `SELECT max(sequence)::int FROM audit_events WHERE account_id = $1`, old.AccountID))
	w.requireAudited(t)
}

func TestEvents_ArePaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me, other := w.member(t, ada), w.member(t, "eve@example.com")
	ids := []uuid.UUID{w.signIn(t, me.AccountID), w.signIn(t, me.AccountID)}
	by := account.Acting{Kind: account.ActorSession, ID: me.SessionID.String(), Network: "192.0.2.0/24", RequestID: "r"}
	for _, id := range ids {
		require.NoError(t, w.RevokeSession(account.WithActing(t.Context(), by), me.AccountID, id, "revoked"))
	}

	first, more, err := w.Events(t.Context(), store.EventPage{AccountID: me.AccountID, Limit: 2})
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, []int64{3, 2}, []int64{first[0].Sequence, first[1].Sequence})
	require.Equal(t, account.EventSessionRevoked, first[0].Name)
	require.Equal(t, by, first[0].Acting)
	require.Equal(t, map[string]any{"session_id": ids[1].String(), "reason": "revoked"}, first[0].Details)
	rest, more, err := w.Events(t.Context(), store.EventPage{AccountID: me.AccountID, Before: first[1].Sequence, Limit: 2})
	require.NoError(t, err)
	require.False(t, more)
	require.Len(t, rest, 1)
	require.Equal(t, account.EventAccountCreated, rest[0].Name)

	found, err := w.AuditedAccounts(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{me.AccountID}, found)
	found, err = w.AuditedAccounts(t.Context(), other.AccountID.String())
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{other.AccountID}, found)
}
