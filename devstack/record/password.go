//go:build unix

package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// passwordSteps are the activities of a password reset.
type passwordSteps interface {
	IssueReset(context.Context, activities.IssueResetInput) (activities.IssuedCode, error)
	SendResetLink(context.Context, activities.ChallengeInput) (activities.Delivered, error)
	ResetPassword(context.Context, activities.ChallengeInput) (activities.Confirmed, error)
}

var (
	_ passwordSteps = (*activities.Activities)(nil)
	_ passwordSteps = (*steps)(nil)
)

func (s *steps) IssueReset(_ context.Context, in activities.IssueResetInput) (activities.IssuedCode, error) {
	return s.script().issueReset(in)
}

func (s *steps) SendResetLink(ctx context.Context, in activities.ChallengeInput) (activities.Delivered, error) {
	return s.script().sendReset(ctx, in)
}

func (s *steps) ResetPassword(context.Context, activities.ChallengeInput) (activities.Confirmed, error) {
	return activities.Confirmed{AccountID: owner}, nil
}

// resetting is a world in which a reset goes well.
func resetting() script {
	w := world()
	w.issueReset = func(in activities.IssueResetInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, long), nil
	}
	w.sendReset = func(context.Context, activities.ChallengeInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: account.SystemClock{}.Now().Add(long)}, nil
	}
	return w
}

// resetExpiring has links that live for a moment.
func resetExpiring() script {
	w := resetting()
	w.issueReset = func(in activities.IssueResetInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, short), nil
	}
	w.sendReset = func(context.Context, activities.ChallengeInput) (activities.Delivered, error) {
		return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: account.SystemClock{}.Now().Add(short)}, nil
	}
	return w
}

// resetHolding has a provider that hangs on the first link that was made.
func resetHolding() script {
	w := resetting()
	issue, send, first := w.issueReset, w.sendReset, uuid.Nil
	w.issueReset = func(in activities.IssueResetInput) (activities.IssuedCode, error) {
		if first == uuid.Nil {
			first = in.ChallengeID
		}
		return issue(in)
	}
	w.sendReset = func(ctx context.Context, in activities.ChallengeInput) (activities.Delivered, error) {
		if first == in.ChallengeID {
			time.Sleep(short)
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return send(ctx, in)
	}
	return w
}

// resetOfNobody knows no such account.
func resetOfNobody() script {
	w := resetting()
	w.issueReset = func(activities.IssueResetInput) (activities.IssuedCode, error) { return activities.IssuedCode{}, nil }
	return w
}

func reset() story {
	request := func(_, newest uuid.UUID) any {
		return workflows.PasswordResetRequest{AccountID: owner, ChallengeID: newest}
	}
	return story{
		noun: "password", workflow: workflows.PasswordResetWorkflow,
		open: workflows.PasswordResetOpen, proceed: workflows.PasswordResetProceed, input: request, request: request,
		proof:   func(_, newest uuid.UUID) any { return workflows.PasswordResetProof{ChallengeID: newest} },
		summary: "Password reset for " + masked,
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_proof"), durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

var passwordScenarios = []scenario{
	{"password-reset-completed", reset, resetting, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"password-reset-resent", reset, resetHolding, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.again, f.settled, f.tell, f.closed)
	}},
	{"password-reset-update-lost", reset, resetting, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"password-reset-expired", reset, resetExpiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"password-reset-refused", reset, resetOfNobody, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"password-reset-canceled", reset, resetting, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
}
