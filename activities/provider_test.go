package activities_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/store"
)

// begunLink is a link of Google that its owner has begun, with the claim that its callback would make.
func (b *bench) begunLink(t *testing.T, owner activities.SignedUp) (activities.ProviderLinkInput, store.ProviderClaim) {
	t.Helper()
	id := uuid.New()
	opened := twice[activities.ProviderLinkOpened](t, b, b.OpenProviderLink, activities.OpenProviderLinkInput{
		LinkID: id, AccountID: owner.AccountID, Starter: owner.SessionID, Provider: account.ProviderGoogle,
	})
	require.WithinDuration(t, time.Now().Add(policy.CodeTTL), opened.ExpiresAt, time.Minute)
	return activities.ProviderLinkInput{LinkID: id}, store.ProviderClaim{
		StateHash: b.Keys.TokenHash("provider-state", b.Keys.LinkToken(id)), Starter: &owner.SessionID, Lease: time.Minute,
		Link: account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "sub-" + id.String()},
	}
}

func (b *bench) finish(in activities.ProviderLinkInput) error {
	_, err := b.env.ExecuteActivity(b.FinishProviderLink, in)
	return durable.FromTemporal(err)
}

func (b *bench) links(t *testing.T, owner uuid.UUID) int {
	t.Helper()
	links, err := b.Store.LinkedProviders(t.Context(), owner)
	require.NoError(t, err)
	return len(links)
}

func TestProviderLinkFinished(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.member(t)
	in, claim := b.begunLink(t, owner)
	require.ErrorIs(t, b.finish(in), account.ErrInvalidState, "nobody has come back yet")
	_, err := b.Store.ClaimProviderLink(t.Context(), claim)
	require.NoError(t, err, "the state is derived from the link")
	require.NoError(t, b.finish(in))
	require.NoError(t, b.finish(in), "as after a lost completion")
	require.Equal(t, 1, b.links(t, owner.AccountID))
	for range 2 {
		_, err := b.env.ExecuteActivity(b.DropProviderLink, in)
		require.NoError(t, err)
	}
	require.Equal(t, 1, b.links(t, owner.AccountID), "a finished link is not dropped")
}

func TestProviderLinkDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.member(t)
	in, claim := b.begunLink(t, owner)
	_, err := b.env.ExecuteActivity(b.DropProviderLink, in)
	require.NoError(t, err)
	_, err = b.Store.ClaimProviderLink(t.Context(), claim)
	require.ErrorIs(t, err, account.ErrInvalidState)
	require.ErrorIs(t, b.finish(in), account.ErrInvalidState)
	require.Zero(t, b.links(t, owner.AccountID))
}

// An outside account that opens another account, or a second one of its provider, ends the link for good.
func TestProviderLinkConnectedElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.member(t)
	in, claim := b.begunLink(t, owner)
	_, err := b.Store.ClaimProviderLink(t.Context(), claim)
	require.NoError(t, err)
	_, err = b.Store.LinkProvider(t.Context(), owner.AccountID, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "another", Type: "oauth"})
	require.NoError(t, err)
	require.ErrorIs(t, b.finish(in), account.ErrProviderConnected)
	require.ErrorIs(t, b.finish(in), account.ErrInvalidState, "it is over")
	require.Equal(t, 1, b.links(t, owner.AccountID))
}

func TestProviderLinkOfAnUnprovenAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	newcomer := b.newcomer(t)
	for _, owner := range []uuid.UUID{newcomer.AccountID, uuid.New()} {
		_, err := run[activities.ProviderLinkOpened](b, b.OpenProviderLink, activities.OpenProviderLinkInput{
			LinkID: uuid.New(), AccountID: owner, Starter: newcomer.SessionID, Provider: account.ProviderGoogle,
		})
		require.ErrorIs(t, err, account.ErrEmailNotVerified, "PRE-03")
	}
}
