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

// passwordChangeSteps are the activities of a code that guards an account.
type passwordChangeSteps interface {
	IssuePasswordCode(context.Context, activities.IssuePasswordCodeInput) (activities.IssuedCode, error)
	SpendPasswordCode(context.Context, activities.ChallengeInput) (activities.Spent, error)
	SendSMS(context.Context, activities.SendMailInput) (activities.Delivered, error)
}

var (
	_ passwordChangeSteps = (*activities.Activities)(nil)
	_ passwordChangeSteps = (*steps)(nil)
)

func (s *steps) IssuePasswordCode(_ context.Context, in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
	return s.script().issueCode(in)
}

func (s *steps) SpendPasswordCode(context.Context, activities.ChallengeInput) (activities.Spent, error) {
	return s.script().spend()
}

func (s *steps) SendSMS(context.Context, activities.SendMailInput) (activities.Delivered, error) {
	return s.script().mail()
}

// changing is a world in which a code sets a password and both notices go out.
func changing() script {
	w := world()
	w.issueCode = func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, long), nil
	}
	w.spend = func() (activities.Spent, error) {
		return activities.Spent{PasswordSet: true, HadPassword: true, Phone: true}, nil
	}
	return w
}

// signingOut spends its code on something else than a password.
func signingOut() script {
	w := changing()
	w.spend = func() (activities.Spent, error) { return activities.Spent{HadPassword: true}, nil }
	return w
}

// changeExpiring has codes that live for a moment.
func changeExpiring() script {
	w := changing()
	w.issueCode = func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, short), nil
	}
	return w
}

// changeHolding has a provider that hangs on the first code.
func changeHolding() script {
	w := changing()
	issue, send, first := w.issueCode, w.send, uuid.Nil
	w.issueCode = func(in activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		if first == uuid.Nil {
			first = in.ChallengeID
		}
		return issue(in)
	}
	w.send = func(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
		if first == in.ChallengeID {
			time.Sleep(short)
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return send(ctx, in)
	}
	return w
}

// changeRefused knows no contact that could be trusted.
func changeRefused() script {
	w := changing()
	w.issueCode = func(activities.IssuePasswordCodeInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode.Because(errSecret)
	}
	return w
}

func passwordChange(channels ...account.Channel) func() story {
	request := func(_, newest uuid.UUID) workflows.PasswordChangeRequest {
		return workflows.PasswordChangeRequest{ChallengeID: newest, SessionID: session, Channels: channels}
	}
	return func() story {
		return story{
			noun: "password", workflow: workflows.PasswordChangeWorkflow,
			open: workflows.PasswordChangeOpen, proceed: workflows.PasswordChangeProceed,
			input: func(first, newest uuid.UUID) any {
				return workflows.PasswordChangeInput{AccountID: owner, Request: request(first, newest)}
			},
			request: func(first, newest uuid.UUID) any { return request(first, newest) },
			proof:   func(_, newest uuid.UUID) any { return workflows.PasswordChangeProof{ChallengeID: newest} },
			summary: "Code to " + masked,
			attributes: []temporal.SearchAttributeUpdate{
				durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
				durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
			},
		}
	}
}

var passwordChangeScenarios = []scenario{
	{"password-change-completed", passwordChange(account.ChannelEmail), changing, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"password-change-signed-out", passwordChange(account.ChannelEmail), signingOut, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"password-change-two-ways", passwordChange(account.ChannelSMS, account.ChannelWhatsApp), changing, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"password-change-resent", passwordChange(account.ChannelSMS), changeHolding, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.again, f.settled, f.tell, f.closed)
	}},
	{"password-change-update-lost", passwordChange(account.ChannelEmail), changing, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"password-change-expired", passwordChange(account.ChannelEmail), changeExpiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"password-change-refused", passwordChange(account.ChannelSMS), changeRefused, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); err == nil {
			return errors.New("it was not refused")
		}
		return do(ctx, f.closed)
	}},
	{"password-change-canceled", passwordChange(account.ChannelEmail), changing, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
}
