package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// quiet is true of a subscription without a charge of unknown outcome. Until that outcome is known, nothing else may happen to it.
const quiet = `NOT EXISTS (SELECT 1 FROM invoices i JOIN payment_attempts t ON t.invoice_id = i.id
	WHERE i.subscription_id = s.id AND i.status = 'open' AND t.state = 'pending')`

// strayAge is for how long after its account's end a subscription is looked for in every turn: longer than any outage. Accounts
// that were closed before are too many to be looked at each time, and no charge is begun for one of them, whatever happens.
const strayAge = `now() - interval '30 days'`

// strayRows is the query of the subscriptions that are not in line with their accounts: those of closed accounts, those of
// deactivated ones that are not paused, or whose pause is to end by itself, and those that were paused for a deactivation that is
// over. What is to end with its period may do so. It looks at accounts that were closed or deactivated later than after, an SQL
// expression.
func strayRows(after string) string {
	return `
	SELECT s.id, s.account_id, s.plan_id, s.version, 'end' AS needs FROM accounts a JOIN subscriptions s ON s.account_id = a.id
	WHERE a.deleted_at > ` + after + ` AND s.` + live + ` AND ` + quiet + `
	UNION ALL
	SELECT s.id, s.account_id, s.plan_id, s.version, CASE WHEN s.status IN ('active', 'trialing', 'paused') THEN 'pause' ELSE 'end' END
	FROM accounts a JOIN subscriptions s ON s.account_id = a.id
	WHERE a.deactivated_at > ` + after + ` AND a.deleted_at IS NULL AND s.` + live + ` AND ` + quiet + `
		AND (s.status IN ('past_due', 'unpaid', 'incomplete') OR s.status = 'paused' AND s.resumes_at IS NOT NULL
			OR s.status IN ('active', 'trialing') AND NOT s.cancel_at_period_end
			AND s.period_end > now() AND NOT EXISTS (SELECT 1 FROM invoices i WHERE i.subscription_id = s.id AND i.status = 'open'))
	UNION ALL
	SELECT s.id, s.account_id, s.plan_id, s.version, 'resume' FROM subscriptions s JOIN accounts a ON a.id = s.account_id
	WHERE s.pause_reason = 'account_deactivated' AND s.status = 'paused' AND a.deactivated_at IS NULL AND a.deleted_at IS NULL`
}

// Strays returns subscriptions that are not in line with their accounts, at most atMost, in no order: one that cannot be
// brought in line holds up no other for long. It looks at accounts that were closed or deactivated in the last 30 days.
func (s *Store) Strays(ctx context.Context, atMost int) ([]account.Stray, error) {
	return s.readStrays(ctx, `SELECT x.id, x.account_id, p.code, x.version, x.needs FROM (`+strayRows(strayAge)+`) x JOIN plans p ON p.id = x.plan_id
		ORDER BY random() LIMIT ?`, atMost)
}

// StraysOf returns those of one account, whenever that was closed or deactivated.
func (s *Store) StraysOf(ctx context.Context, accountID uuid.UUID) ([]account.Stray, error) {
	return s.readStrays(ctx, `SELECT x.id, x.account_id, p.code, x.version, x.needs FROM (`+strayRows(`'-infinity'`)+`) x JOIN plans p ON p.id = x.plan_id
		WHERE x.account_id = ?`, accountID)
}

func (s *Store) readStrays(ctx context.Context, query string, arg any) ([]account.Stray, error) {
	rows, err := s.db.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var found []account.Stray
	for rows.Next() {
		var one account.Stray
		if err := rows.Scan(&one.SubscriptionID, &one.AccountID, &one.PlanCode, &one.Version, &one.Needs); err != nil {
			return nil, translate(err)
		}
		found = append(found, one)
	}
	return found, translate(rows.Err())
}
