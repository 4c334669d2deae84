package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

func (w world) session(t *testing.T, accountID uuid.UUID) uuid.UUID {
	t.Helper()
	s, err := w.CreateSession(t.Context(), store.NewSession{
		ID: uuid.New(), AccountID: accountID, Method: "password", TTL: sessionTTL, RefreshHash: []byte(uuid.NewString()),
	})
	require.NoError(t, err)
	return s.ID
}

func (w world) storeKey(t *testing.T, k account.APIKey, hash []byte) error {
	t.Helper()
	_, err := w.CreateAPIKey(t.Context(), k, hash, 0)
	return err
}

func TestPrincipalOfANewMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "Ada Lovelace"
	signed := w.member(t, "ada@example.com", func(a *account.SignupAttempt) { a.Name = &name })

	p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, p.Account.ID)
	require.Equal(t, "ada@example.com", *p.Account.Email)
	require.True(t, p.Account.EmailVerified)
	require.True(t, p.Account.HasPassword)
	require.True(t, p.Account.Active)
	require.False(t, p.Account.Locked)
	require.Equal(t, []string{"user"}, p.Account.Roles)
	require.Equal(t, name, *p.Account.Profile.FullName)
	require.Nil(t, p.Account.Username)
	require.Equal(t, int64(100), p.Credits.Balance)
	require.True(t, p.Subscription.Plan.Free, "without a subscription the free plan shows (X16)")
	require.Equal(t, "active", p.Subscription.Status)
	require.Nil(t, p.Subscription.ID)
	require.Nil(t, p.Subscription.PeriodEnd)
	require.Equal(t, p.Account.CreatedAt, p.Subscription.PeriodStart)
	require.Equal(t, signed.SessionID, p.Session.ID)
	require.Equal(t, account.SessionActive, p.Session.State)
	require.Equal(t, sessionTTL, p.Session.ExpiresAt.Sub(p.Session.CreatedAt))
	require.Equal(t, time.UTC, p.Session.CreatedAt.Location())
	require.Nil(t, p.APIKey)
}

func TestJWT09_PrincipalIsReadAnewEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	w.exec(t, `UPDATE accounts SET roles = '{user,admin}'`)
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end)
		VALUES ('sub_1', $1, 'premium_monthly', 'active', now(), now() + interval '1 month')`, signed.AccountID)

	p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.True(t, p.Admin())
	require.Equal(t, "premium", p.Subscription.Plan.Code)
	require.Equal(t, int64(10000), p.Subscription.Plan.CreditsPerMonth)

	w.exec(t, `UPDATE subscriptions SET status = 'canceled'`)
	p, err = w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.True(t, p.Subscription.Plan.Free)
}

func TestSES05_EndedSessionsBelongToNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	key := []byte("key hash")
	require.NoError(t, w.storeKey(t, account.APIKey{
		ID: uuid.New(), AccountID: &signed.AccountID, Name: "k", Scopes: []account.Scope{account.ScopeRead},
	}, key))
	refused := func(t *testing.T, id uuid.UUID) {
		t.Helper()
		_, err := w.PrincipalBySession(t.Context(), id)
		require.ErrorIs(t, err, account.ErrNotFound)
	}

	refused(t, uuid.New())
	revoked := w.session(t, signed.AccountID)
	require.NoError(t, w.RevokeSession(t.Context(), signed.AccountID, revoked, "logout"))
	refused(t, revoked)
	require.ErrorIs(t, w.RevokeSession(t.Context(), signed.AccountID, revoked, "logout"), account.ErrNotFound)
	expired := w.session(t, signed.AccountID)
	w.exec(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, expired)
	refused(t, expired)

	for _, state := range []string{"is_active = false", "is_locked = true", "deleted_at = now()"} {
		w.exec(t, `UPDATE accounts SET `+state)
		refused(t, signed.SessionID)
		_, err := w.PrincipalByKey(t.Context(), key, false)
		require.ErrorIs(t, err, account.ErrNotFound, state)
		w.exec(t, `UPDATE accounts SET is_active = true, is_locked = false, deleted_at = NULL`)
	}
	_, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
}

func TestSES07_SessionsOfOthersAreUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")

	require.ErrorIs(t, w.RevokeSession(t.Context(), eve.AccountID, ada.SessionID, "logout"), account.ErrNotFound)
	_, err := w.PrincipalBySession(t.Context(), ada.SessionID)
	require.NoError(t, err)
}

func TestRevokeSessionRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	for range *rounds {
		id := w.session(t, signed.AccountID)
		errs := race(crowd, func(int) error {
			err := w.RevokeSession(t.Context(), signed.AccountID, id, "logout")
			if _, alive := w.PrincipalBySession(t.Context(), id); alive == nil {
				return fmt.Errorf("alive after a revocation was acknowledged (%w)", err)
			}
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound))
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	own := account.APIKey{
		ID: uuid.New(), AccountID: &signed.AccountID, Name: "mine", Scopes: []account.Scope{account.ScopeRead, account.ScopeWrite},
	}
	service := account.APIKey{ID: uuid.New(), Name: "backend", Service: true, Scopes: []account.Scope{account.ScopeRead}}
	require.NoError(t, w.storeKey(t, own, []byte("own")))
	require.NoError(t, w.storeKey(t, service, []byte("service")))

	p, err := w.PrincipalByKey(t.Context(), []byte("own"), false)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, p.Account.ID)
	require.Equal(t, int64(100), p.Credits.Balance)
	require.Nil(t, p.Session)
	require.Equal(t, own.Scopes, p.APIKey.Scopes)
	require.True(t, p.Can(account.ScopeWrite))
	require.False(t, p.Can(account.ScopeSecurity))

	p, err = w.PrincipalByKey(t.Context(), []byte("service"), true)
	require.NoError(t, err)
	require.True(t, p.APIKey.Service)
	require.Equal(t, uuid.Nil, p.Account.ID, "a service key belongs to nobody")

	_, err = w.PrincipalByKey(t.Context(), []byte("unknown"), false)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, `UPDATE api_keys SET revoked_at = now()`)
	for _, hash := range []string{"own", "service"} {
		_, err = w.PrincipalByKey(t.Context(), []byte(hash), hash == "service")
		require.ErrorIs(t, err, account.ErrNotFound, hash)
	}
	own.ID = uuid.New()
	require.Error(t, w.storeKey(t, own, []byte("own")), "a hash is there once")
	service.AccountID = &signed.AccountID
	require.Error(t, w.storeKey(t, service, []byte("mixed")), "a service key has no account")
}

func TestMeIsOneStatement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	k := w.key(t, signed.AccountID)
	_, err := w.useKey(t, k)
	require.NoError(t, err)
	for name, read := range map[string]func(s *store.Store) error{
		"session": func(s *store.Store) error {
			_, err := s.PrincipalBySession(t.Context(), signed.SessionID)
			return err
		},
		"key with its implicit session": func(s *store.Store) error {
			_, err := s.PrincipalByKey(t.Context(), []byte(k.ID.String()), false)
			return err
		},
		"list of sessions": func(s *store.Store) error {
			_, err := s.Sessions(t.Context(), signed.AccountID, signed.SessionID, 100)
			return err
		},
		"login history": func(s *store.Store) error {
			_, err := s.LoginHistory(t.Context(), signed.AccountID, 10)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireOneStatement(t, w, read)
		})
	}
}

func requireOneStatement(t *testing.T, w world, read func(s *store.Store) error) {
	t.Helper()
	wire, through := testkit.NewWire(t, w.url)
	s, err := store.Open(store.Options{URL: through, Pool: 2})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	// Both connections of the pool prepare it.
	for range 20 {
		require.Equal(t, 2, winners(t, race(2, func(int) error { return read(s) })))
	}

	const calls = 50
	parses, runs, turns, started := wire.Parses.Load(), wire.Runs.Load(), wire.Turns.Load(), time.Now()
	for range calls {
		require.NoError(t, read(s))
	}
	// The catalogue of plans may be read once a second.
	catalogue := 1 + float64(time.Since(started)/time.Second)
	require.GreaterOrEqual(t, wire.Runs.Load()-runs, int64(calls))
	require.InDelta(t, calls, wire.Runs.Load()-runs, catalogue, "one statement each")
	require.InDelta(t, calls, wire.Turns.Load()-turns, 2*catalogue, "one round trip each")
	require.LessOrEqual(t, wire.Parses.Load()-parses, 1+2*int64(catalogue), "prepared before")
}

func TestMeReadsIndexesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO accounts (id, email, email_verified_at) SELECT gen_random_uuid(), 'u' || n || '@example.com', now()
		FROM generate_series(1, 5000) n`)
	w.exec(t, `INSERT INTO credits (account_id) SELECT id FROM accounts`)
	w.exec(t, `INSERT INTO sessions (id, account_id, method, expires_at) SELECT gen_random_uuid(), id, 'password', now() + interval '1 day'
		FROM accounts`)
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end)
		SELECT 'sub_' || id, id, 'premium_monthly', 'active', now(), now() + interval '1 month' FROM accounts`)
	w.exec(t, `INSERT INTO api_keys (id, account_id, name, key_hash, scopes)
		SELECT gen_random_uuid(), id, 'key', decode(md5(id::text), 'hex'), '{account:read}' FROM accounts`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE`)
	require.NoError(t, err)
	id := one[uuid.UUID](t, w, `SELECT id FROM sessions LIMIT 1`)

	for _, query := range store.PrincipalQueries {
		args := make([]any, strings.Count(query, "$"))
		for i := range args {
			if args[i] = id; strings.Contains(query, "api_keys") {
				args[i] = id[:]
			}
		}
		text := one[string](t, w, `EXPLAIN (FORMAT JSON) `+query, args...)
		var plans []struct{ Plan planNode }
		require.NoError(t, json.Unmarshal([]byte(text), &plans))
		require.Len(t, plans, 1)
		seen := map[string]string{}
		plans[0].Plan.walk(func(n planNode) { seen[n.Relation] += n.Type })
		for _, table := range []string{"sessions", "accounts", "credits", "subscriptions", "api_keys"} {
			if strings.Contains(query, table+" ") {
				require.Contains(t, seen[table], "Index", "%s: %v", table, seen)
				require.NotContains(t, seen[table], "Seq Scan", table)
			}
		}
	}

	p, err := w.PrincipalBySession(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "premium", p.Subscription.Plan.Code)
}

type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Cond     string     `json:"Index Cond"`
	Plans    []planNode `json:"Plans"`
}

func (n planNode) walk(see func(planNode)) {
	see(n)
	for _, p := range n.Plans {
		p.walk(see)
	}
}
