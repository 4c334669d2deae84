package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

const subscriptionColumns = `s.id, s.account_id, s.generation, s.status, s.version, s.method_id, s.period_start, s.period_end,
	s.anchor, s.period_length * 1000000000, s.trial_end, s.cancel_at_period_end, s.canceled_at, s.ended_at, s.paused_at, s.resumes_at,
	s.pause_reason,
	s.declines, s.first_decline_at, s.retry_at, s.created_at`

func subscriptionTargets(s *account.Subscription) []any {
	return []any{
		&s.ID, &s.AccountID, &s.Generation, &s.Status, &s.Version, &s.MethodID, &s.PeriodStart, &s.PeriodEnd,
		&s.Anchor, &s.PeriodLength, &s.TrialEnd, &s.CancelAtPeriodEnd, &s.CanceledAt, &s.EndedAt, &s.PausedAt, &s.ResumesAt,
		&s.PauseReason,
		&s.Declines, &s.FirstDeclineAt, &s.RetryAt, &s.CreatedAt,
	}
}

// upgradeMethod is what the open invoice of a dearer plan is charged to, NULL for the subscription's own. One that a process from
// before the column has left behind, when it settled the invoice, counts for nothing.
const upgradeMethod = `CASE WHEN s.upgrade_plan_id IS NOT NULL THEN s.upgrade_method_id END`

const live = `status NOT IN ('canceled', 'incomplete_expired')`

// Subscription returns a subscription with its open invoice and its plans, or account.ErrNotFound.
func (s *Store) Subscription(ctx context.Context, id string) (account.Subscription, error) {
	return s.subscription(ctx, id, "")
}

// CommittedSubscription is Subscription once no change of it is under way: a change whose answer was lost may be committing still.
func (s *Store) CommittedSubscription(ctx context.Context, id string) (account.Subscription, error) {
	var out account.Subscription
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) (err error) {
		out, err = tx.subscription(ctx, id, "FOR UPDATE")
		return err
	})
	return out, translate(err)
}

func (s *Store) subscription(ctx context.Context, id, lock string) (account.Subscription, error) {
	var out account.Subscription
	var plan string
	var next, upgrade *string
	targets := append(subscriptionTargets(&out), &plan, &next, &upgrade, &out.UpgradeMethodID)
	err := s.only(ctx, `SELECT `+subscriptionColumns+`, s.plan_id, s.next_plan_id, s.upgrade_plan_id, coalesce(`+upgradeMethod+`, '')
		FROM subscriptions s WHERE s.id = $1 `+lock, []any{id}, targets...)
	if err != nil {
		return out, err
	}
	if out.Plan, err = s.Plan(ctx, plan); err != nil {
		return out, err
	}
	for id, to := range map[*string]**account.Plan{next: &out.NextPlan, upgrade: &out.Upgrade} {
		if id == nil {
			continue
		}
		p, err := s.Plan(ctx, *id)
		if err != nil {
			return out, err
		}
		*to = &p
	}
	open, err := s.openInvoice(ctx, out.ID)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return out, err
	}
	if err == nil {
		out.Invoice = &open
	}
	return out, nil
}

// SubscriptionEvent returns what made a version of a subscription what it is, or account.ErrNotFound.
func (s *Store) SubscriptionEvent(ctx context.Context, id string, version int64) (string, error) {
	var event string
	err := s.only(ctx, `SELECT event FROM subscription_events WHERE subscription_id = $1 AND version = $2`, []any{id, version}, &event)
	return event, err
}

// Generation returns how many subscriptions of a family an account has had that are over, and the id of the one that is not,
// if there is one.
func (s *Store) Generation(ctx context.Context, accountID uuid.UUID, family string) (ended int, current *string, err error) {
	err = s.db.NewRaw(`SELECT count(*) FILTER (WHERE NOT `+live+`), max(id) FILTER (WHERE `+live+`)
		FROM subscriptions WHERE account_id = ? AND family = ?`, accountID, family).Scan(ctx, &ended, &current)
	return ended, current, translate(err)
}

// SubscriptionsOf returns every subscription of an account, the newest first, in one statement; their open invoices and coming
// plans are left out.
func (s *Store) SubscriptionsOf(ctx context.Context, accountID uuid.UUID) ([]account.Subscription, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+subscriptionColumns+`, `+planColumns+`
		FROM subscriptions s JOIN plans p ON p.id = s.plan_id WHERE s.account_id = ?
		ORDER BY s.created_at DESC, s.generation DESC LIMIT 100`, accountID)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var out []account.Subscription
	for rows.Next() {
		var one account.Subscription
		if err := rows.Scan(append(subscriptionTargets(&one), planTargets(&one.Plan)...)...); err != nil {
			return nil, translate(err)
		}
		out = append(out, one)
	}
	return out, translate(rows.Err())
}

// OpenSubscription creates a subscription and its first invoice in one transaction. The trial is granted once per family to an
// account, and once to whoever holds its card, erased accounts among them. Repeating the id returns the subscription as it is. It
// returns account.ErrAlreadySubscribed when the account has another live subscription of the family, and account.ErrNotFound when
// the account is gone, or may not bind a payment (design D5).
func (s *Store) OpenSubscription(ctx context.Context, n account.NewSubscription, now time.Time) (account.Subscription, error) {
	var out account.Subscription
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// Whoever comes second waits here: for one account, openings happen one after the other.
		res, err := tx.db.NewRaw(`SELECT 1 FROM accounts WHERE id = ? AND email_verified_at IS NOT NULL AND `+usable+` FOR NO KEY UPDATE`,
			n.AccountID).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		out, err = tx.Subscription(ctx, n.ID)
		if err == nil || !errors.Is(err, account.ErrNotFound) {
			return err
		}
		granted := n
		if n.Trial && n.Plan.TrialDays > 0 {
			if granted.Trial, err = tx.takeTrial(ctx, n.AccountID, n.Plan.Family); err != nil {
				return err
			}
		}
		c := granted.Open(now)
		if err := tx.insertSubscription(ctx, c.After); err != nil {
			return err
		}
		out = c.After
		return tx.keepChange(ctx, c, "open", now)
	})
	return out, translate(err)
}

// RequestKeyPrefix begins the keys of changes that a client asks for. They are known for account.IdempotencyLife, as the client's
// own key is; the keys of flows are for ever.
const RequestKeyPrefix = "request/"

// Transition is a pure change of a subscription.
type Transition func(account.Subscription) (account.SubscriptionChange, error)

// ChangeSubscription applies a transition in one transaction: the row, its invoices, the credits and the event. The key makes
// it happen once: a repetition returns the subscription as it is, without an event. A transition's own error is returned as it is;
// account.ErrSubscriptionState means that it would close an invoice of which a charge has no outcome, account.ErrNotFound that
// there is no such subscription.
func (s *Store) ChangeSubscription(ctx context.Context, id, key string, at time.Time, transition Transition) (account.SubscriptionChange, error) {
	var out account.SubscriptionChange
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		current, err := tx.subscription(ctx, id, "FOR UPDATE")
		if err != nil {
			return err
		}
		made, known, err := tx.changedUnder(ctx, id, key)
		if err != nil {
			return err
		}
		out = account.SubscriptionChange{After: current}
		if known {
			return nil
		}
		if i := current.Invoice; i != nil {
			if current.Charging, err = tx.beingCharged(ctx, i.ID); err != nil {
				return err
			}
		}
		change, err := transition(current)
		if err != nil || change.Event == "" {
			return err
		}
		if current.Charging && change.Settled != nil {
			return account.ErrSubscriptionState.Saying("Subscription is being charged")
		}
		change.After.Charging = false
		if made {
			if err := tx.retireKey(ctx, id, key); err != nil {
				return err
			}
		}
		out = change
		if err := tx.updateSubscription(ctx, change.After); err != nil {
			return err
		}
		return tx.keepChange(ctx, change, key, at)
	})
	return out, translate(err)
}

// keyKnown holds for an event whose key, which has the prefix of the first parameter where a client's does, still is the one of
// its change.
const keyKnown = `(NOT starts_with(e.key, $1) OR e.created_at > now() - $2::float8 * interval '1 second')`

// SubscriptionChanged reports whether a subscription was changed under key.
func (s *Store) SubscriptionChanged(ctx context.Context, id, key string) (changed bool, err error) {
	_, changed, err = s.changedUnder(ctx, id, key)
	return changed, err
}

// changedUnder reports whether there is a change of a subscription under key, and whether whoever comes with it now means that one.
func (s *Store) changedUnder(ctx context.Context, id, key string) (made, known bool, err error) {
	err = s.only(ctx, `SELECT `+keyKnown+` FROM subscription_events e WHERE e.subscription_id = $3 AND e.key = $4`,
		[]any{RequestKeyPrefix, seconds(account.IdempotencyLife), id, key}, &known)
	if errors.Is(err, account.ErrNotFound) {
		return false, false, nil
	}
	return err == nil, known, err
}

// retireKey lets a key be used again: the change that was made under it keeps it with its version.
func (s *Store) retireKey(ctx context.Context, id, key string) error {
	return s.change(ctx, `UPDATE subscription_events SET key = key || '/' || version WHERE subscription_id = $1 AND key = $2`, id, key)
}

// PlanChange tells of the change of plan that a request has made under key: whether there is one, and whether it was declined.
func (s *Store) PlanChange(ctx context.Context, id, key string) (begun, declined bool, err error) {
	err = s.only(ctx, `
		SELECT e.event = 'plan_change_started' AND coalesce((
			SELECT n.event = 'plan_change_declined' FROM subscription_events n
			WHERE n.subscription_id = e.subscription_id AND n.version > e.version
				AND n.event IN ('plan_change_started', 'plan_change_declined', 'plan_changed')
			ORDER BY n.version LIMIT 1), false)
		FROM subscription_events e WHERE e.subscription_id = $3 AND e.key = $4 AND `+keyKnown,
		[]any{RequestKeyPrefix, seconds(account.IdempotencyLife), id, key}, &declined)
	if errors.Is(err, account.ErrNotFound) {
		return false, false, nil
	}
	return err == nil, declined, err
}

func (s *Store) insertSubscription(ctx context.Context, n account.Subscription) error {
	_, err := s.db.NewRaw(`
		INSERT INTO subscriptions (id, account_id, family, generation, plan_id, status, version, method_id, period_start, period_end,
			anchor, trial_end, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n.ID, n.AccountID, n.Plan.Family, n.Generation, n.Plan.ID, n.Status, n.Version, n.MethodID, n.PeriodStart, n.PeriodEnd,
		n.Anchor, n.TrialEnd, n.CreatedAt).Exec(ctx)
	return translate(err)
}

func (s *Store) updateSubscription(ctx context.Context, n account.Subscription) error {
	var cancelAt *time.Time
	if n.CancelAtPeriodEnd {
		cancelAt = &n.PeriodEnd
	}
	if n.EndedAt != nil {
		cancelAt = n.EndedAt
	}
	return s.change(ctx, `
		UPDATE subscriptions SET plan_id = $1, status = $2, version = $3, method_id = $4, period_start = $5, period_end = $6, anchor = $7,
			trial_end = $8, cancel_at_period_end = $9, cancel_at = $10, canceled_at = $11, ended_at = $12, paused_at = $13, resumes_at = $14,
			pause_reason = $15, next_plan_id = $16, upgrade_plan_id = $17, upgrade_method_id = $18, declines = $19,
			first_decline_at = $20, retry_at = $21, period_length = $22, updated_at = now()
		WHERE id = $23 AND version = $24`,
		n.Plan.ID, n.Status, n.Version, n.MethodID, n.PeriodStart, n.PeriodEnd, n.Anchor,
		n.TrialEnd, n.CancelAtPeriodEnd, cancelAt, n.CanceledAt, n.EndedAt, n.PausedAt, n.ResumesAt,
		n.PauseReason, planID(n.NextPlan), planID(n.Upgrade), nullable(n.UpgradeMethodID), n.Declines, n.FirstDeclineAt, n.RetryAt,
		int64(n.PeriodLength/time.Second), n.ID, n.Version-1)
}

func planID(p *account.Plan) *string {
	if p == nil {
		return nil
	}
	return &p.ID
}

// keepChange writes what comes with a change of a subscription: invoices, credits, the event, and what receivers are told of it.
func (s *Store) keepChange(ctx context.Context, c account.SubscriptionChange, key string, at time.Time) error {
	if c.Settled != nil {
		if err := s.settleInvoice(ctx, *c.Settled); err != nil {
			return err
		}
	}
	switch i := c.After.Invoice; {
	case c.Opened != nil:
		if err := s.insertInvoice(ctx, *c.Opened); err != nil {
			return err
		}
	case i != nil:
		if err := s.countAttempt(ctx, *i); err != nil {
			return err
		}
	}
	if c.Settled != nil && c.Settled.Status == account.InvoicePaid {
		if err := s.grantPeriod(ctx, c); err != nil {
			return err
		}
	}
	_, err := s.run(ctx, `INSERT INTO subscription_events (subscription_id, version, key, event, status, at) VALUES ($1, $2, $3, $4, $5, $6)`,
		c.After.ID, c.After.Version, key, c.Event, c.After.Status, at)
	if err != nil {
		return err
	}
	return s.Tell(ctx, c.WebhookEvent(at))
}

// grantPeriod grants the credits of a paid invoice, once. Whoever has paid once is not a first-time buyer any more.
func (s *Store) grantPeriod(ctx context.Context, c account.SubscriptionChange) error {
	_, err := s.run(ctx, `
		WITH move AS (
			INSERT INTO credit_moves (account_id, kind, key, amount)
			SELECT $1::uuid, 'subscription', $2::text, $3::bigint WHERE $3::bigint > 0
			ON CONFLICT (account_id, key) DO NOTHING RETURNING amount)
		UPDATE credits SET balance = balance + coalesce((SELECT amount FROM move), 0), last_reset_at = $4, next_reset_at = $5,
			discount_eligible = false, discount_active = false
		WHERE account_id = $1::uuid`,
		c.After.AccountID, c.Settled.ID, c.Credits, c.After.PeriodStart, c.After.PeriodEnd)
	return err
}
