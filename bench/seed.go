//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/secret"
)

const password = "bench-correct-horse"

// person is an account that takes part.
type person struct {
	account, session     uuid.UUID
	token, email, handle string
}

// clients is who asks, each group for something that leaves the others as they are.
type clients struct {
	readers, changers, signers, payers, refreshers []person
	// apiKeys are those of readers, refresh tokens those of refreshers.
	apiKeys, refresh []string
}

// The sizes of the groups, smaller where there are fewer accounts.
const (
	mostReaders, mostChangers, mostSigners, mostPayers = 4096, 12000, 12000, 6000
	refreshers                                         = many
)

// seedAccounts are as C06 and B01 leave accounts behind: profile, credits, settings, one session each. Names are drawn from 40
// first and 50 last ones, so that many people share each.
const seedAccounts = `
	INSERT INTO accounts (id, email, email_verified_at, username, password_hash, password_changed_at, full_name, avatar_url,
			user_type, onboarding_done)
		SELECT gen_random_uuid(), first || '.' || last || i || '@bench.example', now() - interval '10 days', first || '.' || last || i, $2,
			now() - interval '10 days', initcap(first) || ' ' || initcap(last), 'https://img.bench.example/' || i || '.png', 'personal', true
		FROM (SELECT i, (string_to_array('anna ben clara david emma felix greta hugo ida jonas karla leo mia noah olga paul rosa simon tina ` +
	`umar vera walter xenia yusuf zoe amir bea carl dora erik fritz gina hanna igor jana kai lena max nora otto', ' '))[1 + i % 40] AS first,
			(string_to_array('abel bauer christ decker engel fischer gross huber iversen jung keller lang maier neumann ott peters quast ` +
	`richter schmidt thomas ulrich vogel weber xander young zimmer adler brandt conrad dietz ebert frank graf haas ihle jansen koch lorenz ` +
	`moser nagel oster pohl reuter sauer thiel unger voss wolf yilmaz zander', ' '))[1 + i / 40 % 50] AS last
			FROM generate_series(1, $1) AS i) AS drawn`

var seedRest = []string{
	`INSERT INTO credits (account_id, balance) SELECT id, 100 FROM accounts`,
	`INSERT INTO settings (account_id) SELECT id FROM accounts`,
	`INSERT INTO sessions (id, account_id, method, ip_address, user_agent, expires_at)
		SELECT gen_random_uuid(), id, 'password', '127.0.0.1', 'gatehouse-bench', now() + interval '30 days' FROM accounts`,
	// Each session has its unused token. Where the table is nearly empty, Postgres plans to read all of it.
	`INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
		SELECT sha256(id::text::bytea), id, now() + interval '14 days' FROM sessions`,
}

// limitTables are the columns that store/session.go reads, in one table: with what /me shows, and without credits and plan.
var limitTables = []string{
	`CREATE TABLE limit_rows AS
		SELECT a.id, s.id AS session_id, s.state, s.created_at AS signed_in_at, s.last_active_at, s.auth_time, s.expires_at,
			a.id AS account_id, a.email, true AS email_verified, a.username, true AS has_password, a.is_active, a.is_locked,
			a.roles, a.primary_provider, a.two_factor_enabled, a.phone_number, a.country_code, false AS phone_verified,
			a.full_name, a.avatar_url, a.user_type, a.audio_usage, a.referral_source, a.onboarding_done,
			a.created_at, a.updated_at, c.balance, c.payg_balance, c.last_reset_at, c.next_reset_at, c.total_used,
			c.total_purchased, c.discount_eligible, c.discount_active, NULL AS subscription, 'active' AS status, a.created_at AS period_start,
			NULL::timestamptz AS period_end, NULL::timestamptz AS cancel_at,
			p.id AS plan_id, p.code, p.name, p.is_free, p.credits_per_month
		FROM accounts a JOIN credits c ON c.account_id = a.id JOIN sessions s ON s.account_id = a.id
			JOIN plans p ON p.is_free`,
	`ALTER TABLE limit_rows ADD PRIMARY KEY (id)`,
	`CREATE TABLE limit_slim AS
		SELECT id, session_id, state, signed_in_at, last_active_at, auth_time, expires_at, account_id, email, email_verified, username,
			has_password, is_active, is_locked, roles, primary_provider, two_factor_enabled, phone_number, country_code, phone_verified,
			full_name, avatar_url, user_type, audio_usage, referral_source, onboarding_done, created_at, updated_at FROM limit_rows`,
	`ALTER TABLE limit_slim ADD PRIMARY KEY (id)`,
	`CREATE TABLE limit_bare AS SELECT id, repeat('x', pg_column_size(r.*)) AS row FROM limit_rows r`,
	`ALTER TABLE limit_bare ADD PRIMARY KEY (id)`,
	`CREATE TABLE limit_commits AS SELECT i AS id, 0 AS n FROM generate_series(1, 10000) AS i`,
	`ALTER TABLE limit_commits ADD PRIMARY KEY (id)`,
}

var seedEnd = []string{`VACUUM (FREEZE, ANALYZE)`, `CHECKPOINT`}

// seed fills a database with so many accounts and returns those who take part.
func (s *stack) seed(ctx context.Context, name string, accounts int, limits bool) (clients, error) {
	keys, err := secret.NewKeys(s.secretKey)
	if err != nil {
		return clients{}, err
	}
	hash, err := secret.NewHasher(keys, 1, 1, patience).Hash(ctx, password)
	if err != nil {
		return clients{}, err
	}
	conn, err := pgx.Connect(ctx, s.cluster.URL(name))
	if err != nil {
		return clients{}, fmt.Errorf("connect to seed: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := fill(ctx, conn, accounts, hash, limits); err != nil {
		return clients{}, err
	}
	c, err := s.cast(ctx, conn, accounts)
	if err != nil {
		return clients{}, err
	}
	if err := c.equip(ctx, conn, keys); err != nil {
		return clients{}, err
	}
	return c, execAll(ctx, conn, seedEnd)
}

// fill inserts without what costs most for many rows: triggers, and the upkeep of indexes.
func fill(ctx context.Context, conn *pgx.Conn, accounts int, hash string, limits bool) error {
	if err := execAll(ctx, conn, []string{
		`SET session_replication_role = replica`, `SET synchronous_commit = off`, `SET maintenance_work_mem = '1GB'`, `SET work_mem = '256MB'`,
	}); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT indexname, indexdef FROM pg_indexes i WHERE schemaname = 'public'
		AND tablename IN ('accounts', 'sessions') AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)`)
	if err != nil {
		return fmt.Errorf("read the indexes: %w", err)
	}
	var drop, create []string
	var name, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		drop, create = append(drop, "DROP INDEX "+name), append(create, definition)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the indexes: %w", err)
	}
	if err := execAll(ctx, conn, drop); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, seedAccounts, accounts, hash); err != nil {
		return fmt.Errorf("seed accounts: %w", err)
	}
	statements := append(slices.Clone(seedRest), create...)
	if limits {
		statements = append(statements, limitTables...)
	}
	return execAll(ctx, conn, statements)
}

func execAll(ctx context.Context, conn *pgx.Conn, statements []string) error {
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("seed: %w\n%s", err, sql)
		}
	}
	return nil
}

// cast picks who takes part.
func (s *stack) cast(ctx context.Context, conn *pgx.Conn, accounts int) (clients, error) {
	tokens, err := secret.NewAccessTokens(s.signingKey, baseURL, clock)
	if err != nil {
		return clients{}, err
	}
	rows, err := conn.Query(ctx, `
		SELECT s.id, a.id, s.created_at, s.expires_at, a.email, a.username FROM sessions s JOIN accounts a ON a.id = s.account_id
		ORDER BY s.id LIMIT $1`, mostReaders+mostChangers+mostSigners+mostPayers+refreshers)
	if err != nil {
		return clients{}, fmt.Errorf("read a sample: %w", err)
	}
	var all []person
	var p person
	var issued, expires time.Time
	_, err = pgx.ForEachRow(rows, []any{&p.session, &p.account, &issued, &expires, &p.email, &p.handle}, func() (err error) {
		p.token, err = tokens.Sign(p.session, p.account, issued, expires)
		all = append(all, p)
		return err
	})
	if err != nil {
		return clients{}, fmt.Errorf("read a sample: %w", err)
	}
	var c clients
	take := func(most int) []person {
		n := min(most, most*accounts/(mostReaders+mostChangers+mostSigners+mostPayers+refreshers), len(all))
		out := all[:n:n]
		all = all[n:]
		return out
	}
	c.refreshers, all = all[:refreshers:refreshers], all[refreshers:]
	c.readers, c.changers, c.signers, c.payers = take(mostReaders), take(mostChangers), take(mostSigners), take(mostPayers)
	return c, nil
}

// equip gives readers an API key and more sessions, and refreshers a refresh token.
func (c *clients) equip(ctx context.Context, conn *pgx.Conn, keys *secret.Keys) error {
	ids, hashes := make([]uuid.UUID, len(c.readers)), make([][]byte, len(c.readers))
	for i, p := range c.readers {
		key := secret.NewToken(secret.APIKeyPrefix)
		c.apiKeys, ids[i], hashes[i] = append(c.apiKeys, key), p.account, keys.TokenHash("api-key", key)
	}
	_, err := conn.Exec(ctx, `INSERT INTO api_keys (id, account_id, name, key_hash, scopes)
		SELECT gen_random_uuid(), id, 'bench', hash, '{account:read}' FROM unnest($1::uuid[], $2::bytea[]) AS k (id, hash)`, ids, hashes)
	if err != nil {
		return fmt.Errorf("seed API keys: %w", err)
	}
	_, err = conn.Exec(ctx, `INSERT INTO sessions (id, account_id, method, ip_address, user_agent, expires_at)
		SELECT gen_random_uuid(), id, 'password', '127.0.0.1', 'gatehouse-bench', now() + interval '30 days'
		FROM unnest($1::uuid[]) AS k (id), generate_series(1, 2)`, ids)
	if err != nil {
		return fmt.Errorf("seed sessions: %w", err)
	}
	for _, p := range c.refreshers {
		token := secret.NewToken(secret.RefreshTokenPrefix)
		c.refresh = append(c.refresh, token)
		_, err := conn.Exec(ctx, `UPDATE refresh_tokens SET token_hash = $1 WHERE session_id = $2`,
			keys.RefreshHash(token), p.session)
		if err != nil {
			return fmt.Errorf("seed refresh tokens: %w", err)
		}
	}
	return nil
}
