package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

// Credentials are what a login compares. PasswordHash is empty for an account without a password that opens it.
type Credentials struct {
	AccountID    uuid.UUID
	PasswordHash string
	// ChangedAt is when the password was set, nil without one. Renewing its hash does not count.
	ChangedAt *time.Time
	// Proven is account.Account.Proven.
	Proven bool
}

// passwordOpens holds for an account whose password signs in: one whose address was taken away has no way back but the others that
// it was left, whether it has a username or not (contract D25).
const passwordOpens = `a.password_hash IS NOT NULL AND a.email IS NOT NULL`

// CredentialsOf returns the credentials of the usable account with this email or username. It returns account.ErrNotFound
// when there is none; a caller must not let the two cases differ in time.
func (s *Store) CredentialsOf(ctx context.Context, email, username string) (Credentials, error) {
	var c Credentials
	err := s.only(ctx, `
		SELECT a.id, CASE WHEN `+passwordOpens+` THEN a.password_hash ELSE '' END, a.password_changed_at,
			a.email IS NULL OR a.email_verified_at IS NOT NULL FROM accounts a
		WHERE (a.email = $1 OR a.username = $2) AND `+accountUsable+` LIMIT 1`,
		[]any{email, nullable(username)}, &c.AccountID, &c.PasswordHash, &c.ChangedAt, &c.Proven)
	return c, err
}

// LoginDelays returns how long each of keys still has to wait after wrong passwords, zero or less for one that need not.
func (s *Store) LoginDelays(ctx context.Context, keys ...[]byte) ([]time.Duration, error) {
	var left []float64
	err := s.only(ctx, `
		SELECT array_agg(coalesce(extract(epoch FROM t.not_before - now()), 0)::float8 ORDER BY k.nth)
		FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, nth) LEFT JOIN login_throttles t USING (key)`, []any{keys}, &left)
	if err != nil {
		return nil, err
	}
	waits := make([]time.Duration, len(left))
	for i, of := range left {
		waits[i] = time.Duration(of * float64(time.Second))
	}
	return waits, nil
}

// LoginFailure is a login that was refused.
type LoginFailure struct {
	// Keys count it. From the Free-th failure on a key waits, one second doubling to Longest; a key that rested for a day begins anew.
	Keys    [][]byte
	Free    int
	Longest time.Duration
	// Record is its entry in the history of the account; there is none without an account.
	Record account.LoginRecord
}

// LoginFailed counts a wrong password and notes it, in one statement: whether there is an account to note it for must not be
// told by the time that it takes (security.md ENU-01). Keys are locked in their order, so that no two wait for each other.
func (s *Store) LoginFailed(ctx context.Context, f LoginFailure) error {
	_, err := s.db.NewRaw(`
		WITH noted AS (`+noteRefusal+`)
		INSERT INTO login_throttles AS t (key, failures, not_before)
		SELECT key, 1, now() + CASE WHEN 1 >= ?5 THEN interval '1 second' ELSE interval '0' END
		FROM unnest(?7::bytea[]) AS k(key) ORDER BY key
		ON CONFLICT (key) DO UPDATE SET
			failures = CASE WHEN t.updated_at < now() - interval '1 day' THEN 1 ELSE t.failures + 1 END,
			not_before = CASE WHEN t.updated_at < now() - interval '1 day' OR t.failures + 1 < ?5 THEN now()
				ELSE now() + least(power(2, least(t.failures + 1 - ?5, 20)), ?6) * interval '1 second' END,
			updated_at = now()`, append(refusal(f.Record), f.Free, seconds(f.Longest), pgdialect.Array(f.Keys))...).Exec(ctx)
	return translate(err)
}

// LoginSucceeded forgets the wrong passwords counted under keys. It locks them in the order of LoginFailed.
func (s *Store) LoginSucceeded(ctx context.Context, keys [][]byte) error {
	_, err := s.db.NewRaw(`
		DELETE FROM login_throttles WHERE key IN (SELECT key FROM login_throttles WHERE key IN (?) ORDER BY key FOR UPDATE)`, bun.List(keys)).Exec(ctx)
	return translate(err)
}

// Forgive has wrong passwords counted under throttles, and hits of quotas, not count any more. It locks both in the order in which
// they are counted.
func (s *Store) Forgive(ctx context.Context, throttles, quotas [][]byte) error {
	return s.atOnce(ctx,
		&step{args: []any{throttles}, query: `
			DELETE FROM login_throttles
			WHERE key IN (SELECT key FROM login_throttles WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE)`},
		&step{args: []any{quotas}, query: `
			DELETE FROM quotas WHERE key IN (SELECT key FROM quotas WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE)`})
}

// RenewPasswordHash replaces the hash of an account's password unless the password was changed meanwhile.
func (s *Store) RenewPasswordHash(ctx context.Context, accountID uuid.UUID, before, after string) error {
	_, err := s.db.NewRaw(`UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?`, after, accountID, before).Exec(ctx)
	return translate(err)
}
