package secret_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

func TestOperationIDsProveThemselves(t *testing.T) {
	t.Parallel()
	keys, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	others, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	now, owner := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), uuid.New()
	for _, kind := range []secret.OperationKind{
		{Flow: account.FlowPassword},
		{Flow: account.FlowProviderLink},
		{Flow: account.FlowClosure},
		{Flow: account.FlowSignup, Blind: true},
		{Flow: account.FlowPassword, Blind: true},
	} {
		id := keys.OperationID(kind, owner, "", now)
		require.Equal(t, uuid.Version(8), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		got, at, ok := keys.Operation(id, owner)
		require.True(t, ok)
		require.Equal(t, kind, got)
		require.Equal(t, now, at)
		require.NotEqual(t, id, keys.OperationID(kind, owner, "", now), "fresh each time")

		_, _, ok = keys.Operation(id, uuid.New())
		require.False(t, ok, "it is its owner's")
		_, _, ok = others.Operation(id, owner)
		require.False(t, ok, "only who has the key can make one")
		for bit := range len(id) * 8 {
			forged := id
			forged[bit/8] ^= 1 << (bit % 8)
			_, _, ok := keys.Operation(forged, owner)
			require.False(t, ok, "bit %d was changed", bit)
		}

		seeded := keys.OperationID(kind, owner, "a key", now)
		require.Equal(t, seeded, keys.OperationID(kind, owner, "a key", now.Add(time.Hour)), "a repetition has the same")
		require.NotEqual(t, seeded, keys.OperationID(kind, owner, "another key", now))
		require.NotEqual(t, seeded, keys.OperationID(kind, uuid.New(), "a key", now))
		_, at, ok = keys.Operation(seeded, owner)
		require.True(t, ok)
		require.Zero(t, at)
	}
	_, _, ok := keys.Operation(uuid.New(), owner)
	require.False(t, ok, "a random id")
	require.Panics(t, func() { keys.OperationID(secret.OperationKind{Flow: account.FlowPhone}, owner, "", now) })
}
