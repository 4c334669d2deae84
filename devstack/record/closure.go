//go:build unix

package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// closing is a world in which closed accounts have a term of grace.
func closing(grace time.Duration) script {
	w := world()
	w.close = func() (activities.Closed, error) {
		return activities.Closed{EraseAt: account.SystemClock{}.Now().Add(grace)}, nil
	}
	w.reopen = func() (activities.Reopened, error) { return activities.Reopened{}, nil }
	return w
}

func closingForLong() script { return closing(long) }
func closingBriefly() script { return closing(3 * short) }

// receiptLate has a provider that cannot be reached at first.
func receiptLate() script {
	w := closingBriefly()
	w.mail = mailDown().mail
	return w
}

// closingGone has no account to close.
func closingGone() script {
	w := closing(long)
	w.close = func() (activities.Closed, error) {
		return activities.Closed{}, account.ErrUnauthorized.Because(errSecret)
	}
	return w
}

// closingTaken has the address taken at the first undo.
func closingTaken() script {
	w, taken := closing(long), true
	w.reopen = func() (activities.Reopened, error) {
		if taken {
			taken = false
			return activities.Reopened{}, account.ErrEmailExists.Because(errSecret)
		}
		return activities.Reopened{}, nil
	}
	return w
}

func closure() story {
	nothing := func(_, _ uuid.UUID) any { return nil }
	return story{
		noun: "closure", workflow: workflows.AccountClosureWorkflow, open: workflows.ClosureClose, proceed: workflows.ClosureUndo,
		input: func(first, _ uuid.UUID) any {
			return workflows.AccountClosureInput{AccountID: owner, ClosureID: first}
		},
		request: nothing, summary: "Closure of " + masked,
		proof: func(_, _ uuid.UUID) any { return workflows.UndoRequest{By: []byte("once")} },
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("closing"), durable.AccountID.ValueSet(owner.String()),
			durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

var closureScenarios = []scenario{
	{"closure-completed", closure, closingBriefly, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"closure-receipt-late", closure, receiptLate, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"closure-undone", closure, closingForLong, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"closure-undo-refused", closure, closingTaken, func(ctx context.Context, f *flow) error {
		if err := do(ctx, f.ask, f.settled, f.tell); !errors.Is(err, account.ErrEmailExists) {
			return errors.Join(errors.New("a taken address was not refused"), err)
		}
		return do(ctx, f.tell, f.closed)
	}},
	{"closure-update-lost", closure, closingBriefly, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"closure-refused", closure, closingGone, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); !errors.Is(err, account.ErrUnauthorized) {
			return errors.Join(errors.New("an account that is gone was closed"), err)
		}
		return f.closed(ctx)
	}},
	{"closure-canceled", closure, closingForLong, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
}
