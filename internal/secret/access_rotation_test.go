package secret_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

func tokensOf(t *testing.T, keys string) *secret.AccessTokens {
	t.Helper()
	tokens, err := secret.NewAccessTokens(keys, issuer, clockAt(noon))
	require.NoError(t, err)
	return tokens
}

func kids(t *testing.T, tokens *secret.AccessTokens) []string {
	t.Helper()
	text, err := tokens.JWKS()
	require.NoError(t, err)
	var set struct {
		Keys []struct{ Kid, X, Crv string }
	}
	require.NoError(t, json.Unmarshal(text, &set))
	ids := make([]string, 0, len(set.Keys))
	for _, k := range set.Keys {
		require.Equal(t, "Ed25519", k.Crv)
		require.NotEmpty(t, k.X)
		ids = append(ids, k.Kid)
	}
	return ids
}

// The signing key changes in steps: old; old,new; new,old; new. Processes of neighbouring steps accept each other's tokens.
func TestSigningKeysChangeBySteps(t *testing.T) {
	t.Parallel()
	older, newer := secret.GenerateKey(), secret.GenerateKey()
	steps := []*secret.AccessTokens{
		tokensOf(t, older), tokensOf(t, older+","+newer), tokensOf(t, newer+", "+older), tokensOf(t, newer),
	}
	session := uuid.New()
	signed := make([]string, len(steps))
	for i, step := range steps {
		var err error
		signed[i], err = step.Sign(session, uuid.New(), noon, noon.Add(time.Hour))
		require.NoError(t, err)
	}
	accepts := func(by, of int) bool {
		got, err := steps[by].Session(signed[of])
		return err == nil && got == session
	}
	for i := 1; i < len(steps); i++ {
		require.True(t, accepts(i, i-1), "step %d reads what the one before it signed", i)
		require.True(t, accepts(i-1, i), "step %d reads what the next one signed", i-1)
	}
	require.True(t, accepts(2, 0), "a token outlives the step at which its key stops signing")
	require.False(t, accepts(3, 0), "and dies with its key")
	require.False(t, accepts(0, 3))

	first, last := kids(t, steps[0])[0], kids(t, steps[3])[0]
	require.Equal(t, []string{first, last}, kids(t, steps[1]), "published before it signs")
	require.Equal(t, []string{last, first}, kids(t, steps[2]))
}

func TestSigningKeysThatCannotBe(t *testing.T) {
	t.Parallel()
	key := secret.GenerateKey()
	for _, bad := range []string{"", ",", key + ",", "," + key, key + ",canary", key + "," + key} {
		_, err := secret.NewAccessTokens(bad, issuer, clockAt(noon))
		require.ErrorContains(t, err, "GATEHOUSE_SIGNING_KEY", bad)
		require.NotContains(t, err.Error(), "canary")
		require.NotContains(t, err.Error(), key)
	}
}
