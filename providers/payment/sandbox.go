package payment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers"
)

// Ledger keeps the sandbox's books. All but Charges may be called at once with the same ids.
type Ledger interface {
	// PutSandboxMethod keeps a method, once per id.
	PutSandboxMethod(ctx context.Context, m account.SandboxMethod) error
	// SandboxMethod returns a method, or account.ErrNotFound.
	SandboxMethod(ctx context.Context, id string) (account.SandboxMethod, error)
	// PutSandboxCharge enters a charge, once per key, and returns the one that is there now.
	PutSandboxCharge(ctx context.Context, c account.SandboxCharge) (account.SandboxCharge, error)
	// SandboxCharge returns the charge with a key, or account.ErrNotFound.
	SandboxCharge(ctx context.Context, key string) (account.SandboxCharge, error)
	// SandboxCharges returns the next charges since a moment and, at that moment, after an id: oldest first.
	SandboxCharges(ctx context.Context, since time.Time, after string, limit int) ([]account.SandboxCharge, error)
	// TakeSandboxFault returns what goes wrong with a charge, or account.ErrNotFound.
	TakeSandboxFault(ctx context.Context, testID, key string) (account.SandboxFault, error)
}

// sandbox is the provider of a developer's machine: it knows Stripe's test payment methods, moves no money, keeps a ledger of
// its own, remembers keys for ever, and fails as it is told.
type sandbox struct {
	ledger Ledger
	clock  account.Clock
	cards  map[string]TestCard
}

// NewSandbox returns the provider that moves no money.
func NewSandbox(ledger Ledger, clock account.Clock) Provider {
	return &sandbox{ledger: ledger, clock: clock, cards: TestCards()}
}

// Name returns "sandbox".
func (*sandbox) Name() string { return "sandbox" }

// Attach takes Stripe's test ids, and the ids that it has returned to the same payer. A test id becomes a method of the payer's
// own, as it does at Stripe.
func (s *sandbox) Attach(ctx context.Context, payer Payer, method string) (Method, error) {
	customer := payer.Customer
	if customer == "" {
		customer = sandboxID("cus_", payer.AccountID.String())
	}
	kept := account.SandboxMethod{ID: sandboxID("pm_", customer, method), Customer: customer, TestID: method}
	if _, known := s.cards[method]; known {
		if err := s.ledger.PutSandboxMethod(ctx, kept); err != nil {
			return Method{}, s.tellable(ctx, err)
		}
		return s.method(kept), nil
	}
	kept, err := s.ledger.SandboxMethod(ctx, method)
	if errors.Is(err, account.ErrNotFound) || err == nil && kept.Customer != customer {
		return Method{}, ErrNoSuchMethod
	}
	if err != nil {
		return Method{}, s.tellable(ctx, err)
	}
	return s.method(kept), nil
}

func (s *sandbox) method(kept account.SandboxMethod) Method {
	card := s.cards[kept.TestID]
	expires := time.Date(2040, time.December, 31, 23, 59, 59, 0, time.UTC)
	return Method{
		ID: kept.ID, Customer: kept.Customer, Fingerprint: sandboxID("card_", card.Brand, card.Last4), Brand: card.Brand,
		Last4: card.Last4, ExpiresAt: &expires,
	}
}

// Charge enters the charge into the ledger, unless its key is there.
func (s *sandbox) Charge(ctx context.Context, c Charge) (Outcome, error) {
	method, err := s.ledger.SandboxMethod(ctx, c.MethodID)
	if errors.Is(err, account.ErrNotFound) || err == nil && method.Customer != c.Customer {
		return Outcome{
			Key: c.Key, State: Declined, Decline: declined(CodeNoSuchMethod), Amount: c.Amount, At: s.clock.Now(),
		}, nil
	}
	if err != nil {
		return Outcome{}, s.tellable(ctx, err)
	}
	fault, err := s.ledger.TakeSandboxFault(ctx, method.TestID, c.Key)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return Outcome{}, s.tellable(ctx, err)
	}
	entry := account.SandboxCharge{
		ID: "ch_" + uuid.NewString(), Key: c.Key, InvoiceID: c.InvoiceID, Customer: c.Customer, MethodID: c.MethodID, Amount: c.Amount,
		DeclineCode: s.cards[method.TestID].DeclineCode,
	}
	return s.enter(ctx, entry, fault)
}

// enter is the charge itself, with what goes wrong before and after it.
func (s *sandbox) enter(ctx context.Context, entry account.SandboxCharge, fault account.SandboxFault) (Outcome, error) {
	switch fault.Kind {
	case account.SandboxDown:
		return Outcome{}, providers.Temporary(errors.New("sandbox: down, as scripted"), 0)
	case account.SandboxWait:
		if err := wait(ctx, fault.Delay); err != nil {
			return Outcome{}, s.tellable(ctx, err)
		}
	case account.SandboxDecline:
		entry.DeclineCode = cmp.Or(fault.Code, codeGeneric)
	case account.SandboxProcessing:
		entry.Settles = fault.Delay
	case account.SandboxSlow, account.SandboxLost:
	}
	kept, err := s.ledger.PutSandboxCharge(ctx, entry)
	if err != nil {
		return Outcome{}, s.tellable(ctx, err)
	}
	if fault.Kind == account.SandboxSlow || fault.Kind == account.SandboxLost {
		if err := wait(ctx, fault.Delay); err != nil {
			return Outcome{}, s.tellable(ctx, err)
		}
	}
	if fault.Kind == account.SandboxLost {
		return Outcome{}, providers.Temporary(errors.New("sandbox: the answer is lost, as scripted"), 0)
	}
	if kept.InvoiceID != entry.InvoiceID || kept.Customer != entry.Customer || kept.MethodID != entry.MethodID || kept.Amount != entry.Amount {
		return Outcome{}, ErrKeyUsed
	}
	return outcomeOf(kept), nil
}

// Find looks into the ledger.
func (s *sandbox) Find(ctx context.Context, customer, key string) (Outcome, error) {
	c, err := s.ledger.SandboxCharge(ctx, key)
	if errors.Is(err, account.ErrNotFound) || err == nil && c.Customer != customer {
		return Outcome{}, ErrNotFound
	}
	if err != nil {
		return Outcome{}, s.tellable(ctx, err)
	}
	return outcomeOf(c), nil
}

const ledgerPage = 500

// Charges reads the ledger in pages.
func (s *sandbox) Charges(ctx context.Context, since time.Time, yield func(Outcome) bool) error {
	after := ""
	for {
		page, err := s.ledger.SandboxCharges(ctx, since, after, ledgerPage)
		if err != nil {
			return s.tellable(ctx, err)
		}
		for _, c := range page {
			if !yield(outcomeOf(c)) {
				return nil
			}
			since, after = c.CreatedAt, c.ID
		}
		if len(page) < ledgerPage {
			return nil
		}
	}
}

func outcomeOf(c account.SandboxCharge) Outcome {
	o := Outcome{ID: c.ID, Key: c.Key, State: Succeeded, Amount: c.Amount, At: c.CreatedAt}
	switch {
	case c.Settles > 0:
		o.State = Processing
	case c.DeclineCode != "":
		o.State, o.Decline = Declined, declined(c.DeclineCode)
	}
	return o
}

// tellable drops the store's own words: a database error may quote the row.
func (*sandbox) tellable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return providers.Temporary(ctx.Err(), 0)
	}
	return providers.Temporary(errors.New("sandbox: the store failed: "+account.AsError(err).Code), 0)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sandboxID is always the same for the same parts, which is what makes Attach repeatable.
func sandboxID(prefix string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return prefix + hex.EncodeToString(h.Sum(nil)[:12])
}
