package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

// BeginReconciliation opens the record of a reconciliation. It compares what the provider has charged since the last complete
// one, and since overlap before that; what is younger than settling is left to the next. Repeating it returns the same.
func (s *Store) BeginReconciliation(ctx context.Context, id string, overlap, settling time.Duration) (account.Reconciliation, error) {
	r := account.Reconciliation{ID: id}
	err := s.db.NewRaw(`
		INSERT INTO reconciliations (id, since, until)
		SELECT ?0, coalesce((SELECT max(until) FROM reconciliations WHERE complete), (SELECT min(created_at) FROM payment_attempts), now())
			- ?1 * interval '1 second', now() - ?2 * interval '1 second'
		ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id RETURNING since, until`,
		id, seconds(overlap), seconds(settling)).Scan(ctx, &r.Since, &r.Until)
	return r, translate(err)
}

// KeepFinding keeps what a reconciliation has found, once, and reports whether it is new to it.
func (s *Store) KeepFinding(ctx context.Context, reconciliation string, f account.Finding) (added bool, err error) {
	res, err := s.db.NewRaw(`
		INSERT INTO billing_findings (reconciliation_id, kind, subject, detail, repaired) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, reconciliation, f.Kind, f.Subject, f.Detail, f.Repaired).Exec(ctx)
	if err != nil {
		return false, translate(err)
	}
	n, err := res.RowsAffected()
	return n == 1, translate(err)
}

// EndReconciliation closes the record of a reconciliation, and returns how many things it has repaired and how many are left
// for a person. Repeating it changes nothing.
func (s *Store) EndReconciliation(ctx context.Context, id string, n account.ReconciliationCounts, complete bool) (repaired, alarms int64, err error) {
	_, err = s.db.NewRaw(`
		UPDATE reconciliations SET ended_at = now(), complete = ?, subscriptions = ?, flows = ?, charges = ?, attempts = ?
		WHERE id = ? AND ended_at IS NULL`, complete, n.Subscriptions, n.Flows, n.Charges, n.Attempts, id).Exec(ctx)
	if err != nil {
		return 0, 0, translate(err)
	}
	err = s.db.NewRaw(`SELECT count(*) FILTER (WHERE repaired), count(*) FILTER (WHERE NOT repaired) FROM billing_findings
		WHERE reconciliation_id = ?`, id).Scan(ctx, &repaired, &alarms)
	return repaired, alarms, translate(err)
}

// LiveSubscription is a subscription that ought to have a flow.
type LiveSubscription struct {
	ID        string
	AccountID uuid.UUID
	PlanCode  string
}

// LiveSubscriptions returns a page of the subscriptions that are not over, in the order of their ids: those after one of them.
func (s *Store) LiveSubscriptions(ctx context.Context, after string, limit int) ([]LiveSubscription, error) {
	var page []LiveSubscription
	err := s.db.NewRaw(`
		SELECT s.id, s.account_id, p.code AS plan_code FROM subscriptions s JOIN plans p ON p.id = s.plan_id
		WHERE s.`+live+` AND s.id > ? ORDER BY s.id LIMIT ?`, after, limit).Scan(ctx, &page)
	return page, translate(err)
}

// NeedlessFlows returns which of these subscriptions do not exist, or have been over for longer than since.
func (s *Store) NeedlessFlows(ctx context.Context, ids []string, since time.Duration) ([]string, error) {
	var needless []string
	err := s.db.NewRaw(`
		SELECT x.id FROM unnest(?::text[]) AS x(id) LEFT JOIN subscriptions s ON s.id = x.id
		WHERE s.id IS NULL OR s.ended_at < now() - ? * interval '1 second' ORDER BY x.id`,
		pgdialect.Array(ids), seconds(since)).Scan(ctx, &needless)
	return needless, translate(err)
}

// AttemptRecord is what our books say of a charge.
type AttemptRecord struct {
	Key            string
	SubscriptionID string
	InvoiceID      string
	State          string
	ProviderID     string
	Customer       string
	Amount         account.Money
	// Paid is set when the invoice is paid.
	Paid bool
}

const attemptRecords = `
	SELECT t.key, i.subscription_id, i.id, t.state, coalesce(t.provider_id, ''), coalesce(m.customer, ''), i.amount, i.currency,
		i.status = 'paid'
	FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
	LEFT JOIN payment_methods m ON m.provider = t.provider AND m.id = t.method_id`

func (s *Store) attemptRecords(ctx context.Context, where string, args ...any) ([]AttemptRecord, error) {
	rows, err := s.db.QueryContext(ctx, attemptRecords+" "+where, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var all []AttemptRecord
	for rows.Next() {
		var r AttemptRecord
		err := rows.Scan(&r.Key, &r.SubscriptionID, &r.InvoiceID, &r.State, &r.ProviderID, &r.Customer, &r.Amount.Amount,
			&r.Amount.Currency, &r.Paid)
		if err != nil {
			return nil, translate(err)
		}
		all = append(all, r)
	}
	return all, translate(rows.Err())
}

// AttemptsByKey returns what our books say of charges with these keys, by key.
func (s *Store) AttemptsByKey(ctx context.Context, keys []string) (map[string]AttemptRecord, error) {
	all, err := s.attemptRecords(ctx, `WHERE t.key = ANY (?::text[])`, pgdialect.Array(keys))
	byKey := make(map[string]AttemptRecord, len(all))
	for _, r := range all {
		byKey[r.Key] = r
	}
	return byKey, err
}

// UnconfirmedAttempts returns a page of the paid attempts of a provider that were not seen in its list of charges, settled
// before a moment: those after a key. What was free, and what an erased account has paid, is left out.
func (s *Store) UnconfirmedAttempts(ctx context.Context, provider, after string, before time.Time, limit int) ([]AttemptRecord, error) {
	return s.attemptRecords(ctx, `WHERE t.state = 'succeeded' AND t.confirmed_at IS NULL AND t.provider = ? AND t.key > ?
		AND t.settled_at < ? AND i.amount > 0 AND m.id IS NOT NULL ORDER BY t.key LIMIT ?`, provider, after, before, limit)
}

// ConfirmAttempts notes that the provider lists the charges of these paid attempts.
func (s *Store) ConfirmAttempts(ctx context.Context, keys []string) error {
	_, err := s.db.NewRaw(`UPDATE payment_attempts SET confirmed_at = now()
		WHERE key = ANY (?::text[]) AND state = 'succeeded' AND confirmed_at IS NULL`, pgdialect.Array(keys)).Exec(ctx)
	return translate(err)
}

// AwaitedCharges returns the subscriptions whose charge has had no outcome for longer than age, at most limit.
func (s *Store) AwaitedCharges(ctx context.Context, age time.Duration, limit int) ([]string, error) {
	var ids []string
	err := s.db.NewRaw(`
		SELECT i.subscription_id FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE t.state = 'pending' AND t.created_at < now() - ? * interval '1 second' ORDER BY t.created_at LIMIT ?`, seconds(age), limit).
		Scan(ctx, &ids)
	return ids, translate(err)
}

// OverdueSubscriptions returns the subscriptions whose next action (account.Subscription.Next) has been due for longer than age
// while nobody asks for their money, at most limit: their flow may not know. What is due at the end of a term of ours is left
// out.
func (s *Store) OverdueSubscriptions(ctx context.Context, age time.Duration, limit int) ([]string, error) {
	var ids []string
	err := s.db.NewRaw(`
		SELECT s.id FROM subscriptions s LEFT JOIN invoices i ON i.subscription_id = s.id AND i.status = 'open'
		WHERE s.`+live+` AND now() - ?0 * interval '1 second' > CASE
				WHEN s.status = 'paused' THEN s.resumes_at
				WHEN i.id IS NOT NULL AND s.declines = 0 THEN i.created_at
				WHEN i.id IS NOT NULL THEN s.retry_at
				WHEN s.status <> 'unpaid' THEN s.period_end END
			AND NOT EXISTS (SELECT 1 FROM payment_attempts t WHERE t.invoice_id = i.id AND t.state = 'pending')
		ORDER BY s.id LIMIT ?1`, seconds(age), limit).Scan(ctx, &ids)
	return ids, translate(err)
}

// BillingLimits say from when on something is amiss.
type BillingLimits struct {
	// UnknownAfter is the age of a charge whose outcome ought to be known, OverdueAfter how long after its end a period may go
	// without a renewal.
	UnknownAfter time.Duration
	OverdueAfter time.Duration
	// Since is the oldest payment to look at.
	Since time.Time
}

// ReviewBilling returns what our own books show amiss, at most limit of each kind. Flows that this reconciliation has started
// again have yet to do what was overdue.
func (s *Store) ReviewBilling(ctx context.Context, reconciliation string, l BillingLimits, limit int) ([]account.Finding, error) {
	var found []account.Finding
	err := s.db.NewRaw(`
		(SELECT 'open_after_end' AS kind, i.id AS subject, 'subscription ' || s.id AS detail
			FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id
			WHERE i.status = 'open' AND NOT s.`+live+` LIMIT ?4)
		UNION ALL (SELECT 'outcome_unknown', t.key, 'begun ' || t.created_at FROM payment_attempts t
			WHERE t.state = 'pending' AND t.created_at < now() - ?1 * interval '1 second' LIMIT ?4)
		UNION ALL (SELECT 'overdue', s.id, s.status || ', period over ' || s.period_end FROM subscriptions s
			WHERE s.`+live+` AND s.status IN ('active', 'trialing') AND s.period_end < now() - ?2 * interval '1 second'
				AND NOT EXISTS (SELECT 1 FROM invoices i WHERE i.subscription_id = s.id AND i.status = 'open')
				AND NOT EXISTS (SELECT 1 FROM billing_findings f WHERE f.reconciliation_id = ?0 AND f.kind = 'flow_lost' AND f.subject = s.id)
			LIMIT ?4)
		UNION ALL (SELECT 'paid_without_charge', i.id, 'subscription ' || i.subscription_id FROM invoices i
			WHERE i.status = 'paid' AND i.paid_at >= ?3
				AND NOT EXISTS (SELECT 1 FROM payment_attempts t WHERE t.invoice_id = i.id AND t.state = 'succeeded') LIMIT ?4)`,
		reconciliation, seconds(l.UnknownAfter), seconds(l.OverdueAfter), l.Since, limit).Scan(ctx, &found)
	return found, translate(err)
}

// Findings returns what reconciliations have found since so long ago, the newest first.
func (s *Store) Findings(ctx context.Context, since time.Duration) ([]account.Finding, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT kind, subject, detail, repaired, found_at FROM billing_findings
		WHERE found_at > now() - ? * interval '1 second' ORDER BY found_at DESC, kind, subject`, seconds(since))
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var all []account.Finding
	for rows.Next() {
		var f account.Finding
		if err := rows.Scan(&f.Kind, &f.Subject, &f.Detail, &f.Repaired, &f.At); err != nil {
			return nil, translate(err)
		}
		all = append(all, f)
	}
	return all, translate(rows.Err())
}
