package core

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// held is by once it holds an idempotency key, with what an earlier holder has made.
func (w world) held(t *testing.T, by account.Caller, key string) account.Caller {
	t.Helper()
	claim, err := w.ClaimKey(t.Context(), key, []byte("request"))
	require.NoError(t, err)
	require.Nil(t, claim.Answer)
	by.IdempotencyKey, by.KeyHolder, by.KeyUntil, by.Made = key, claim.Holder, claim.Until, claim.Made
	return by
}

// Whoever takes a key over from a holder that died is told what that one has made, and makes nothing.
func TestMadeUnderAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	in := CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:read"}}
	holder := w.held(t, by, "key")
	first, err := w.CreateAPIKey(t.Context(), holder, in)
	require.NoError(t, err)

	require.NoError(t, w.ReleaseKey(t.Context(), "key", holder.KeyHolder)) // as the end of its lease would
	heir := w.held(t, by, "key")
	require.Contains(t, string(heir.Made), first.Secret)
	again, err := w.CreateAPIKey(t.Context(), heir, in)
	require.NoError(t, err)
	require.Equal(t, first.Secret, again.Secret)
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, first.Scopes, again.Scopes)
	require.WithinDuration(t, first.CreatedAt, again.CreatedAt, 0)
	w.caller(t, again.Secret)

	// It stood still for longer than its lease, and another one came.
	late := w.held(t, by, "another key")
	require.NoError(t, w.ReleaseKey(t.Context(), "another key", late.KeyHolder))
	_, err = w.CreateAPIKey(t.Context(), w.held(t, by, "another key"), in)
	require.NoError(t, err)
	_, err = w.CreateAPIKey(t.Context(), late, in)
	require.ErrorIs(t, err, account.ErrIdempotencyKeyInUse)
	_, err = w.DescribeDevice(t.Context(), late, DescribeDeviceInput{})
	require.ErrorIs(t, err, account.ErrIdempotencyKeyInUse, "which is no missing session")
	keys, err := w.APIKeys(t.Context(), by, None{})
	require.NoError(t, err)
	require.Len(t, keys, 2)
}

// What is sent under a key is sent once while the key is known, and once more when it is new again.
func TestChallengeID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.held(t, account.Caller{}, "key")
	require.NoError(t, w.ReleaseKey(t.Context(), "key", first.KeyHolder))
	require.Equal(t, challengeID(first), challengeID(w.held(t, account.Caller{}, "key")))
	other := w.held(t, account.Caller{}, "another key")
	require.NotEqual(t, challengeID(first), challengeID(other))
	later := first
	later.KeyUntil = first.KeyUntil.Add(account.IdempotencyLife)
	require.NotEqual(t, challengeID(first), challengeID(later))
	first.Principal, later.Principal = &account.Principal{}, &account.Principal{}
	for _, kind := range []account.FlowKind{account.FlowPassword, account.FlowProviderLink, account.FlowClosure} {
		id := w.operationID(first, kind)
		require.Equal(t, id, w.operationID(first, kind), kind)
		require.NotEqual(t, id, w.operationID(later, kind), kind)
	}
	without := challengeID(account.Caller{})
	require.NotEqual(t, without, challengeID(account.Caller{}), "without a key each is another")
}

// A change that is not made keeps nothing, and what was made is of no use under another key.
func TestMadeUnderAKey_Undone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	by := w.held(t, account.Caller{}, "key")
	for _, change := range []func() (int, error){
		func() (int, error) {
			return commitOnce(t.Context(), w.Core, by, func(context.Context, *store.Store) (int, told, error) {
				return 1, nil, account.ErrNotFound
			})
		},
		func() (int, error) {
			return once(t.Context(), w.Core, by, func(context.Context, *store.Store) (int, error) { return 1, account.ErrNotFound })
		},
	} {
		out, err := change()
		require.ErrorIs(t, err, account.ErrNotFound)
		require.Zero(t, out)
	}
	require.NoError(t, w.ReleaseKey(t.Context(), "key", by.KeyHolder))
	by = w.held(t, account.Caller{}, "key")
	require.Nil(t, by.Made)

	_, err := once(t.Context(), w.Core, by, func(context.Context, *store.Store) (time.Time, error) { return time.Unix(1, 0), nil })
	require.NoError(t, err)
	require.NoError(t, w.ReleaseKey(t.Context(), "key", by.KeyHolder))
	heir := w.held(t, account.Caller{}, "key")
	at, done, err := made[time.Time](heir)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, int64(1), at.Unix())
	_, done, err = made[int](heir)
	require.True(t, done)
	require.Error(t, err, "what cannot be read is not nothing")
}
