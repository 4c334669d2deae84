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

// Operation returns where a sign-up stands, for whoever holds its id. It returns account.ErrNotFound for any other.
func (c *Core) Operation(ctx context.Context, _ account.Caller, in OperationInput) (Operation, error) {
	id, err := uuid.Parse(in.ID)
	if err != nil {
		return Operation{}, account.ErrNotFound.Because(err)
	}
	attempt, err := c.Store.Signup(ctx, id)
	if err != nil {
		return Operation{}, err
	}
	out := Operation{ID: id, Kind: "signup", Stage: "pending", ExpiresAt: &attempt.ExpiresAt}
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
	case attempt.Closed:
		out.Stage, out.ExpiresAt = "completed", nil
	}
	sent, err := c.Store.Deliveries(ctx, c.flowID(attempt.Kind, attempt.Email), attempt.CreatedAt)
	for _, d := range sent {
		out.Deliveries = append(out.Deliveries, Delivery{Channel: d.Channel, State: d.State, Attempts: d.Attempts})
	}
	return out, err
}
