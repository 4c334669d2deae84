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
	all := append(FlowsOfEmail(keys, "ann@example.com"), FlowsOfAccount(keys, owner)...)
	ids := map[string]bool{}
	for _, flow := range all {
		require.NotContains(t, strings.ToLower(flow.ID), "ann")
		require.NotEmpty(t, flow.Name)
		ids[flow.ID] = true
	}
	require.Len(t, ids, len(all), "each is another one")
	for _, id := range []string{c.resetFlow("ann@example.com"), c.closureFlow(owner), passwordChangeFlow(owner), emailLinkFlow(owner)} {
		require.True(t, ids[id], id)
	}
}
