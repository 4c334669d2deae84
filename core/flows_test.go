package core

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

func TestFlowsAreFoundWithoutTellingTheAddress(t *testing.T) {
	t.Parallel()
	keys, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	c, owner := &Core{Deps: Deps{Keys: keys}}, uuid.New()
	all := append(c.flowsOfEmail("ann@example.com"), c.flowsOfAccount(owner)...)
	ids := map[string]bool{}
	for _, id := range all {
		require.NotContains(t, strings.ToLower(id), "ann")
		ids[id] = true
	}
	require.Len(t, ids, len(all), "each is another one")
	for _, id := range []string{c.resetFlow("ann@example.com"), c.closureFlow(owner), passwordChangeFlow(owner), emailLinkFlow(owner)} {
		require.True(t, ids[id], id)
	}
}
