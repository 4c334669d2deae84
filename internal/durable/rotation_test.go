package durable_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/durable"
)

func ring(t *testing.T, encoded string) *durable.Keyring {
	t.Helper()
	k, err := durable.NewKeyring(encoded)
	require.NoError(t, err)
	return k
}

// reads requires that b understands what a writes.
func reads(t *testing.T, a, b *durable.Keyring) {
	t.Helper()
	written, err := a.DataConverter().ToPayload("word")
	require.NoError(t, err)
	require.Equal(t, a.KeyID(), keyID(written), "the primary key encrypts")
	var out string
	require.NoError(t, b.DataConverter().FromPayload(written, &out))
	require.Equal(t, "word", out)
	failure := a.FailureConverter().ErrorToFailure(errors.New("word"))
	require.ErrorContains(t, b.FailureConverter().FailureToError(failure), "word")
	sealed, err := a.Seal([]byte("word"), []byte("label"))
	require.NoError(t, err)
	_, err = b.Open(sealed, []byte("label"))
	require.NoError(t, err)
}

// In the steps of a rotation, processes before and after any one step read each other.
func TestRotationByStepsLosesNobody(t *testing.T) {
	t.Parallel()
	first, err := durable.GenerateKeyset()
	require.NoError(t, err)
	second, id, err := durable.AddKey(first)
	require.NoError(t, err)
	third, err := durable.PromoteKey(second, id)
	require.NoError(t, err)
	fourth, err := durable.RemoveKey(third, ring(t, first).KeyID())
	require.NoError(t, err)

	steps := []*durable.Keyring{ring(t, first), ring(t, second), ring(t, third), ring(t, fourth)}
	require.Equal(t, []durable.Key{{ID: steps[0].KeyID(), Primary: true}, {ID: id}}, steps[1].Keys())
	require.Equal(t, []durable.Key{{ID: steps[0].KeyID()}, {ID: id, Primary: true}}, steps[2].Keys())
	require.Equal(t, []durable.Key{{ID: id, Primary: true}}, steps[3].Keys())
	for i := 1; i < len(steps); i++ {
		reads(t, steps[i-1], steps[i])
		reads(t, steps[i], steps[i-1])
	}

	// Two steps at once lose whoever has not followed: that is why there are two.
	written, err := steps[2].DataConverter().ToPayload("word")
	require.NoError(t, err)
	var out string
	require.ErrorContains(t, steps[0].DataConverter().FromPayload(written, &out), id, "the error names the key that is missing")
	written, err = steps[0].DataConverter().ToPayload("word")
	require.NoError(t, err)
	require.Error(t, steps[3].DataConverter().FromPayload(written, &out))
}

func TestStepsThatCannotBe(t *testing.T) {
	t.Parallel()
	first, err := durable.GenerateKeyset()
	require.NoError(t, err)
	_, err = durable.RemoveKey(first, ring(t, first).KeyID())
	require.Error(t, err, "the primary stays")
	for _, id := range []string{"", "0", "x", "99999999999"} {
		_, err = durable.PromoteKey(first, id)
		require.ErrorContains(t, err, "there is no key", id)
		_, err = durable.RemoveKey(first, id)
		require.ErrorContains(t, err, "there is no key", id)
	}
	_, _, err = durable.AddKey("canary")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "canary")
}

// A key of a developer's machine does not become one of production by being rotated.
func TestRotationKeepsTheMarkOfDevelopment(t *testing.T) {
	t.Parallel()
	plain, err := durable.GenerateKeyset()
	require.NoError(t, err)
	for _, encoded := range []string{plain, "dev:" + plain} {
		marked := strings.HasPrefix(encoded, "dev:")
		added, id, err := durable.AddKey(encoded)
		require.NoError(t, err)
		promoted, err := durable.PromoteKey(added, id)
		require.NoError(t, err)
		removed, err := durable.RemoveKey(promoted, ring(t, plain).KeyID())
		require.NoError(t, err)
		for _, step := range []string{added, promoted, removed} {
			require.Equal(t, marked, strings.HasPrefix(step, "dev:"))
		}
	}
}

func TestKeyOfWhatIsSealed(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	sealed, err := k.Seal([]byte("answer"), nil)
	require.NoError(t, err)
	id, err := durable.KeyOf(sealed[:durable.SealPrefix])
	require.NoError(t, err)
	require.Equal(t, k.KeyID(), id)
	for _, bad := range [][]byte{nil, sealed[:4], {0, 1, 2, 3, 4}} {
		_, err := durable.KeyOf(bad)
		require.Error(t, err)
	}
}
