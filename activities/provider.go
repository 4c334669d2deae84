package activities

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
)

// OpenProviderLinkInput is a link that is to wait for its provider's word.
type OpenProviderLinkInput struct {
	LinkID    uuid.UUID
	AccountID uuid.UUID
	Starter   uuid.UUID
	Provider  account.Provider
}

// ProviderLinkOpened tells until when a link waits.
type ProviderLinkOpened struct {
	ExpiresAt time.Time
}

// OpenProviderLink stores a link under way by the hash of its state, which is derived from the link's id. It returns
// account.ErrEmailNotVerified when the account may link nothing.
func (a *Activities) OpenProviderLink(ctx context.Context, in OpenProviderLinkInput) (ProviderLinkOpened, error) {
	expires, err := a.Store.OpenProviderLink(ctx, store.NewProviderLink{
		ID: in.LinkID, AccountID: in.AccountID, Starter: in.Starter, Provider: in.Provider,
		StateHash: a.Keys.TokenHash("provider-state", a.Keys.LinkToken(in.LinkID)), TTL: a.Policy.CodeTTL,
	})
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrEmailNotVerified.Because(err)
	}
	return ProviderLinkOpened{ExpiresAt: expires}, err
}

// ProviderLinkInput names a link under way.
type ProviderLinkInput struct {
	LinkID uuid.UUID
}

// FinishProviderLink links what the callback of a link has named. It returns account.ErrProviderConnected and
// account.ErrInvalidState, and then the link is over.
func (a *Activities) FinishProviderLink(ctx context.Context, in ProviderLinkInput) error {
	err := a.Store.FinishProviderLink(ctx, in.LinkID, ProviderLinkNotice(uuid.Nil, in.LinkID))
	if errors.Is(err, account.ErrProviderConnected) {
		if dropped := a.Store.DropProviderLink(ctx, in.LinkID); dropped != nil {
			return dropped
		}
	}
	return err
}

// DropProviderLink removes a link that nobody finished in time.
func (a *Activities) DropProviderLink(ctx context.Context, in ProviderLinkInput) error {
	return a.Store.DropProviderLink(ctx, in.LinkID)
}
