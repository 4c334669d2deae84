package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

const invoiceColumns = `i.id, i.subscription_id, i.account_id, i.reason, i.amount, i.currency, i.period_start, i.period_end,
	i.status, i.attempt, i.created_at, i.paid_at`

func invoiceTargets(i *account.Invoice) []any {
	return []any{
		&i.ID, &i.SubscriptionID, &i.AccountID, &i.Reason, &i.Amount.Amount, &i.Amount.Currency, &i.PeriodStart, &i.PeriodEnd,
		&i.Status, &i.Attempt, &i.CreatedAt, &i.PaidAt,
	}
}

func (s *Store) openInvoice(ctx context.Context, subscription string) (account.Invoice, error) {
	var i account.Invoice
	err := s.only(ctx, `SELECT `+invoiceColumns+`, `+planColumns+` FROM invoices i JOIN plans p ON p.id = i.plan_id
		WHERE i.subscription_id = $1 AND i.status = 'open'`, []any{subscription}, append(invoiceTargets(&i), planTargets(&i.Plan)...)...)
	return i, err
}

// InvoiceAt returns the newest invoice that a subscription had when it came to a version, whatever became of it, or
// account.ErrNotFound.
func (s *Store) InvoiceAt(ctx context.Context, subscription string, version int64) (account.Invoice, error) {
	var i account.Invoice
	err := s.db.NewRaw(`SELECT `+invoiceColumns+`, `+planColumns+` FROM invoices i JOIN plans p ON p.id = i.plan_id
		WHERE i.subscription_id = ?0
			AND i.created_at <= (SELECT at FROM subscription_events WHERE subscription_id = ?0 AND version = ?1)
		ORDER BY i.created_at DESC, i.id DESC LIMIT 1`, subscription, version).
		Scan(ctx, append(invoiceTargets(&i), planTargets(&i.Plan)...)...)
	return i, translate(err)
}

// InvoicesOf returns the invoices of a subscription of an account, the newest first, at most limit. It returns
// account.ErrNotFound when the account has no such subscription.
func (s *Store) InvoicesOf(ctx context.Context, accountID uuid.UUID, subscription string, limit int) ([]account.Invoice, error) {
	var owned bool
	err := s.db.NewRaw(`SELECT true FROM subscriptions WHERE id = ? AND account_id = ?`, subscription, accountID).Scan(ctx, &owned)
	if err != nil {
		return nil, translate(err)
	}
	rows, err := s.db.QueryContext(ctx, `SELECT `+invoiceColumns+`, `+planColumns+` FROM invoices i JOIN plans p ON p.id = i.plan_id
		WHERE i.subscription_id = ? ORDER BY i.created_at DESC, i.id DESC LIMIT ?`, subscription, limit)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var out []account.Invoice
	for rows.Next() {
		var i account.Invoice
		if err := rows.Scan(append(invoiceTargets(&i), planTargets(&i.Plan)...)...); err != nil {
			return nil, translate(err)
		}
		out = append(out, i)
	}
	return out, translate(rows.Err())
}

func (s *Store) insertInvoice(ctx context.Context, i account.Invoice) error {
	_, err := s.run(ctx, `
		INSERT INTO invoices (id, subscription_id, account_id, reason, plan_id, amount, currency, period_start, period_end, status,
			attempt, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		i.ID, i.SubscriptionID, i.AccountID, i.Reason, i.Plan.ID, i.Amount.Amount, i.Amount.Currency, i.PeriodStart, i.PeriodEnd,
		i.Status, i.Attempt, i.CreatedAt)
	return err
}

// beingCharged locks an open invoice, and reports whether the outcome of a charge of it is unknown. None begins before the
// transaction ends.
func (s *Store) beingCharged(ctx context.Context, invoice string) (bool, error) {
	var id string
	if err := s.only(ctx, `SELECT id FROM invoices WHERE id = $1 AND status = 'open' FOR UPDATE`, []any{invoice}, &id); err != nil {
		return false, err
	}
	// A statement of its own: it sees the attempt that BeginAttempt made while the one above waited for its lock.
	var charging bool
	err := s.only(ctx, `SELECT EXISTS (SELECT 1 FROM payment_attempts WHERE invoice_id = $1 AND state = 'pending')`, []any{invoice}, &charging)
	return charging, err
}

// settleInvoice closes an open invoice of which no charge is under way.
func (s *Store) settleInvoice(ctx context.Context, i account.Invoice) error {
	return s.change(ctx, `UPDATE invoices SET status = $1, paid_at = $2 WHERE id = $3 AND status = 'open'`, i.Status, i.PaidAt, i.ID)
}

func (s *Store) countAttempt(ctx context.Context, i account.Invoice) error {
	return s.change(ctx, `UPDATE invoices SET attempt = $1 WHERE id = $2 AND status = 'open'`, i.Attempt, i.ID)
}

// PaymentAttempt is a charge of an invoice, as it was or will be asked for.
type PaymentAttempt struct {
	InvoiceID string
	Attempt   int
	// Key names the charge for ever.
	Key      string
	MethodID string
	Customer string
	Amount   account.Money
	// Age is how long ago the charge was first to be asked for, by the database clock.
	Age time.Duration
	// Begun is set when it was there before: the provider may know of it.
	Begun bool
	// Unwanted is set when the account is closed or deactivated.
	Unwanted bool
	// Refused is why the provider is not asked for the charge, and never was; empty means that it may be.
	Refused string
}

// BeginAttempt writes the attempt that a subscription's open invoice is due, before the provider hears of it. One whose outcome
// is not known yet is returned as it was, with the method it was begun with. One of an account that is closed or deactivated when it
// is written is refused, and so is one that comes too late, which nil says of none. Both stay so: a repetition cannot tell what had
// happened before the provider was asked. It returns account.ErrNotFound when the subscription owes nothing under this invoice and
// attempt any more.
func (s *Store) BeginAttempt(
	ctx context.Context, provider, invoice string, attempt int, tooLate func(account.DueCharge) bool,
) (PaymentAttempt, error) {
	out := PaymentAttempt{InvoiceID: invoice, Attempt: attempt}
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		made, err := tx.run(ctx, `
			WITH i AS (
				SELECT i.id, i.attempt, coalesce(`+upgradeMethod+`, s.method_id) AS method_id FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id
				WHERE i.id = $1 AND i.attempt = $2 AND i.status = 'open' FOR NO KEY UPDATE OF i)
			INSERT INTO payment_attempts (invoice_id, attempt, key, provider, method_id)
			SELECT id, attempt, id || '/' || attempt, $3::text, method_id FROM i
			ON CONFLICT (invoice_id, attempt) DO NOTHING`, invoice, attempt, provider)
		if err != nil {
			return err
		}
		out.Begun = made == 0
		var age float64
		var due account.DueCharge
		err = tx.only(ctx, `
			SELECT t.key, t.method_id, coalesce(m.customer, ''), i.amount, i.currency, extract(epoch FROM now() - t.created_at)::float8,
				a.deactivated_at IS NOT NULL OR a.deleted_at IS NOT NULL, coalesce(t.refused, ''),
				s.status, s.upgrade_plan_id IS NOT NULL, coalesce(s.retry_at, i.created_at), s.period_end
			FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id JOIN subscriptions s ON s.id = i.subscription_id
			JOIN accounts a ON a.id = i.account_id
			LEFT JOIN payment_methods m ON m.provider = t.provider AND m.id = t.method_id
			WHERE t.invoice_id = $1 AND t.attempt = $2 AND t.state = 'pending' AND i.status = 'open'`, []any{invoice, attempt},
			&out.Key, &out.MethodID, &out.Customer, &out.Amount.Amount, &out.Amount.Currency, &age, &out.Unwanted, &out.Refused,
			&due.Status, &due.Upgrade, &due.DueAt, &due.PeriodEnd)
		out.Age = time.Duration(age * float64(time.Second))
		if err != nil || out.Begun {
			return err
		}
		switch {
		case out.Unwanted:
			out.Refused = account.DeclineInactive
		case tooLate != nil && tooLate(due):
			out.Refused = account.DeclineExpired
		default:
			return nil
		}
		// Not by the statement that writes it: that one may have waited for the account's end, and does not see it.
		return tx.change(ctx, `UPDATE payment_attempts SET refused = $1 WHERE invoice_id = $2 AND attempt = $3`, out.Refused, invoice, attempt)
	})
	return out, translate(err)
}

// Settlement is what became of an attempt.
type Settlement struct {
	InvoiceID  string
	Attempt    int
	ProviderID string
	// Decline is why it was refused, nil when it was paid.
	Decline *account.Decline
}

// SettleAttempt keeps the outcome of an attempt and applies its transition to the subscription, in one transaction. Repeating
// it returns the subscription as it is, without an event.
func (s *Store) SettleAttempt(ctx context.Context, o Settlement, at time.Time, transition Transition) (account.SubscriptionChange, error) {
	var out account.SubscriptionChange
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// The subscription first, as every change of it does.
		var subscription string
		err := tx.only(ctx, `SELECT s.id FROM subscriptions s JOIN invoices i ON i.subscription_id = s.id WHERE i.id = $1 FOR UPDATE OF s`,
			[]any{o.InvoiceID}, &subscription)
		if err != nil {
			return err
		}
		state, code := "succeeded", ""
		if o.Decline != nil {
			state, code = "declined", o.Decline.Code
		}
		var key string
		err = tx.only(ctx, `UPDATE payment_attempts SET state = $1, provider_id = $2, decline_code = $3, settled_at = $4
			WHERE invoice_id = $5 AND attempt = $6 AND state = 'pending' RETURNING key`,
			[]any{state, nullable(o.ProviderID), nullable(code), at, o.InvoiceID, o.Attempt}, &key)
		if errors.Is(err, account.ErrNotFound) {
			out.After, err = tx.Subscription(ctx, subscription)
			return err
		}
		if err != nil {
			return err
		}
		out, err = tx.ChangeSubscription(ctx, subscription, "settle/"+key, at, transition)
		return err
	})
	return out, translate(err)
}
