package core

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/providers/templates"
	"gatehouse/store"
	"gatehouse/workflows"
)

// CloseAccountInput closes the caller's account (C01). An account with a password is closed by its Password, one without
// by Confirm (contract X18).
type CloseAccountInput struct {
	Password string
	Confirm  bool
}

// closureGuard is what a closure may last beyond its term: a receipt that waits for the mail server, twice over.
const closureGuard = 72 * time.Hour

// CloseAccount closes the caller's account for good, after a term of grace in which the mailed link opens it again (C01,
// conventions 17). From the answer on nothing of it is of any use: no session, no API key, no password; its email and
// username are free for anybody. It returns account.ErrConfirmationRequired without the proof that the account needs,
// account.ErrInvalidPassword and account.ErrTooManyRequests for wrong passwords, which count as failed logins of the account
// (security.md SES-13), and account.ErrReauthenticationRequired for a confirmation without a fresh authentication, and
// account.ErrPending when the flow does not answer in time but goes on.
func (c *Core) CloseAccount(ctx context.Context, by account.Caller, in CloseAccountInput) (None, error) {
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	if err := c.mayClose(ctx, by, in); err != nil {
		return None{}, err
	}
	a, id := by.Principal.Account, c.operationID(by, account.FlowClosure)
	by.Begin(id.String())
	closing := durable.Ask{
		WorkflowID: c.closureFlow(a.ID), Workflow: workflows.AccountClosureWorkflow, Queue: durable.QueueFlows,
		Input:   workflows.AccountClosureInput{AccountID: a.ID, ClosureID: id, SessionID: shownBy(by).Session},
		Update:  workflows.ClosureClose,
		Summary: "Closure of " + maskedName(a),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet(string(account.FlowClosure)), durable.FlowStage.ValueSet("closing"),
			durable.AccountID.ValueSet(a.ID.String()),
			durable.NextActionAt.ValueSet(c.Clock.Now().Add(c.Policy.ClosureGrace)),
		},
		ExecutionTimeout: c.Policy.ClosureGrace + closureGuard,
	}
	err := c.Flows.Ask(ctx, closing, nil)
	if err == nil {
		err = c.requireClosed(ctx, a.ID, closing)
	}
	return None{}, pending(err, id.String())
}

// requireClosed returns nil once an account is closed, by a flow that says so. The flow may know of a former closure alone, which
// was undone without its knowing: told of that it ends, and another one closes the account. It returns account.ErrUnavailable for
// an account that is open after all.
func (c *Core) requireClosed(ctx context.Context, id uuid.UUID, closing durable.Ask) error {
	closed, err := c.Store.AccountClosed(ctx, id)
	if err != nil || closed {
		return err
	}
	former, err := c.Store.LastUndoneClosure(ctx, id)
	if err != nil {
		return account.ErrUnavailable.Because(err)
	}
	undo := durable.Tell{WorkflowID: closing.WorkflowID, Update: workflows.ClosureUndo, Arg: workflows.UndoRequest{ClosureID: former}}
	if err := c.Flows.Tell(ctx, undo, nil); err != nil && !closureHasNoFlow(err) && !errors.Is(err, account.ErrInvalidToken) {
		return account.ErrUnavailable.Because(err)
	}
	if err := c.Flows.Ask(ctx, closing, nil); err != nil {
		return err
	}
	if closed, err = c.Store.AccountClosed(ctx, id); err == nil && !closed {
		err = account.ErrUnavailable.Because(errors.New("the flow answers for a former closure"))
	}
	return err
}

// closureHasNoFlow reports whether what the flow of an account's closure answered to an undo means that it does not run, or is the
// flow of another closure.
func closureHasNoFlow(err error) bool {
	return errors.Is(err, durable.ErrNoFlow) || errors.Is(err, account.ErrNotFound)
}

// mayClose judges the proof. A key with account:security was given in a fresh session.
func (c *Core) mayClose(ctx context.Context, by account.Caller, in CloseAccountInput) error {
	if by.Principal.APIKey != nil && !by.Principal.Can(account.ScopeSecurity) {
		return account.ErrInsufficientScope
	}
	if by.Principal.Account.HasPassword {
		if in.Password == "" {
			return account.ErrConfirmationRequired
		}
		_, err := c.provePassword(ctx, by, in.Password)
		return err
	}
	if !in.Confirm {
		return account.ErrConfirmationRequired
	}
	return c.requireFresh(by)
}

func (c *Core) closureFlow(accountID uuid.UUID) string {
	return c.Keys.FlowID("closure", "account", accountID.String())
}

func maskedName(a account.Account) string {
	if a.Email == nil {
		return "an account"
	}
	return account.MaskEmail(*a.Email)
}

// UndoClosureInput opens a closed account again by the token of the mailed link.
type UndoClosureInput struct {
	Token string
}

// UndoClosure opens a closed account again (conventions 17): with its email and password, its username unless somebody else
// has that now, and without any session. Where somebody else has proven its email, it has the former one whose link this is
// (contract C01). It returns account.ErrInvalidToken for a token that is unknown, used or too late, and account.ErrEmailExists when
// somebody else has proven that, too, or it is no such link; the link works on, should they give it up in time. Of many
// callers one is told that it worked, and whoever repeats it under their Idempotency-Key.
func (c *Core) UndoClosure(ctx context.Context, by account.Caller, in UndoClosureInput) (None, error) {
	if in.Token == "" {
		return None{}, account.ErrInvalid.On("token", "is required")
	}
	// The token is in it because keys of different people may be alike: who shows it is all that is known of them.
	var undoneBy []byte
	if by.IdempotencyKey != "" {
		undoneBy = c.Keys.Subject("undone", by.IdempotencyKey+"/"+in.Token)
	}
	closed, former, err := c.closureOf(ctx, in.Token)
	if err == nil {
		err = c.Flows.Tell(ctx, durable.Tell{
			WorkflowID: c.closureFlow(closed.AccountID), Update: workflows.ClosureUndo,
			Arg: workflows.UndoRequest{By: undoneBy, ClosureID: closed.ID, Former: former},
		}, nil)
		if closureHasNoFlow(err) {
			err = c.reopen(ctx, closed, former, undoneBy)
		}
	}
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidToken.Because(err)
	}
	if undoneBy != nil && errors.Is(err, account.ErrInvalidToken) {
		// The link is used up, maybe by a request of this caller's whose answer was lost.
		undone, failed := c.Store.ClosureUndoneBy(ctx, undoneBy)
		if undone || failed != nil {
			return None{}, failed
		}
	}
	return None{}, err
}

// closureOf returns the closure that the token of a link undoes, and which former address the link went to, or 0. It returns
// account.ErrNotFound for any other token.
func (c *Core) closureOf(ctx context.Context, token string) (closed store.Closure, former int, err error) {
	shared, _, named := strings.Cut(token, ".")
	closed, err = c.Store.ClosureByToken(ctx, c.Keys.TokenHash("undo", shared))
	if err == nil && named {
		if former = c.Keys.UndoTokenOf(closed.ID, token, store.MostFormer); former == 0 {
			err = account.ErrNotFound
		}
	}
	return closed, former, err
}

// reopen undoes a closure that has no flow: it has just ended, or was lost with Temporal's database, or ours was put back to
// before an undo. The link that was mailed is good for its term all the same. It returns account.ErrNotFound unless it was this
// call that did it.
func (c *Core) reopen(ctx context.Context, closed store.Closure, former int, by []byte) error {
	if by == nil {
		by = []byte(rand.Text())
	}
	err := c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		return told{c.notice(closed.AccountID, templates.AccountReopened, closed.ID.String())}, tx.ReopenAccount(ctx, store.Undo{
			ClosureID: closed.ID, By: by, Former: former, Told: activities.EmailChangeNotice(closed.AccountID, closed.ID),
		})
	})
	if err != nil {
		return err
	}
	ours, err := c.Store.ClosureUndoneBy(ctx, by)
	if err == nil && !ours {
		err = account.ErrNotFound
	}
	return err
}
