package core

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
	"gatehouse/workflows"
)

// RetryState is what became of the wish to send a message once more.
type RetryState string

// The answers to RetryMessage.
const (
	// RetryStarted means that the flow MessageRetry sends it.
	RetryStarted RetryState = "started"
	// RetryRunning means that somebody has asked for that already.
	RetryRunning RetryState = "already under way"
	// RetryNotDue means that it was accepted, or that its own flow still tries.
	RetryNotDue RetryState = "not given up"
	// RetryImpossible means that nothing is left to send it from: its account was erased, or it is older than the release that
	// could do it.
	RetryImpossible RetryState = "cannot be sent again"
)

// RetryMessage has a message sent once more that was refused for good or came too late. Asking twice sends it once. It returns
// account.ErrNotFound for an unknown id, and account.ErrUnavailable without Temporal. A code whose time is over is not sent:
// the flow says so.
func (c *Core) RetryMessage(ctx context.Context, id uuid.UUID) (RetryState, error) {
	m, err := c.Store.Message(ctx, id)
	if err != nil {
		return "", err
	}
	return c.retry(ctx, m)
}

func (c *Core) retry(ctx context.Context, m store.Message) (RetryState, error) {
	if m.State != string(store.MessageDead) && m.State != string(store.MessageExpired) {
		return RetryNotDue, nil
	}
	if _, err := m.Recipe(); err != nil {
		return RetryImpossible, nil //nolint:nilerr // that is what it means
	}
	owner := uuid.Nil
	if m.AccountID != nil {
		owner = *m.AccountID
	}
	started, err := c.Flows.Revive(ctx, workflows.StartMessageRetry(m.ID, owner, m.Template, c.Clock.Now()))
	if err != nil {
		return "", err
	}
	if !started {
		return RetryRunning, nil
	}
	c.Log.InfoContext(ctx, "message is sent once more", "audit", "message_retried", "message", m.ID, "flow", m.Flow,
		"template", m.Template, "channel", m.Channel, "was", m.State, "by", account.ActingIn(ctx).ID)
	return RetryStarted, nil
}

// MessagesOf lists messages for operators, the newest first: those of an address and the account that has it, or of everybody
// for an empty one. Those of flows whose id nothing leads to are found by their account alone.
func (c *Core) MessagesOf(ctx context.Context, email string, f store.MessageFilter) ([]store.Message, error) {
	if email == "" {
		return c.Store.Messages(ctx, f)
	}
	f.Flows = append(f.Flows, c.flowsOfEmail(email)...)
	owner, err := c.Store.OwnerOf(ctx, email)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		f.Account = &owner.AccountID
	}
	return c.Store.Messages(ctx, f)
}
