package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
	"gatehouse/workflows"
)

// closureOperation is where a closure stands, for whoever was told its id: the account has no session any more.
func (c *Core) closureOperation(ctx context.Context, _ account.Caller, id uuid.UUID) (Operation, error) {
	closed, err := c.Store.ClosureStanding(ctx, id)
	if err != nil {
		return Operation{}, err
	}
	out := Operation{Kind: account.FlowClosure, Stage: account.StageGrace, ExpiresAt: &closed.EraseAt, NextActionAt: &closed.EraseAt}
	switch {
	case closed.Undone:
		out.Stage = account.StageUndone
	case closed.Erased:
		out.Stage = account.StageCompleted
	case closed.Due:
		out.Stage = account.StageErasing
	}
	return c.delivered(ctx, out, c.closureFlow(closed.AccountID), id.String(), time.Time{})
}

// loginOperation is where a login stands that awaits a code, for the login itself and for its account.
func (c *Core) loginOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	p := by.Principal
	if p == nil || p.Service() {
		return Operation{}, account.ErrNotFound
	}
	itself := p.Session != nil && p.Session.ID == id && p.Session.State == account.SessionPending
	if _, full := ownerOf(by); !full && !itself {
		return Operation{}, account.ErrNotFound
	}
	standing, err := c.Store.ChallengeStanding(ctx, id, p.Account.ID)
	if err == nil && standing.Purpose != account.PurposeDevice {
		err = account.ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	return c.provenBy(ctx, standing, account.FlowDevice, deviceFlow(id))
}

// provenBy is a flow that stands as its challenge does.
func (c *Core) provenBy(ctx context.Context, s store.Standing, kind account.FlowKind, flow string) (Operation, error) {
	out := Operation{
		Kind: kind, Stage: account.StageAwaitingProof, AttemptsLeft: max(c.Policy.CodeTries-s.Attempts, 0), ExpiresAt: &s.CodeExpiresAt,
	}
	if s.LinkExpiresAt != nil && s.LinkExpiresAt.After(s.CodeExpiresAt) {
		out.ExpiresAt = s.LinkExpiresAt
	}
	switch {
	case s.Consumed:
		out.Stage = account.StageCompleted
	case s.Over:
		out.Stage = account.StageExpired
	}
	return c.delivered(ctx, out, flow, s.ID.String(), time.Time{})
}

// codeOperation is where a code from within a session stands.
func (c *Core) codeOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	owner, ok := ownerOf(by)
	if !ok {
		return Operation{}, account.ErrNotFound
	}
	standing, err := c.Store.ChallengeStanding(ctx, id, owner)
	if err == nil && standing.Purpose != account.PurposePasswordChange {
		err = account.ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	return c.provenBy(ctx, standing, account.FlowPassword, passwordChangeFlow(owner))
}

// phoneOperation is where the verification stands that a request for a code began.
func (c *Core) phoneOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	owner, ok := ownerOf(by)
	if !ok {
		return Operation{}, account.ErrNotFound
	}
	standing, err := c.Store.ChallengeStanding(ctx, id, owner)
	if err == nil && standing.Purpose == account.PurposePhone {
		return c.provenBy(ctx, standing, account.FlowPhone, phoneFlow(owner))
	}
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return Operation{}, err
	}
	parked, err := c.Store.PhoneAttempt(ctx, id)
	if err == nil && parked.AccountID != owner {
		err = account.ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	return c.untilThen(account.FlowPhone, account.StagePending, parked.CreatedAt.Add(c.Policy.CodeTTL)), nil
}

// emailOperation is where a change or link of an email stands. In hidden enumeration mode a taken address, which nothing can
// prove, looks as any other.
func (c *Core) emailOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	owner, ok := ownerOf(by)
	if !ok {
		return Operation{}, account.ErrNotFound
	}
	change, err := c.Store.EmailChange(ctx, id)
	if errors.Is(err, account.ErrNotFound) || err == nil && change.NewEmail == "" {
		return c.pastEmailOperation(ctx, owner, id)
	}
	if err == nil && change.AccountID != owner {
		err = account.ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	kind, flow := account.FlowEmailChange, emailChangeFlow(owner)
	if change.Linking {
		kind, flow = account.FlowEmailLink, emailLinkFlow(owner)
	}
	standing, err := c.Store.ChallengeStanding(ctx, id, owner)
	missing := errors.Is(err, account.ErrNotFound)
	if err != nil && !missing {
		return Operation{}, err
	}
	out := c.untilThen(kind, account.StageAwaitingProof, change.ExpiresAt)
	switch {
	case standing.Consumed:
		out.Stage = account.StageCompleted
	case change.Closed:
		out.Stage = account.StageExpired
	case c.hidden() && !change.Linking:
		out.AttemptsLeft = c.Policy.CodeTries
	case missing && !out.Stage.Ended():
		out.Stage = account.StagePending
	default:
		out.AttemptsLeft = max(c.Policy.CodeTries-standing.Attempts, 0)
	}
	return c.delivered(ctx, out, flow, id.String(), time.Time{})
}

// pastEmailOperation is a change of email that is over and forgotten, but for what was sent about it.
func (c *Core) pastEmailOperation(ctx context.Context, owner, id uuid.UUID) (Operation, error) {
	flow, changed, err := c.Store.FlowOfStep(ctx, owner, id, templates.EmailChanged)
	if err != nil {
		return Operation{}, err
	}
	out := Operation{Kind: account.FlowEmailChange, Stage: account.StageExpired}
	switch flow {
	case emailLinkFlow(owner):
		out.Kind = account.FlowEmailLink
	case emailChangeFlow(owner):
	default:
		return Operation{}, account.ErrNotFound
	}
	if changed {
		out.Stage = account.StageCompleted
	}
	return c.delivered(ctx, out, flow, id.String(), time.Time{})
}

// linkOperation is where the link of an outside account stands.
func (c *Core) linkOperation(ctx context.Context, by account.Caller, id uuid.UUID) (Operation, error) {
	owner, ok := ownerOf(by)
	if !ok {
		return Operation{}, account.ErrNotFound
	}
	link, err := c.Store.ProviderLinkStanding(ctx, id, owner)
	if err != nil {
		return Operation{}, err
	}
	out := Operation{Kind: account.FlowProviderLink, Stage: account.StageAwaitingProvider, ExpiresAt: &link.ExpiresAt}
	switch {
	case link.Linked:
		out.Stage = account.StageCompleted
	case link.Expired:
		out.Stage = account.StageExpired
	}
	return c.delivered(ctx, out, c.linkFlow(id), "", time.Time{})
}

// newsShown is how far back the messages of a subscription go that its operation shows.
const newsShown = 45 * 24 * time.Hour

// subscriptionOperation is where a subscription of the caller stands, also before its flow has written anything.
func (c *Core) subscriptionOperation(ctx context.Context, by account.Caller, id string) (Operation, error) {
	owner, ok := ownerOf(by)
	if !ok || providerIDFault(id) != "" {
		return Operation{}, account.ErrNotFound
	}
	out := Operation{ID: id, Kind: account.FlowSubscription, Stage: account.StagePending}
	s, err := c.Store.Subscription(ctx, id)
	if errors.Is(err, account.ErrNotFound) {
		return out, c.mayBegin(ctx, owner, id)
	}
	if err == nil && s.AccountID != owner {
		err = account.ErrNotFound
	}
	if err != nil {
		return Operation{}, err
	}
	out.Stage = account.FlowStage(s.Status)
	if action, at := s.Next(c.Billing); action != account.ActionNone && !at.IsZero() {
		out.NextActionAt = &at
	}
	return c.delivered(ctx, out, workflows.SubscriptionWorkflowID(id), "", c.Clock.Now().Add(-newsShown))
}

// mayBegin returns account.ErrNotFound unless an id is that of the next subscription of an account.
func (c *Core) mayBegin(ctx context.Context, owner uuid.UUID, id string) error {
	plans, err := c.Store.Plans(ctx)
	for _, plan := range plans {
		ended, _, failed := c.Store.Generation(ctx, owner, plan.Family)
		if failed != nil || c.subscriptionID(owner, plan.Family, ended+1) == id {
			return failed
		}
	}
	return errors.Join(err, account.ErrNotFound)
}
