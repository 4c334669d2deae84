// Package core holds the operations that a client can ask for, one per documented endpoint: an Input with Validate, then
// one read of the store or one ask of a workflow. It knows no HTTP and no dialect; every dialect calls the same functions.
package core

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/singleflight"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/providers/identity"
	"gatehouse/providers/payment"
	"gatehouse/store"
)

// Deps is what the operations stand on.
type Deps struct {
	Store   *store.Store
	Flows   *durable.Client
	Keyring *durable.Keyring
	Keys    *secret.Keys
	Hasher  *secret.Hasher
	Tokens  *secret.AccessTokens
	// Identity are the outside identity providers.
	Identity *identity.Providers
	// PaymentNotices reads what the payment provider tells by itself.
	PaymentNotices *payment.Webhook
	// LinkRedirect is where they send people back to.
	LinkRedirect string
	// RequireAssertion wants requests of service keys to be signed, and lets nobody else say whose an outside account is.
	RequireAssertion bool
	Policy           account.Policy
	// Billing is the terms of subscriptions.
	Billing account.BillingRules
	Clock   account.Clock
	Log     *slog.Logger
	// Locate tells roughly where an address is, or nothing. Nil knows no places.
	Locate func(netip.Addr) string
	// Meter counts what operators watch; nil counts nothing.
	Meter Meter
	// ServeInbox serves the development inbox.
	ServeInbox bool
	// RequestTimeout bounds how long an idempotency key is held by a caller that died.
	RequestTimeout time.Duration
}

// Core is the operations. All are safe for concurrent use. Those behind a route have one shape: context, caller and input in,
// output and error out. Those that api/middleware calls around routes (such as Authenticate) and those of commands (such as
// FindFlows) have shapes of their own.
type Core struct {
	Deps
	jwks []byte
	// opening lets equal requests for a subscription that come at once open it once, and share the answer.
	opening singleflight.Group
	// pads pad response times that would tell whether an address is known.
	pads *responsePads
}

// Meter counts what operators watch.
type Meter interface {
	// Limited counts a refusal by a rate limit per client address.
	Limited(limit account.RateLimit)
	// Guessed counts a code that was tried.
	Guessed(purpose account.Purpose, result account.GuessResult)
	// Alerted counts an event that the log holds for the operators' alarms.
	Alerted(alert string)
}

type uncounted struct{}

func (uncounted) Limited(account.RateLimit)                    {}
func (uncounted) Guessed(account.Purpose, account.GuessResult) {}
func (uncounted) Alerted(string)                               {}

// New returns the operations on d.
func New(d Deps) (*Core, error) {
	if d.Meter == nil {
		d.Meter = uncounted{}
	}
	jwks, err := d.Tokens.JWKS()
	if err != nil {
		return nil, fmt.Errorf("publish the signing key: %w", err)
	}
	return &Core{Deps: d, jwks: jwks, pads: newPads(d.Clock)}, nil
}

// PublicKeys returns the JSON Web Key Set of the access tokens.
func (c *Core) PublicKeys() []byte { return c.jwks }

// pending turns an unknown outcome of a start into the answer that it goes on (design D2).
func pending(err error, operation string) error {
	if errors.Is(err, account.ErrOutcomeUnknown) {
		return account.ErrPending.Running(operation).Because(err)
	}
	return err
}
