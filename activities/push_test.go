package activities_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers"
	"gatehouse/store"
)

// device binds a device of an account and returns its id.
func (b *bench) device(t *testing.T, owner activities.SignedUp, token string) uuid.UUID {
	t.Helper()
	hash := b.Keys.TokenHash("push", token)
	bound := store.PushToken{ID: uuid.New(), Hash: hash, Sealed: b.Keys.SealPushToken(hash, token)}
	require.NoError(t, b.Store.BindPushToken(t.Context(), bound, owner.AccountID, owner.SessionID, 20))
	return bound.ID
}

func (b *bench) targets(t *testing.T, owner uuid.UUID) []uuid.UUID {
	t.Helper()
	ids, err := run[[]uuid.UUID](b, b.PushTargets, activities.PushTargetsInput{AccountID: owner})
	require.NoError(t, err)
	return ids
}

func TestPush(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.newcomer(t)
	first := b.device(t, owner, "device-1")
	require.Empty(t, b.targets(t, owner.AccountID), "nobody sends pushes here")
	b.Push = b.post
	require.Equal(t, []uuid.UUID{first}, b.targets(t, owner.AccountID))
	require.Empty(t, b.targets(t, uuid.New()))

	in := activities.SendPushInput{TokenID: first, Step: "push", Template: "password_changed"}
	d := twice[activities.Delivered](t, b, b.SendPush, in)
	require.Equal(t, activities.DeliverySent, d.State)
	sent := b.post.messages()
	require.Len(t, sent, 1, "run twice, sent once")
	require.Equal(t, account.ChannelPush, sent[0].Channel)
	require.Equal(t, "device-1", sent[0].To)
	require.Equal(t, "Your Gatehouse password was changed", sent[0].Subject)
	require.Equal(t, "If it was not you: secure your account now.\n", sent[0].Text)
	require.Empty(t, sent[0].HTML)
	require.Equal(t, []store.Delivery{{Channel: "push", State: "sent", Attempts: 1}}, b.deliveries(t))
}

func TestPush_DeadTokensAreRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Push = b.post
	owner := b.newcomer(t)
	gone, refused, down := b.device(t, owner, "device-1"), b.device(t, owner, "device-2"), b.device(t, owner, "device-3")
	send := func(id uuid.UUID, fault error) (activities.Delivered, error) {
		b.post.fault = func() error { return fault }
		return run[activities.Delivered](b, b.SendPush, activities.SendPushInput{TokenID: id, Step: "push", Template: "password_changed"})
	}
	d, err := send(gone, providers.Gone(errors.New("not registered")))
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryDead, d.State)
	d, err = send(refused, providers.Permanent(errors.New("refused")))
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryDead, d.State)
	_, err = send(down, providers.Temporary(errors.New("down"), 0))
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Equal(t, []uuid.UUID{refused, down}, b.targets(t, owner.AccountID))

	d, err = send(gone, nil)
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, d.State)
	require.NoError(t, b.Store.RevokeSession(t.Context(), owner.AccountID, owner.SessionID, "logout"))
	d, err = send(down, nil)
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, d.State, "signed out meanwhile")
	require.Len(t, b.post.messages(), 3)
}
