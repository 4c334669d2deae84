package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

// OperationInput names a flow by the id that its start returned.
type OperationInput struct {
	ID string
}

// Operation is where a flow stands, for whoever it was begun by (design D16). It names no person and no address.
type Operation struct {
	ID    string
	Kind  account.FlowKind
	Stage account.FlowStage
	// AttemptsLeft is how many guesses of the newest code are still compared.
	AttemptsLeft int
	// ExpiresAt is when the flow gives up, NextActionAt when it does something by itself; nil for never.
	ExpiresAt    *time.Time
	NextActionAt *time.Time
	Deliveries   []Delivery
}

// Delivery is one message of a flow: how it leaves, and how far it got.
type Delivery struct {
	Channel  string
	State    string
	Attempts int
	// NextRetryAt is nil while an attempt is under way, and when no other will follow.
	NextRetryAt *time.Time
}

// Operation returns where a flow stands that the caller has begun or joined. The flow of an account tells its owner alone, by a
// session or key; that of a login also its pending session. Whoever holds the id of a sign-up or of a closure may ask: it
// cannot be guessed. Where the answer would tell whether an address has an account, it is that of the clock: a password reset
// always, a sign-up in hidden enumeration mode. It returns account.ErrNotFound for any other id.
func (c *Core) Operation(ctx context.Context, by account.Caller, in OperationInput) (Operation, error) {
	if strings.HasPrefix(in.ID, subscriptionPrefix) {
		return c.subscriptionOperation(ctx, by, in.ID)
	}
	id, err := named(in.ID)
	if err != nil {
		return Operation{}, err
	}
	for _, look := range []func(context.Context, account.Caller, uuid.UUID) (Operation, error){
		c.promisedOperation, c.signupOperation, c.closureOperation, c.loginOperation,
		c.phoneOperation, c.emailOperation, c.linkOperation, c.codeOperation, c.pendingOperation,
	} {
		out, err := look(ctx, by, id)
		if errors.Is(err, account.ErrNotFound) {
			continue
		}
		out.ID = id.String()
		if out.Stage.Ended() {
			out.AttemptsLeft, out.ExpiresAt, out.NextActionAt = 0, nil, nil
		}
		return out, err
	}
	return Operation{}, account.ErrNotFound
}

// operationID is the id of an operation that no row stands for before its flow has begun: for an account, or for whoever holds
// it.
func (c *Core) operationID(by account.Caller, kind account.FlowKind) uuid.UUID {
	owner := uuid.Nil
	if kind != account.FlowClosure { // nobody can sign in afterwards
		owner = by.Principal.Account.ID
	}
	return c.Keys.OperationID(secret.OperationKind{Flow: kind}, owner, keyUse(by), c.Clock.Now())
}

// blindOperation is the id of an operation that tells nothing but the time.
func (c *Core) blindOperation(kind account.FlowKind) string {
	return c.Keys.OperationID(secret.OperationKind{Flow: kind, Blind: true}, uuid.Nil, "", c.Clock.Now()).String()
}

// signupOperationID is the id by which whoever began a sign-up may look at it.
func (c *Core) signupOperationID(attempt uuid.UUID) string {
	if c.hidden() {
		return c.blindOperation(account.FlowSignup)
	}
	return attempt.String()
}

// promisedOperation is an operation of which only the clock is told.
func (c *Core) promisedOperation(_ context.Context, _ account.Caller, id uuid.UUID) (Operation, error) {
	kind, began, ok := c.Keys.Operation(id, uuid.Nil)
	if !ok || !kind.Blind {
		return Operation{}, account.ErrNotFound
	}
	life := c.Policy.ResetTTL
	if kind.Flow == account.FlowSignup {
		life = c.Policy.SignupTTL
	}
	return c.untilThen(kind.Flow, account.StageAwaitingProof, began.Add(life)), nil
}

// pendingOperation is one whose flow has not done anything yet: no worker has come to it.
func (c *Core) pendingOperation(_ context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	owners := []uuid.UUID{uuid.Nil}
	if owner, ok := ownerOf(by); ok {
		owners = append(owners, owner)
	}
	for _, owner := range owners {
		kind, began, ok := c.Keys.Operation(id, owner)
		switch {
		case !ok || kind.Blind:
		case began.IsZero():
			return Operation{Kind: kind.Flow, Stage: account.StagePending}, nil
		default:
			return c.untilThen(kind.Flow, account.StagePending, began.Add(c.pendingLife(kind.Flow))), nil
		}
	}
	return Operation{}, account.ErrNotFound
}

// pendingLife is how long a flow that does not begin is worth waiting for. A closure waits until it can.
func (c *Core) pendingLife(kind account.FlowKind) time.Duration {
	if kind == account.FlowClosure {
		return c.Policy.ClosureGrace
	}
	return c.Policy.CodeTTL
}

// untilThen is an operation at a stage which ends by the clock.
func (c *Core) untilThen(kind account.FlowKind, stage account.FlowStage, end time.Time) Operation {
	if !end.After(c.Clock.Now()) {
		return Operation{Kind: kind, Stage: account.StageExpired}
	}
	return Operation{Kind: kind, Stage: stage, ExpiresAt: &end}
}

// ownerOf is the account of a caller who may see what belongs to it.
func ownerOf(by account.Caller) (uuid.UUID, bool) {
	p := by.Principal
	if p == nil || p.Service() || p.Session != nil && p.Session.State == account.SessionPending {
		return uuid.Nil, false
	}
	return p.Account.ID, true
}

// delivered adds the messages of a flow: those of steps that name part, made since a moment.
func (c *Core) delivered(ctx context.Context, out Operation, flow, part string, since time.Time) (Operation, error) {
	sent, err := c.Store.Deliveries(ctx, flow, part, since)
	for _, d := range sent {
		out.Deliveries = append(out.Deliveries, Delivery(d))
	}
	return out, err
}

// signupOperation is where a sign-up stands.
func (c *Core) signupOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	attempt, err := c.Store.Signup(ctx, id)
	if err != nil {
		return Operation{}, err
	}
	owner, signedIn := ownerOf(by)
	own := signedIn && attempt.AccountID != nil && *attempt.AccountID == owner
	if !own && c.hidden() {
		return Operation{}, account.ErrNotFound // nobody was given this id
	}
	out := Operation{Kind: account.FlowSignup, Stage: account.StagePending, ExpiresAt: &attempt.ExpiresAt}
	unproven, err := c.unproven(ctx, attempt)
	if err != nil {
		return Operation{}, err
	}
	if unproven {
		expires := attempt.CreatedAt.Add(c.Policy.UnverifiedTTL)
		out.Stage, out.ExpiresAt = account.StageAwaitingProof, &expires
	}
	purpose := account.PurposeSignup
	if attempt.Kind == account.SignupByRegister {
		purpose = account.PurposeEmail
	}
	live, err := c.Store.LiveChallenge(ctx, purpose, c.Keys.Subject(string(purpose), attempt.Email))
	switch {
	case err == nil:
		out.Stage, out.AttemptsLeft = account.StageAwaitingProof, max(c.Policy.CodeTries-live.Attempts, 0)
	case !errors.Is(err, account.ErrNotFound):
		return Operation{}, err
	case attempt.Closed && !unproven:
		out.Stage = account.StageCompleted
	case attempt.ExpiresAt.Before(c.Clock.Now()) && !attempt.Closed:
		out.Stage = account.StageExpired
	}
	return c.delivered(ctx, out, c.flowID(attempt.Kind, attempt.Email), "", attempt.CreatedAt)
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
