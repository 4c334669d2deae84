package durable

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
)

// header is what travels.
type header map[string]*common.Payload

func (h header) Set(key string, value *common.Payload) { h[key] = value }

func (h header) Get(key string) (*common.Payload, bool) {
	p, ok := h[key]
	return p, ok
}

func (h header) ForEachKey(handler func(string, *common.Payload) error) error {
	for key, p := range h {
		if err := handler(key, p); err != nil {
			return err
		}
	}
	return nil
}

var _ workflow.HeaderReader = header{}

func newPropagator(t *testing.T) actingPropagator {
	t.Helper()
	keyset, err := GenerateKeyset()
	require.NoError(t, err)
	ring, err := NewKeyring(keyset)
	require.NoError(t, err)
	return actingPropagator{ring.DataConverter()}
}

func TestActing_TravelsEncrypted(t *testing.T) {
	t.Parallel()
	p, who := newPropagator(t), account.Acting{Kind: account.ActorSession, ID: "s-1", Network: "192.0.2.0/24", RequestID: "r-1"}
	h := header{}
	require.NoError(t, p.Inject(account.WithActing(t.Context(), who), h))
	require.NotContains(t, h[actingHeader].String(), "192.0.2")
	ctx, err := p.Extract(t.Context(), h)
	require.NoError(t, err)
	require.Equal(t, who, account.ActingIn(ctx))

	// What cannot be read any more stops nobody.
	ctx, err = newPropagator(t).Extract(t.Context(), h)
	require.NoError(t, err)
	require.Equal(t, account.ActorSystem, account.ActingIn(ctx).Kind)

	empty := header{}
	require.NoError(t, p.Inject(t.Context(), empty))
	require.Empty(t, empty, "nobody is no header")
}
