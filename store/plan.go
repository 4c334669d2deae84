package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

const planColumns = `p.id, p.code, p.name, p.family, p.is_free, p.amount, p.currency, p.interval_unit, p.interval_count,
	p.trial_days, p.credits_per_month, array_to_json(p.features)::text, p.retired_at IS NOT NULL`

func planTargets(p *account.Plan) []any {
	return []any{
		&p.ID, &p.Code, &p.Name, &p.Family, &p.Free, &p.Price.Amount, &p.Price.Currency, &p.Interval.Unit, &p.Interval.Count,
		&p.TrialDays, &p.CreditsPerMonth, (*listed)(&p.Features), &p.Retired,
	}
}

// listed reads an array that comes as JSON: of Postgres' own forms each driver here knows another one.
type listed []string

// Scan implements sql.Scanner.
func (l *listed) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("a list of type %T: %w", value, errRow)
	}
	return json.Unmarshal([]byte(text), (*[]string)(l))
}

// Plans returns the catalogue, the cheapest first. Retired plans are in it.
func (s *Store) Plans(ctx context.Context) ([]account.Plan, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+planColumns+` FROM plans p ORDER BY p.family, p.amount, p.id`)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var out []account.Plan
	for rows.Next() {
		var p account.Plan
		if err := rows.Scan(planTargets(&p)...); err != nil {
			return nil, translate(err)
		}
		out = append(out, p)
	}
	return out, translate(rows.Err())
}

// Plan returns a plan of the catalogue, retired or not, or account.ErrNotFound.
func (s *Store) Plan(ctx context.Context, id string) (account.Plan, error) {
	var p account.Plan
	err := s.only(ctx, `SELECT `+planColumns+` FROM plans p WHERE p.id = $1`, []any{id}, planTargets(&p)...)
	return p, err
}

// ApplyPlans makes the catalogue what plans say, in one transaction: new ones are added, known ones changed, and those that
// are missing retire, except for the free one. It returns an error that names the plan whose price or interval differs
// although somebody has subscribed to it: a new price is a new plan.
func (s *Store) ApplyPlans(ctx context.Context, plans []account.Plan) error {
	ids := make([]string, 0, len(plans))
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		for _, p := range plans {
			ids = append(ids, p.ID)
			var fixed bool
			err := tx.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM plans p WHERE p.id = ?0
				AND (p.family, p.amount, p.currency, p.interval_unit, p.interval_count) <> (?1, ?2, ?3, ?4, ?5)
				AND (EXISTS (SELECT 1 FROM subscriptions WHERE p.id IN (plan_id, next_plan_id, upgrade_plan_id))
					OR EXISTS (SELECT 1 FROM invoices WHERE plan_id = p.id)))`,
				p.ID, p.Family, p.Price.Amount, p.Price.Currency, p.Interval.Unit, p.Interval.Count).Scan(ctx, &fixed)
			if err != nil {
				return err
			}
			if fixed {
				return fmt.Errorf("plan %s has subscribers: it keeps its family, price and interval; add a plan instead", p.ID)
			}
			if err := tx.putPlan(ctx, p); err != nil {
				return err
			}
		}
		_, err := tx.db.NewRaw(`UPDATE plans SET retired_at = now() WHERE id NOT IN (?) AND retired_at IS NULL AND NOT is_free`,
			bun.List(ids)).Exec(ctx)
		return err
	})
}

func (s *Store) putPlan(ctx context.Context, p account.Plan) error {
	_, err := s.db.NewRaw(`
		INSERT INTO plans AS p (id, code, name, family, is_free, amount, currency, interval_unit, interval_count, trial_days,
			credits_per_month, features, retired_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CASE WHEN ? THEN now() END)
		ON CONFLICT (id) DO UPDATE SET code = EXCLUDED.code, name = EXCLUDED.name, family = EXCLUDED.family,
			is_free = EXCLUDED.is_free, amount = EXCLUDED.amount, currency = EXCLUDED.currency,
			interval_unit = EXCLUDED.interval_unit, interval_count = EXCLUDED.interval_count, trial_days = EXCLUDED.trial_days,
			credits_per_month = EXCLUDED.credits_per_month, features = EXCLUDED.features,
			retired_at = CASE WHEN EXCLUDED.retired_at IS NOT NULL THEN coalesce(p.retired_at, now()) END`,
		p.ID, p.Code, p.Name, p.Family, p.Free, p.Price.Amount, p.Price.Currency, p.Interval.Unit, p.Interval.Count,
		p.TrialDays, p.CreditsPerMonth, pgdialect.Array(p.Features), p.Retired).Exec(ctx)
	return translate(err)
}

// catalogueAge is how old the names and credits of plans may be that reads of accounts show. Which plan somebody has is read
// every time.
const catalogueAge = time.Second

// catalogue spares those reads the join: there are few plans, and they hardly ever change.
type catalogue struct {
	mu    sync.Mutex
	read  time.Time
	plans map[string]account.Plan
}

// plan returns a plan, retired or not. That one is missing is an internal error: subscriptions refer to plans.
func (c *catalogue) plan(ctx context.Context, s *Store, id string) (account.Plan, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := account.SystemClock{}.Now()
	if found, ok := c.plans[id]; ok && now.Sub(c.read) < catalogueAge {
		return found, nil
	}
	all, err := s.Plans(ctx)
	if err != nil {
		return account.Plan{}, err
	}
	c.plans, c.read = make(map[string]account.Plan, len(all)), now
	for _, p := range all {
		c.plans[p.ID] = p
	}
	found, ok := c.plans[id]
	if !ok {
		return account.Plan{}, fmt.Errorf("plan %s is not in the catalogue", id)
	}
	return found, nil
}
