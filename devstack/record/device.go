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

// deviceSteps are the activities of a login that owes a code.
type deviceSteps interface {
	IssueDeviceCode(context.Context, activities.LoginInput) (activities.IssuedCode, error)
	SendDeviceCode(context.Context, activities.LoginInput) (activities.Queued, error)
	VerifyDevice(context.Context, activities.ChallengeInput) (activities.VerifiedDevice, error)
}

var (
	_ deviceSteps = (*activities.Activities)(nil)
	_ deviceSteps = (*steps)(nil)
)

func (s *steps) IssueDeviceCode(_ context.Context, in activities.LoginInput) (activities.IssuedCode, error) {
	return s.script().issueDevice(in)
}

func (s *steps) SendDeviceCode(context.Context, activities.LoginInput) (activities.Queued, error) {
	return s.script().sendDevice()
}

func (s *steps) VerifyDevice(context.Context, activities.ChallengeInput) (activities.VerifiedDevice, error) {
	return activities.VerifiedDevice{DeviceID: session}, nil
}

// verifying is a world in which a login goes well.
func verifying() script {
	w := world()
	w.issueDevice = func(in activities.LoginInput) (activities.IssuedCode, error) {
		return issued(in.SessionID, long, long), nil
	}
	w.sendDevice = func() (activities.Queued, error) {
		sent := activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: account.SystemClock{}.Now().Add(long)}
		return activities.Queued{Delivered: sent}, nil
	}
	return w
}

// verifyExpiring has a code that lives for a moment.
func verifyExpiring() script {
	w := verifying()
	w.issueDevice = func(in activities.LoginInput) (activities.IssuedCode, error) {
		return issued(in.SessionID, long, short), nil
	}
	return w
}

// verifyQueued has a code that comes too soon after another one.
func verifyQueued() script {
	w, waited := verifying(), false
	send := w.sendDevice
	w.sendDevice = func() (activities.Queued, error) {
		if !waited {
			waited = true
			return activities.Queued{Wait: short}, nil
		}
		return send()
	}
	return w
}

// verifyGone knows no such account.
func verifyGone() script {
	w := verifying()
	w.issueDevice = func(activities.LoginInput) (activities.IssuedCode, error) {
		return activities.IssuedCode{}, account.ErrInvalidCode.Because(errSecret)
	}
	return w
}

func device() story {
	none := func(_, _ uuid.UUID) any { return nil }
	return story{
		noun: "device", workflow: workflows.DeviceVerificationWorkflow, open: workflows.DeviceOpen, proceed: workflows.DeviceProceed,
		input: func(first, _ uuid.UUID) any {
			return workflows.DeviceVerificationInput{AccountID: owner, SessionID: first}
		},
		request: none,
		proof:   func(first, _ uuid.UUID) any { return workflows.DeviceProof{ChallengeID: first} },
		summary: "Login of " + masked,
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
			durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

var deviceScenarios = []scenario{
	{"device-completed", device, verifying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"device-waits-its-turn", device, verifyQueued, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, pause(3*short), f.settled, f.tell, f.closed)
	}},
	{"device-update-lost", device, verifying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"device-expired", device, verifyExpiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"device-refused", device, verifyGone, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); !errors.Is(err, account.ErrInvalidCode) {
			return errors.Join(errors.New("the login of an account that is gone was not refused"), err)
		}
		return f.closed(ctx)
	}},
	{"device-canceled", device, verifying, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
}

// pause lets a timer of the flow pass.
func pause(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
}
