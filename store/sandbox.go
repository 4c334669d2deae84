package store

import (
	"context"
	"time"

	"gatehouse/account"
)

// PutSandboxMethod keeps a payment method of the sandbox, once per id.
func (s *Store) PutSandboxMethod(ctx context.Context, m account.SandboxMethod) error {
	_, err := s.db.NewRaw(`INSERT INTO sandbox_methods (id, customer, test_id) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		m.ID, m.Customer, m.TestID).Exec(ctx)
	return translate(err)
}

// SandboxMethod returns a payment method of the sandbox, or account.ErrNotFound.
func (s *Store) SandboxMethod(ctx context.Context, id string) (account.SandboxMethod, error) {
	m := account.SandboxMethod{ID: id}
	err := s.db.NewRaw(`SELECT customer, test_id FROM sandbox_methods WHERE id = ?`, id).Scan(ctx, &m.Customer, &m.TestID)
	return m, translate(err)
}

const sandboxChargeColumns = `id, key, invoice_id, customer, method_id, amount, currency, decline_code, created_at,
	coalesce(greatest(0, extract(epoch FROM settles_at - now())), 0)::float8`

func sandboxChargeTargets(c *account.SandboxCharge, settles *float64) []any {
	return []any{
		&c.ID, &c.Key, &c.InvoiceID, &c.Customer, &c.MethodID, &c.Amount.Amount, &c.Amount.Currency, &c.DeclineCode, &c.CreatedAt,
		settles,
	}
}

// PutSandboxCharge enters a charge into the sandbox's ledger, unless there is one with its key. It returns the one that is
// there now.
func (s *Store) PutSandboxCharge(ctx context.Context, c account.SandboxCharge) (account.SandboxCharge, error) {
	var kept account.SandboxCharge
	var settles float64
	// Writing the key over itself returns the row that was there, also one that another charge is just making.
	err := s.db.NewRaw(`
		INSERT INTO sandbox_charges (id, key, invoice_id, customer, method_id, amount, currency, decline_code, settles_at)
		VALUES (?0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, CASE WHEN ?8 > 0 THEN now() + ?8 * interval '1 second' END)
		ON CONFLICT (key) DO UPDATE SET key = EXCLUDED.key
		RETURNING `+sandboxChargeColumns,
		c.ID, c.Key, c.InvoiceID, c.Customer, c.MethodID, c.Amount.Amount, c.Amount.Currency, c.DeclineCode, seconds(c.Settles)).
		Scan(ctx, sandboxChargeTargets(&kept, &settles)...)
	kept.Settles = time.Duration(settles * float64(time.Second))
	return kept, translate(err)
}

// SandboxCharge returns the charge with a key, or account.ErrNotFound.
func (s *Store) SandboxCharge(ctx context.Context, key string) (account.SandboxCharge, error) {
	var c account.SandboxCharge
	var settles float64
	err := s.db.NewRaw(`SELECT `+sandboxChargeColumns+` FROM sandbox_charges WHERE key = ?`, key).
		Scan(ctx, sandboxChargeTargets(&c, &settles)...)
	c.Settles = time.Duration(settles * float64(time.Second))
	return c, translate(err)
}

// SandboxCharges returns a page of the sandbox's ledger, oldest first: at most limit charges that were made since a moment, of
// those made at that very moment the ones whose id comes after another.
func (s *Store) SandboxCharges(ctx context.Context, since time.Time, after string, limit int) ([]account.SandboxCharge, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT `+sandboxChargeColumns+` FROM sandbox_charges WHERE (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?`,
		since, after, limit)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var page []account.SandboxCharge
	for rows.Next() {
		var c account.SandboxCharge
		var settles float64
		if err := rows.Scan(sandboxChargeTargets(&c, &settles)...); err != nil {
			return nil, translate(err)
		}
		c.Settles = time.Duration(settles * float64(time.Second))
		page = append(page, c)
	}
	return page, translate(rows.Err())
}

// ScriptSandbox makes charges in the sandbox go wrong, in the order of the scripts.
func (s *Store) ScriptSandbox(ctx context.Context, f account.SandboxFault) error {
	_, err := s.db.NewRaw(`INSERT INTO sandbox_faults (kind, test_id, key_prefix, code, delay_ms, times) VALUES (?, ?, ?, ?, ?, ?)`,
		f.Kind, f.TestID, f.KeyPrefix, f.Code, f.Delay.Milliseconds(), f.Times).Exec(ctx)
	return translate(err)
}

// TakeSandboxFault returns what goes wrong with one charge and counts it, or account.ErrNotFound when nothing does.
func (s *Store) TakeSandboxFault(ctx context.Context, testID, key string) (account.SandboxFault, error) {
	f := account.SandboxFault{Times: 1}
	var delay int64
	err := s.db.NewRaw(`
		UPDATE sandbox_faults SET times = times - 1 WHERE id = (
			SELECT id FROM sandbox_faults
			WHERE times > 0 AND test_id IN ('', ?0) AND starts_with(?1, key_prefix) ORDER BY id LIMIT 1 FOR UPDATE)
		RETURNING kind, test_id, key_prefix, code, delay_ms`, testID, key).Scan(ctx, &f.Kind, &f.TestID, &f.KeyPrefix, &f.Code, &delay)
	f.Delay = time.Duration(delay) * time.Millisecond
	return f, translate(err)
}
