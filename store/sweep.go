package store

import (
	"context"
	"errors"
	"time"
)

// Sweep removes what has expired: parked sign-ups, old challenges, idempotency keys, limits, dead sessions, and the
// unverified accounts that their flow should have purged a day ago. It may run anywhere, any time, and twice at once.
func (s *Store) Sweep(ctx context.Context, unverifiedTTL time.Duration) error {
	var errs []error
	_, err := s.db.NewRaw(`DELETE FROM accounts WHERE email_verified_at IS NULL AND primary_provider = 'email'
		AND created_at < now() - (? + 86400) * interval '1 second'`, seconds(unverifiedTTL)).Exec(ctx)
	errs = append(errs, translate(err))
	for _, statement := range []string{
		`DELETE FROM signup_attempts WHERE (closed_at IS NULL AND expires_at < now() - interval '1 hour')
			OR closed_at < now() - interval '1 day'`,
		`DELETE FROM challenges WHERE created_at < now() - interval '3 days'
			AND coalesce(link_expires_at, code_expires_at) < now() - interval '1 day'`,
		`DELETE FROM idempotency_keys WHERE expires_at < now()`,
		`DELETE FROM quotas WHERE expires_at < now()`,
		`DELETE FROM rate_limits WHERE ends_at < now()`,
		`DELETE FROM login_throttles WHERE updated_at < now() - interval '2 days'`,
		`DELETE FROM sessions WHERE expires_at < now() - interval '90 days'`,
		`DELETE FROM messages WHERE created_at < now() - interval '90 days'`,
		`DELETE FROM dev_inbox WHERE created_at < now() - interval '7 days'`,
	} {
		if _, err := s.db.NewRaw(statement).Exec(ctx); err != nil {
			errs = append(errs, translate(err))
		}
	}
	return errors.Join(errs...)
}
