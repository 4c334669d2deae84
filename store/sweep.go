package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// sweepBatch bounds one statement, so that a backlog is worked off instead of running into the statement timeout.
const sweepBatch = 1000

// expired names the rows that have lost their point.
var expired = []struct{ table, where string }{
	{"signup_attempts", `closed_at IS NULL AND expires_at < now() - interval '1 hour'`},
	{"signup_attempts", `closed_at < now() - interval '1 day' AND NOT EXISTS (
		SELECT 1 FROM accounts a WHERE a.id = signup_attempts.account_id AND a.email_verified_at IS NULL)`},
	{"challenges", `created_at < now() - interval '3 days' AND coalesce(link_expires_at, code_expires_at) < now() - interval '1 day'`},
	{"email_changes", `expires_at < now() - interval '2 days'`},
	// Which was lost first counts as long as a later one may still be mailed an undo. One that is the account's own again keeps its
	// place for good: it may be stolen once more.
	{"former_emails", `expires_at < now() - interval '90 days' AND NOT EXISTS (
		SELECT 1 FROM accounts a WHERE a.id = former_emails.account_id AND a.email = former_emails.email)`},
	{"idempotency_keys", `expires_at < now()`},
	{"quotas", `expires_at < now()`},
	{"rate_limits", `ends_at < now()`},
	{"phone_attempts", `created_at < now() - interval '1 day'`},
	{"push_tokens", `expires_at < now()`},
	{"budgets", `ends_at < now()`},
	{"guess_sources", `expires_at < now()`},
	{"credit_holds", `ended_at < now() - interval '90 days'`},
	{"api_keys", `revoked_at < now() - interval '90 days'`},
	{"closures", `undone_at < now() - interval '90 days'`},
	{"username_history", `changed_at < now() - interval '400 days' AND coalesce(held_until, changed_at) < now()`},
	{"login_throttles", `updated_at < now() - interval '2 days'`},
	{"sessions", `expires_at < now() - interval '90 days'`},
	{"devices", `coalesce(revoked_at, expires_at) < now() - interval '90 days'`},
	{"refresh_tokens", `expires_at < now() - interval '1 day'`},
	{"totp_factors", `expires_at < now() - interval '1 day'`},
	{"login_history", `created_at < now() - interval '90 days'`},
	{"provider_links", `expires_at < now() - interval '1 day'`},
	{"reconciliations", `started_at < now() - interval '400 days'`},
	{"messages", `created_at < now() - interval '90 days'`},
	{"webhook_events", `created_at < now() - interval '30 days'`},
	{"dev_inbox", `created_at < now() - interval '7 days'`},
}

// Sweep removes what has expired, a batch at a time, ends holds that nobody has ended, and has webhooks started whose flow is
// gone. It may run anywhere, any time, and twice at once.
// docs/scale.md has a line for each table: what removes its rows, or why they stay.
func (s *Store) Sweep(ctx context.Context, unverifiedTTL time.Duration) error {
	errs := []error{s.purgeOverdue(ctx, unverifiedTTL)}
	for _, e := range expired {
		errs = append(errs, s.sweep(ctx, e.table, e.where))
	}
	return errors.Join(append(errs, s.eraseOverdue(ctx), s.emptyClosures(ctx), s.releaseExpired(ctx), s.reviveWebhooks(ctx))...)
}

// leastSilence is how long after its time the next try of a message is overdue when nobody makes one any more: longer than an
// attempt takes, and what may pass until a busy worker begins it.
const leastSilence = 45 * time.Second

// EndAbandonedMessages marks messages that nobody tries to send any more as expired, a batch at a time: their flow has ended,
// because its code had reached its owner though the provider never said so, or because the time for it was over. Should a worker
// that was away still try, the message is queued again. It may run anywhere, any time, and twice at once.
func (s *Store) EndAbandonedMessages(ctx context.Context) error {
	// The condition once more outside: what was tried or sent while the statement waits for its row is left alone.
	const abandoned = `state = 'queued' AND greatest(next_retry_at, updated_at) < now() - ?0 * interval '1 second'`
	for {
		res, err := s.db.NewRaw(`
			UPDATE messages SET state = 'expired', last_error = concat_ws(': ', 'nobody waits for it any more', last_error),
				next_retry_at = NULL, updated_at = now()
			WHERE id IN (SELECT id FROM messages WHERE `+abandoned+` LIMIT ?1) AND `+abandoned, seconds(leastSilence), sweepBatch).Exec(ctx)
		if err != nil {
			return translate(err)
		}
		if n, err := res.RowsAffected(); err != nil || n < sweepBatch {
			return translate(err)
		}
	}
}

// undoneOrErased holds for a closure that names former addresses though nobody can undo it any more.
const undoneOrErased = `former_emails IS NOT NULL AND (undone_at IS NOT NULL OR erased_at IS NOT NULL)`

// emptyClosures forgets the addresses in closures that a build has ended which did not know of them: an older one, gone back to.
func (s *Store) emptyClosures(ctx context.Context) error {
	for {
		res, err := s.db.NewRaw(`UPDATE closures SET former_emails = NULL
			WHERE id IN (SELECT id FROM closures WHERE `+undoneOrErased+` LIMIT ?) AND `+undoneOrErased, sweepBatch).Exec(ctx)
		if err != nil {
			return translate(err)
		}
		if n, err := res.RowsAffected(); err != nil || n < sweepBatch {
			return translate(err)
		}
	}
}

// purgeOverdue deletes the unverified accounts that their flow should have purged a day ago.
func (s *Store) purgeOverdue(ctx context.Context, ttl time.Duration) error {
	var overdue []uuid.UUID
	err := s.db.NewRaw(`
		SELECT id FROM accounts WHERE email_verified_at IS NULL AND email IS NOT NULL AND deleted_at IS NULL
			AND created_at < now() - (? + 86400) * interval '1 second' LIMIT ?`, seconds(ttl), sweepBatch).Scan(ctx, &overdue)
	errs := []error{translate(err)}
	for _, id := range overdue {
		_, err := s.PurgeUnverified(ctx, id, ttl)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// swept is the statement that removes a batch of a table. The condition is asked of each row once more: one that was renewed
// since it was found is not gone, and not every Postgres finds by itself that its place holds another version. IS TRUE keeps the
// planner from an index for that.
func swept(table, where string) string {
	return fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %[1]s WHERE %[2]s LIMIT %[3]d)) AND (%[2]s) IS TRUE`,
		table, where, sweepBatch)
}

func (s *Store) sweep(ctx context.Context, table, where string) error {
	for {
		res, err := s.db.NewRaw(swept(table, where)).Exec(ctx)
		err = touched(res, err)
		if errors.Is(err, account.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n < sweepBatch {
			return translate(err)
		}
	}
}
