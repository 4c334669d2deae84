//go:build unix

package main

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// providerSteps are the activities of a link.
type providerSteps interface {
	OpenProviderLink(context.Context, activities.OpenProviderLinkInput) (activities.ProviderLinkOpened, error)
	FinishProviderLink(context.Context, activities.ProviderLinkInput) error
	DropProviderLink(context.Context, activities.ProviderLinkInput) error
}

var (
	_ providerSteps = (*activities.Activities)(nil)
	_ providerSteps = (*steps)(nil)
)

func (s *steps) OpenProviderLink(context.Context, activities.OpenProviderLinkInput) (activities.ProviderLinkOpened, error) {
	return activities.ProviderLinkOpened{ExpiresAt: account.SystemClock{}.Now().Add(short)}, nil
}

func (s *steps) FinishProviderLink(context.Context, activities.ProviderLinkInput) error {
	return s.script().finishLink()
}

func (s *steps) DropProviderLink(context.Context, activities.ProviderLinkInput) error { return nil }

// linkTaken has an outside account that opens another account.
func linkTaken() script {
	w := world()
	w.finishLink = func() error { return account.ErrProviderConnected.Because(errSecret) }
	return w
}

// refused is a callback that is told so.
func refused(f *flow) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f.tell(ctx); !errors.Is(err, account.ErrProviderConnected) {
			return errors.Join(errors.New("the callback was not refused"), err)
		}
		return nil
	}
}

// providerLink is a link of an account at Google.
func providerLink() story {
	nothing := func(_, _ uuid.UUID) any { return nil }
	return story{
		noun: "provider_link", workflow: workflows.ProviderLinkWorkflow, open: workflows.ProviderLinkOpen,
		proceed: workflows.ProviderLinkProceed,
		input: func(first, _ uuid.UUID) any {
			return workflows.ProviderLinkInput{LinkID: first, AccountID: owner, Starter: session, Provider: account.ProviderGoogle}
		},
		request: nothing, proof: nothing, summary: "Link an account of google",
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_provider"), durable.AccountID.ValueSet(owner.String()),
		},
	}
}
