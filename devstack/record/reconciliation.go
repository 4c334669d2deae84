//go:build unix

package main

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// reconciliationSteps are the activities of a reconciliation.
type reconciliationSteps interface {
	BeginReconciliation(context.Context, activities.ReconciliationInput) (account.Reconciliation, error)
	ReviveFlows(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error)
	ReviewFlows(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error)
	HastenCharges(context.Context, activities.ReconciliationInput) error
	CompareCharges(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error)
	CompareAttempts(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error)
	ReviewBooks(context.Context, activities.ReconciliationInput) error
	EndReconciliation(context.Context, activities.ReconciliationEnd) (activities.Reconciled, error)
}

var (
	_ reconciliationSteps = (*activities.Activities)(nil)
	_ reconciliationSteps = (*steps)(nil)
)

func (s *steps) BeginReconciliation(_ context.Context, in activities.ReconciliationInput) (account.Reconciliation, error) {
	now := account.SystemClock{}.Now().UTC()
	return account.Reconciliation{ID: in.ID, Since: now.Add(-guard), Until: now}, nil
}

// ReviveFlows has two pages.
func (s *steps) ReviveFlows(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	if in.After == "" {
		return activities.ReconciliationPage{Seen: 200, After: "sub_1"}, nil
	}
	return activities.ReconciliationPage{Seen: 1}, nil
}

func (s *steps) ReviewFlows(_ context.Context, in activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	if len(in.Page) == 0 {
		return activities.ReconciliationPage{Seen: 500, Page: []byte("page")}, nil
	}
	return activities.ReconciliationPage{Seen: 1}, nil
}

func (s *steps) HastenCharges(context.Context, activities.ReconciliationInput) error { return nil }

func (s *steps) CompareCharges(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return activities.ReconciliationPage{Seen: 100}, s.script().provider
}

func (s *steps) CompareAttempts(context.Context, activities.ReconciliationInput) (activities.ReconciliationPage, error) {
	return activities.ReconciliationPage{Seen: 1}, nil
}

func (s *steps) ReviewBooks(context.Context, activities.ReconciliationInput) error { return nil }

func (s *steps) EndReconciliation(context.Context, activities.ReconciliationEnd) (activities.Reconciled, error) {
	return activities.Reconciled{Repaired: 1}, nil
}

// providing has a payment provider that answers a list of charges with an error, nil for none.
func providing(fault error) func() script {
	return func() script {
		w := world()
		w.provider = fault
		return w
	}
}

func reconciliation() story {
	nightly := workflows.NightlyReconciliation(long, 0).Flow
	return story{
		noun: "reconciliation", workflow: nightly.Workflow, summary: nightly.Summary, attributes: nightly.Attributes,
		input: func(_, _ uuid.UUID) any { return nightly.Input },
	}
}

var reconciliationScenarios = []scenario{
	{"reconciliation-completed", reconciliation, providing(nil), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"reconciliation-by-stages", reconciliation, providing(nil), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"reconciliation-incomplete", reconciliation, providing(account.ErrNotFound.Because(errSecret)), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"reconciliation-canceled", reconciliation, providing(account.ErrUnavailable.Because(errSecret)), func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, pause(short), f.cancel, f.closed)
	}},
}
