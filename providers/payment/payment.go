// Package payment takes money. The vendors are the lines of the table in registry.go, each with a file of its own.
package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// The errors of a Provider that are no outcome of a charge. Whatever else goes wrong leaves the outcome unknown: it may be
// tried again with the same key while the provider remembers that, and must be looked up after (see Provider.Find). No error names
// a person or a secret.
var (
	// ErrNoSuchMethod means that the payment method does not exist or cannot be used by this payer.
	ErrNoSuchMethod = errors.New("payment: no such method")
	// ErrMethodDeclined means that the payer's bank does not let the method be kept. It is an ErrNoSuchMethod as well.
	ErrMethodDeclined = fmt.Errorf("payment: the bank declined the method: %w", ErrNoSuchMethod)
	// ErrKeyUsed means that the key named another charge before: Find tells what became of that.
	ErrKeyUsed = errors.New("payment: the key was used for another charge")
	// ErrNotFound means that the provider knows of no charge with this key.
	ErrNotFound = errors.New("payment: no such charge")
)

// Provider charges payment methods of payers who are not there.
type Provider interface {
	// Name is what is stored beside the ids of this provider.
	Name() string
	// Attach makes a method usable for later charges of one payer. Repeating it returns the same method. It returns
	// ErrNoSuchMethod or ErrMethodDeclined for a method that cannot be charged.
	Attach(ctx context.Context, payer Payer, method string) (Method, error)
	// Charge asks for money once per key: repeating a charge with its key returns what became of the first one, for as long
	// as the provider remembers keys (Stripe: 24 hours). A method that is gone, or is somebody else's, is declined, and so is
	// what the provider refuses to charge for good: an amount that is too small, a payer whom it has deleted. What it refuses to
	// everybody, for a mistake of ours, is not.
	Charge(ctx context.Context, c Charge) (Outcome, error)
	// Find returns the outcome of an earlier charge of a customer by its key, however long ago, or ErrNotFound. What was charged
	// a moment ago is found as well.
	Find(ctx context.Context, customer, key string) (Outcome, error)
	// Charges calls yield with every charge that was made since a moment, oldest first, until it returns false.
	Charges(ctx context.Context, since time.Time, yield func(Outcome) bool) error
}

// Payer is an account as the provider knows it.
type Payer struct {
	AccountID uuid.UUID
	// Customer is the provider's id of the payer, empty before the first method.
	Customer string
	Email    string
}

// Method is a payment method that belongs to a payer.
type Method struct {
	// ID is what charges name. It may differ from what the client sent.
	ID       string
	Customer string
	// Fingerprint is the same for the same card, whoever shows it; empty where the provider tells none.
	Fingerprint string
	Brand       string
	Last4       string
	ExpiresAt   *time.Time
}

// Charge is money asked for.
type Charge struct {
	// Key names the charge for ever: an invoice and the number of its attempt.
	Key       string
	InvoiceID string
	Customer  string
	MethodID  string
	Amount    account.Money
}

// OutcomeState is what became of a charge.
type OutcomeState string

// The states. Processing charges are to be looked up again.
const (
	Succeeded  OutcomeState = "succeeded"
	Declined   OutcomeState = "declined"
	Processing OutcomeState = "processing"
)

// Outcome is what a provider says of a charge.
type Outcome struct {
	// ID is the provider's id of the charge, empty for one that was declined before the provider made a record of it.
	ID    string
	Key   string
	State OutcomeState
	// Decline says why; it is set for declined charges.
	Decline account.Decline
	Amount  account.Money
	At      time.Time
}
