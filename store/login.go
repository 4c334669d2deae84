package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

// Credentials are what a login compares. PasswordHash is empty for an account without a password.
type Credentials struct {
	AccountID    uuid.UUID
	PasswordHash string
	// ChangedAt is when the password was set, nil without one. Renewing its hash does not count.
	ChangedAt *time.Time
}

// CredentialsOf returns the credentials of the usable account with this email or username. It returns account.ErrNotFound
// when there is none; a caller must not let the two cases differ in time.
func (s *Store) CredentialsOf(ctx context.Context, email, username string) (Credentials, error) {
	var c Credentials
	err := s.db.NewRaw(`
		SELECT a.id, coalesce(a.password_hash, ''), a.password_changed_at FROM accounts a
		WHERE (a.email = ? OR a.username = ?) AND `+accountUsable+` LIMIT 1`,
		email, nullable(username)).Scan(ctx, &c.AccountID, &c.PasswordHash, &c.ChangedAt)
	return c, translate(err)
}

// LoginDelay returns account.ErrTooManyRequests while a sign-in name has to wait after wrong passwords.
func (s *Store) LoginDelay(ctx context.Context, key []byte) error {
	var left float64
	err := s.db.NewRaw(`
		SELECT coalesce((SELECT extract(epoch FROM not_before - now()) FROM login_throttles WHERE key = ?), 0)::float8`, key).
		Scan(ctx, &left)
	if err != nil {
		return translate(err)
	}
	if left > 0 {
		return account.ErrTooManyRequests.After(time.Duration(left * float64(time.Second)))
	}
	return nil
}

// LoginFailed counts a wrong password of a sign-in name. From the free-th failure on the name waits, one second doubling
// to longest; a name that rested for a day begins anew.
func (s *Store) LoginFailed(ctx context.Context, key []byte, free int, longest time.Duration) error {
	_, err := s.db.NewRaw(`
		INSERT INTO login_throttles AS t (key, failures, not_before)
		VALUES (?0, 1, now() + CASE WHEN 1 >= ?1 THEN interval '1 second' ELSE interval '0' END)
		ON CONFLICT (key) DO UPDATE SET
			failures = CASE WHEN t.updated_at < now() - interval '1 day' THEN 1 ELSE t.failures + 1 END,
			not_before = CASE WHEN t.updated_at < now() - interval '1 day' OR t.failures + 1 < ?1 THEN now()
				ELSE now() + least(power(2, least(t.failures + 1 - ?1, 20)), ?2) * interval '1 second' END,
			updated_at = now()`, key, free, seconds(longest)).Exec(ctx)
	return translate(err)
}

// LoginSucceeded forgets the wrong passwords counted under keys.
func (s *Store) LoginSucceeded(ctx context.Context, keys [][]byte) error {
	_, err := s.db.NewRaw(`DELETE FROM login_throttles WHERE key IN (?)`, bun.List(keys)).Exec(ctx)
	return translate(err)
}

// StillCurrent reports whether an account may be used, and its password is the one that was set at changedAt. It waits for a change that is
// under way: asked after a session was made with the password, either it says no or the change ends the session.
func (s *Store) StillCurrent(ctx context.Context, c Credentials) (bool, error) {
	var current bool
	err := s.db.NewRaw(`
		SELECT a.password_hash IS NOT NULL AND a.password_changed_at IS NOT DISTINCT FROM ?::timestamptz FROM accounts a
		WHERE a.id = ? AND `+accountUsable+` FOR SHARE`, c.ChangedAt, c.AccountID).Scan(ctx, &current)
	err = translate(err)
	if errors.Is(err, account.ErrNotFound) {
		return false, nil
	}
	return current, err
}

// RenewPasswordHash replaces the hash of an account's password unless the password was changed meanwhile.
func (s *Store) RenewPasswordHash(ctx context.Context, accountID uuid.UUID, before, after string) error {
	_, err := s.db.NewRaw(`UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?`, after, accountID, before).Exec(ctx)
	return translate(err)
}
