package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// OperationInput names a running flow by the id that its start returned.
type OperationInput struct {
	ID string
}

// Operation is where a flow stands, for whoever holds its id (design D16). It names no person and no address.
type Operation struct {
	ID           uuid.UUID
	Kind         string
	Stage        string
	AttemptsLeft int
	ExpiresAt    *time.Time
	Deliveries   []Delivery
}

// Delivery is one message of a flow: how it leaves, and how far it got.
type Delivery struct {
	Channel     string
	State       string
	Attempts    int
	NextRetryAt *time.Time
}

// Operation returns where a sign-up or the verification of a number stands, for whoever holds its id. It returns account.ErrNotFound for any other.
func (c *Core) Operation(ctx context.Context, _ account.Caller, in OperationInput) (Operation, error) {
	id, err := uuid.Parse(in.ID)
	if err != nil {
		return Operation{}, account.ErrNotFound.Because(err)
	}
	attempt, err := c.Store.Signup(ctx, id)
	if errors.Is(err, account.ErrNotFound) {
		return c.phoneOperation(ctx, id)
	}
	if err != nil {
		return Operation{}, err
	}
	out := Operation{ID: id, Kind: "signup", Stage: "pending", ExpiresAt: &attempt.ExpiresAt}
	unproven, err := c.unproven(ctx, attempt)
	if err != nil {
		return Operation{}, err
	}
	if unproven {
		expires := attempt.CreatedAt.Add(c.Policy.UnverifiedTTL)
		out.Stage, out.ExpiresAt = "awaiting_proof", &expires
	}
	purpose := account.PurposeSignup
	if attempt.Kind == account.SignupByRegister {
		purpose = account.PurposeEmail
	}
	live, err := c.Store.LiveChallenge(ctx, purpose, c.Keys.Subject(string(purpose), attempt.Email))
	switch {
	case err == nil:
		out.Stage, out.AttemptsLeft = "awaiting_proof", max(c.Policy.CodeTries-live.Attempts, 0)
	case !errors.Is(err, account.ErrNotFound):
		return Operation{}, err
	case attempt.Closed && !unproven:
		out.Stage, out.ExpiresAt = "completed", nil
	case attempt.ExpiresAt.Before(c.Clock.Now()) && !attempt.Closed:
		out.Stage = "expired"
	}
	sent, err := c.Store.Deliveries(ctx, c.flowID(attempt.Kind, attempt.Email), "", attempt.CreatedAt)
	for _, d := range sent {
		out.Deliveries = append(out.Deliveries, Delivery(d))
	}
	return out, err
}

// unproven reports whether an attempt made an account whose address nobody has proven yet.
func (c *Core) unproven(ctx context.Context, attempt account.SignupAttempt) (bool, error) {
	if attempt.AccountID == nil {
		return false, nil
	}
	owner, err := c.Store.OwnerOf(ctx, attempt.Email)
	if errors.Is(err, account.ErrNotFound) {
		return false, nil
	}
	return owner.AccountID == *attempt.AccountID && !owner.Verified, err
}
