//go:build unix

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/internal/secret"
)

const password = "bench-correct-horse"

// clients is who asks: what each of them shows.
type clients struct {
	tokens, keys, emails []string
	rows                 []uuid.UUID
}

// seedAccounts are as C06 and B01 leave accounts behind: profile, credits, settings, one session each.
const seedAccounts = `
	INSERT INTO accounts (id, email, email_verified_at, username, password_hash, password_changed_at, full_name, avatar_url,
			user_type)
		SELECT gen_random_uuid(), 'person' || i || '@bench.example', now(), 'person' || i, $2, now(), 'Person Number ' || i,
			'https://img.bench.example/' || i || '.png', 'personal'
		FROM generate_series(1, $1) AS i`

var seedRest = []string{
	`INSERT INTO credits (account_id, balance) SELECT id, 100 FROM accounts`,
	`INSERT INTO settings (account_id) SELECT id FROM accounts`,
	`INSERT INTO sessions (id, account_id, method, ip_address, user_agent, expires_at)
		SELECT gen_random_uuid(), id, 'password', '127.0.0.1', 'gatehouse-bench', now() + interval '30 days' FROM accounts`,
	// The columns that store/session.go reads, in one table.
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
	`CREATE TABLE limit_bare AS SELECT id, repeat('x', pg_column_size(r.*)) AS row FROM limit_rows r`,
	`ALTER TABLE limit_bare ADD PRIMARY KEY (id)`,
	`VACUUM (FREEZE, ANALYZE)`,
	`CHECKPOINT`,
}

// seed fills the database with so many accounts and returns the clients of a sample of them.
func (s *stack) seed(ctx context.Context, accounts, sample int) (clients, error) {
	keys, err := secret.NewKeys(s.secretKey)
	if err != nil {
		return clients{}, err
	}
	hasher, err := secret.NewHasher(keys, 1, 1, patience)
	if err != nil {
		return clients{}, err
	}
	hash, err := hasher.Hash(ctx, password)
	if err != nil {
		return clients{}, err
	}
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return clients{}, fmt.Errorf("connect to seed: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, seedAccounts, accounts, hash); err != nil {
		return clients{}, fmt.Errorf("seed accounts: %w", err)
	}
	apiKeys, err := seedKeys(ctx, conn, keys, sample)
	if err != nil {
		return clients{}, err
	}
	for _, sql := range seedRest {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return clients{}, fmt.Errorf("seed: %w\n%s", err, sql)
		}
	}
	c, err := s.sample(ctx, conn, sample)
	c.keys = apiKeys
	return c, err
}

// seedKeys gives a sample of accounts an API key each.
func seedKeys(ctx context.Context, conn *pgx.Conn, keys *secret.Keys, sample int) ([]string, error) {
	shown := make([]string, sample)
	hashes := make([][]byte, sample)
	for i := range shown {
		shown[i] = secret.NewToken(secret.APIKeyPrefix)
		hashes[i] = keys.TokenHash("api-key", shown[i])
	}
	_, err := conn.Exec(ctx, `
		INSERT INTO api_keys (id, account_id, name, key_hash, scopes)
		SELECT gen_random_uuid(), a.id, 'bench', h.hash, '{account:read}'
		FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM accounts) a
			JOIN unnest($1::bytea[]) WITH ORDINALITY AS h (hash, n) USING (n)`, hashes)
	if err != nil {
		return nil, fmt.Errorf("seed API keys: %w", err)
	}
	return shown, nil
}

func (s *stack) sample(ctx context.Context, conn *pgx.Conn, sample int) (clients, error) {
	tokens, err := secret.NewAccessTokens(s.signingKey, baseURL, clock)
	if err != nil {
		return clients{}, err
	}
	rows, err := conn.Query(ctx, `
		SELECT s.id, a.id, s.created_at, s.expires_at, a.email FROM sessions s JOIN accounts a ON a.id = s.account_id
		ORDER BY s.id LIMIT $1`, sample)
	if err != nil {
		return clients{}, fmt.Errorf("read a sample: %w", err)
	}
	var c clients
	var session, id uuid.UUID
	var issued, expires time.Time
	var email string
	_, err = pgx.ForEachRow(rows, []any{&session, &id, &issued, &expires, &email}, func() error {
		token, err := tokens.Sign(session, id, issued, expires)
		c.tokens, c.emails, c.rows = append(c.tokens, token), append(c.emails, email), append(c.rows, id)
		return err
	})
	if err != nil {
		return clients{}, fmt.Errorf("read a sample: %w", err)
	}
	return c, nil
}
