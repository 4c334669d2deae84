package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/account"
)

// backlogs are the kinds of work that wait in a table, and since when each piece does. An index leads to each, and at most
// account.BacklogCounted rows of each are read.
var backlogs = []struct{ of, since string }{
	{"messages", `SELECT created_at FROM messages WHERE state = 'queued'`},
	{"notices", `SELECT created_at FROM owed_notices`},
	{"deliveries", `SELECT w.updated_at FROM webhook_deliveries w JOIN webhook_endpoints e ON e.id = w.endpoint_id
		WHERE w.state = 'owed' AND e.disabled_at IS NULL`},
	{"charges", `SELECT created_at FROM payment_attempts WHERE state = 'pending'`},
	{"erasures", `SELECT erase_at FROM closures WHERE undone_at IS NULL AND erased_at IS NULL AND erase_at < now()`},
	// What the sweep ought to have taken: these come and go with every request, so they stand for the rest.
	{"expired", `SELECT expires_at FROM idempotency_keys WHERE expires_at < now()`},
}

// renewal is when the next step of a subscription that is not over was or is due, or NULL.
const renewal = `CASE WHEN status IN ('active', 'trialing') THEN period_end WHEN status = 'past_due' THEN retry_at END`

// Backlogs counts the work that waits, and how long the oldest of it has: messages to be accepted by a provider, notices and
// deliveries of webhooks that are owed, charges without an outcome, erasures and renewals that are overdue, renewals due within
// the hour ("renewals_soon", which have no age) and rows to be swept.
func (s *Store) Backlogs(ctx context.Context) ([]account.Backlog, error) {
	parts := make([]string, len(backlogs))
	args := make([]any, 0, 2*len(backlogs)+1)
	for i, b := range backlogs {
		parts[i] = `SELECT ? AS of, count(*) AS count, coalesce(extract(epoch FROM now() - min(w.at)), 0)::float8 AS oldest
			FROM (SELECT * FROM (` + b.since + `) AS all_of (at) ORDER BY at LIMIT ?) AS w`
		args = append(args, b.of, account.BacklogCounted)
	}
	// No index leads to these: one pass over what lives, for both.
	parts = append(parts, `SELECT of, least(count, ?), oldest FROM (
		SELECT count(*) FILTER (WHERE due < now()) AS late, count(*) FILTER (WHERE due BETWEEN now() AND now() + interval '1 hour') AS soon,
			coalesce(extract(epoch FROM now() - min(due) FILTER (WHERE due < now())), 0)::float8 AS age
		FROM (SELECT `+renewal+` AS due FROM subscriptions WHERE `+live+`) AS d) AS r,
		LATERAL (VALUES ('renewals', late, age), ('renewals_soon', soon, 0)) AS v (of, count, oldest)`)
	args = append(args, account.BacklogCounted)
	var rows []struct {
		Of     string
		Count  int64
		Oldest float64
	}
	err := s.db.NewRaw(strings.Join(parts, " UNION ALL "), args...).Scan(ctx, &rows)
	all := make([]account.Backlog, len(rows))
	for i, r := range rows {
		all[i] = account.Backlog{Of: r.Of, Count: r.Count, Oldest: time.Duration(max(r.Oldest, 0) * float64(time.Second))}
	}
	return all, translate(err)
}

// MessageCounts counts messages by channel and state: all that are queued, and of the others those made in the last hour.
func (s *Store) MessageCounts(ctx context.Context) ([]account.MessageCount, error) {
	var all []account.MessageCount
	err := s.db.NewRaw(`
		SELECT channel, state, count(*) FROM messages WHERE state = 'queued' GROUP BY 1, 2
		UNION ALL
		SELECT channel, state, count(*) FROM messages WHERE state <> 'queued' AND created_at > now() - interval '1 hour' GROUP BY 1, 2
		ORDER BY 1, 2`).Scan(ctx, &all)
	return all, translate(err)
}

// SubscriptionCounts counts the subscriptions that are not over by their status.
func (s *Store) SubscriptionCounts(ctx context.Context) ([]account.SubscriptionCount, error) {
	var all []account.SubscriptionCount
	err := s.db.NewRaw(`SELECT status, count(*) FROM subscriptions WHERE `+live+` GROUP BY 1 ORDER BY 1`).Scan(ctx, &all)
	return all, translate(err)
}

// TakeTurn reports whether it is the caller's turn at something that only one of many processes should do, once in every so
// long.
func (s *Store) TakeTurn(ctx context.Context, what string, every time.Duration) (bool, error) {
	err := s.TakeQuota(ctx, []byte("turn/"+what), []account.Quota{{Max: 1, Per: every}})
	if errors.Is(err, account.ErrTooManyRequests) {
		return false, nil
	}
	return err == nil, err
}
