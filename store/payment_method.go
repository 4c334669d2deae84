package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PaymentMethod is a payment method of an account.
type PaymentMethod struct {
	Provider string
	ID       string
	// Shown is what the client named; the provider may have answered with another id.
	Shown       string
	AccountID   uuid.UUID
	Customer    string
	Fingerprint string
	Brand       string
	Last4       string
	ExpiresAt   *time.Time
}

// KeepPaymentMethod binds a payment method to the account that shows it first (PAY-09). Repeating it renews what is known of
// the card. It returns account.ErrNotFound when the method belongs to another account.
func (s *Store) KeepPaymentMethod(ctx context.Context, m PaymentMethod) error {
	res, err := s.db.NewRaw(`
		INSERT INTO payment_methods AS m (provider, id, account_id, customer, shown, fingerprint, brand, last4, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (provider, id) DO UPDATE SET customer = EXCLUDED.customer, shown = EXCLUDED.shown, fingerprint = EXCLUDED.fingerprint,
			brand = EXCLUDED.brand, last4 = EXCLUDED.last4, expires_at = EXCLUDED.expires_at
		WHERE m.account_id = EXCLUDED.account_id`,
		m.Provider, m.ID, m.AccountID, m.Customer, m.Shown, m.Fingerprint, m.Brand, m.Last4, m.ExpiresAt).Exec(ctx)
	return touched(res, err)
}

// PayerOf returns the provider's newest id of an account as a payer, empty before its first method, and refuses a method that
// belongs to another account with account.ErrNotFound, before anybody asks the provider.
func (s *Store) PayerOf(ctx context.Context, provider, method string, accountID uuid.UUID) (customer string, err error) {
	var foreign bool
	err = s.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM payment_methods WHERE provider = ?0 AND id = ?1 AND account_id <> ?2),
			coalesce((SELECT customer FROM payment_methods WHERE provider = ?0 AND account_id = ?2 ORDER BY created_at DESC LIMIT 1), '')`,
		provider, method, accountID).Scan(ctx, &foreign, &customer)
	if err == nil && foreign {
		err = account.ErrNotFound
	}
	return customer, translate(err)
}

// AwaitedCharge returns the subscription whose charge has this key, or account.ErrNotFound unless that charge was begun at least
// so long ago and has no outcome yet.
func (s *Store) AwaitedCharge(ctx context.Context, key string, age time.Duration) (subscription string, err error) {
	err = s.db.NewRaw(`
		SELECT i.subscription_id FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE t.key = ? AND t.state = 'pending' AND t.created_at <= now() - ? * interval '1 second'`, key, seconds(age)).Scan(ctx, &subscription)
	return subscription, translate(err)
}

// MethodShown returns what the client named a payment method of an account, or nothing for one that is not known.
func (s *Store) MethodShown(ctx context.Context, accountID uuid.UUID, id string) (string, error) {
	var shown string
	err := s.db.NewRaw(`SELECT coalesce((SELECT shown FROM payment_methods WHERE id = ? AND account_id = ? LIMIT 1), '')`, id, accountID).
		Scan(ctx, &shown)
	return shown, translate(err)
}
