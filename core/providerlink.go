package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/store"
	"gatehouse/workflows"
)

// InitiateLinkInput begins to link an outside account (C12).
type InitiateLinkInput struct {
	Provider string
}

// LinkStarted tells where the owner signs in at the provider, and the state that comes back.
type LinkStarted struct {
	AuthURL string
	State   string
}

// CompleteLinkInput ends a link by what the provider told its callback (C10, C11).
type CompleteLinkInput struct {
	State       string
	Provider    string
	Subject     string
	Email       *string
	DisplayName *string
	AvatarURL   *string
}

// LinkCompleted names the provider that was linked.
type LinkCompleted struct {
	Provider account.Provider
}

func (in CompleteLinkInput) validate() error {
	invalid := account.ErrInvalid
	if in.State == "" {
		invalid = invalid.On("state", "is required")
	}
	if in.Provider == "" {
		invalid = invalid.On("provider", "is required")
	}
	if fault := subjectFault(in.Subject); fault != "" {
		invalid = invalid.On("provider_account_id", fault)
	}
	for _, one := range []struct {
		field string
		text  *string
	}{{"provider_email", in.Email}, {"display_name", in.DisplayName}, {"avatar_url", in.AvatarURL}} {
		if fault := optionalTextFault(one.text); fault != "" {
			invalid = invalid.On(one.field, fault)
		}
	}
	return faults(invalid)
}

func parseProvider(name string) (account.Provider, error) {
	if name == "" {
		return "", account.ErrInvalid.On("provider", "is required")
	}
	provider, known := account.ParseProvider(name)
	if !known {
		return "", account.ErrUnsupportedProvider
	}
	return provider, nil
}

// starter is the session or API key of a caller.
func starter(by account.Caller) uuid.UUID {
	if by.Principal.APIKey != nil {
		return by.Principal.APIKey.ID
	}
	return by.Principal.Session.ID
}

// InitiateLink begins to link an outside account (C12): the owner signs in at AuthURL, which sends them to the fixed redirect
// with State. The state is good once, for Policy.CodeTTL, for the account and session that asked and for this provider.
// It returns account.ErrUnsupportedProvider, account.ErrReauthenticationRequired, account.ErrEmailNotVerified,
// account.ErrProviderNotConfigured, and account.ErrUnavailable when the provider cannot be reached.
func (c *Core) InitiateLink(ctx context.Context, by account.Caller, in InitiateLinkInput) (LinkStarted, error) {
	name, err := parseProvider(in.Provider)
	if err != nil {
		return LinkStarted{}, err
	}
	if err := c.mayBind(by); err != nil {
		return LinkStarted{}, err
	}
	provider, err := c.Identity.Of(name)
	if err != nil {
		return LinkStarted{}, err
	}
	id := c.operationID(by, account.FlowProviderLink)
	state := c.Keys.LinkToken(id)
	page, err := provider.AuthorizeURL(ctx, c.LinkRedirect, state)
	if err != nil {
		return LinkStarted{}, err
	}
	owner := by.Principal.Account.ID
	by.Begin(id.String())
	err = c.Flows.Ask(ctx, durable.Ask{
		WorkflowID: c.linkFlow(id), Workflow: workflows.ProviderLinkWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.ProviderLinkInput{LinkID: id, AccountID: owner, Starter: starter(by), Provider: name},
		Update: workflows.ProviderLinkOpen, Summary: "Link an account of " + string(name),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("provider_link"), durable.FlowStage.ValueSet("awaiting_provider"),
			durable.AccountID.ValueSet(owner.String()), durable.NextActionAt.ValueSet(c.Clock.Now().Add(c.Policy.CodeTTL)),
		},
		ExecutionTimeout: c.Policy.CodeTTL + guardTime,
	}, nil)
	if err != nil {
		return LinkStarted{}, again(err)
	}
	return LinkStarted{AuthURL: page, State: state}, nil
}

func (c *Core) linkFlow(id uuid.UUID) string { return activities.ProviderLinkFlow(c.Keys, id) }

// CompleteLink links the outside account that the provider named to the callback (C10, C11), for the account that began the
// link. The caller is a service key, whose request is signed where RequireAssertion says so. Where it does not, the session or
// API key that began the link may call, too (design D11, decision 0029). Of many calls with one state one succeeds.
// It returns account.ErrUnsupportedProvider, account.ErrInvalidAssertion, account.ErrInvalidState, and
// account.ErrProviderConnected when the outside account opens an account already.
func (c *Core) CompleteLink(ctx context.Context, by account.Caller, in CompleteLinkInput) (LinkCompleted, error) {
	if err := in.validate(); err != nil {
		return LinkCompleted{}, err
	}
	provider, err := parseProvider(in.Provider)
	if err != nil {
		return LinkCompleted{}, err
	}
	claim := store.ProviderClaim{
		StateHash: c.Keys.TokenHash("provider-state", in.State), Key: by.IdempotencyKey, Lease: c.Policy.ProofLease,
		Link: account.LinkedProvider{
			Provider: provider, Subject: in.Subject, Email: given(in.Email), DisplayName: given(in.DisplayName), AvatarURL: picture(in.AvatarURL),
		},
	}
	if by.Principal == nil {
		return LinkCompleted{}, account.ErrUnauthorized
	}
	// Nothing here shows whose outside account it is but the word of the caller. A session or an API key signs nothing: it could name
	// anybody's, who would open the wrong account by signing in there.
	if err := c.requireAssertion(by); err != nil {
		return LinkCompleted{}, err
	}
	if !by.Principal.Service() {
		own := starter(by)
		claim.Starter = &own
	}
	id, err := c.Store.ClaimProviderLink(ctx, claim)
	if err != nil {
		return LinkCompleted{}, err
	}
	err = c.Flows.Tell(ctx, durable.Tell{WorkflowID: c.linkFlow(id), Update: workflows.ProviderLinkProceed}, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		err = c.linkFinished(ctx, id)
	}
	return LinkCompleted{Provider: provider}, err
}

// linkFinished judges a link whose flow has ended: it may have by this very claim, with its answer lost on the way.
func (c *Core) linkFinished(ctx context.Context, id uuid.UUID) error {
	linked, err := c.Store.ProviderLinked(ctx, id)
	if err == nil && !linked {
		err = account.ErrInvalidState
	}
	return err
}

func given(s *string) *string {
	if s == nil {
		return nil
	}
	return shown(*s)
}

// requireAssertion wants the request to be signed by a service key, where the installation asks for that.
func (c *Core) requireAssertion(by account.Caller) error {
	if c.RequireAssertion && !by.Asserted {
		return account.ErrInvalidAssertion
	}
	return nil
}

// nonceLife is longer than a signature can be young at both ends of its window.
const nonceLife = 5 * time.Minute

// SpendNonce marks what a service key has signed as used. It returns account.ErrInvalidAssertion for what was used before.
func (c *Core) SpendNonce(ctx context.Context, key uuid.UUID, nonce string) error {
	once := []account.Quota{{Max: 1, Per: nonceLife}}
	err := c.Store.TakeQuota(ctx, c.Keys.Subject("assertion", key.String()+"/"+nonce), once)
	if errors.Is(err, account.ErrTooManyRequests) {
		return account.ErrInvalidAssertion.Because(err)
	}
	return err
}
