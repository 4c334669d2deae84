package account_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestEventNames_AreAllThereIsAndSayNounAndVerb(t *testing.T) {
	t.Parallel()
	var names []string
	for _, n := range account.EventNames() {
		require.Regexp(t, `^[a-z_]+\.[a-z_]+$`, n)
		names = append(names, string(n))
	}
	ofInstallation := []string{
		"service_key.created", "service_key.revoked", "audit.began", "audit.pruned",
		"webhook.added", "webhook.removed", "webhook.enabled", "webhook.disabled", "webhook.secret_rotated",
	}
	declared := slices.DeleteFunc(constants(t, "EventName"), func(n string) bool { return slices.Contains(ofInstallation, n) })
	require.ElementsMatch(t, declared, names)
	slices.Sort(names)
	require.Len(t, slices.Compact(names), len(declared))
}

func TestActing(t *testing.T) {
	t.Parallel()
	session, key := uuid.New(), uuid.New()
	signedIn := &account.Session{ID: session}
	for want, p := range map[account.Acting]*account.Principal{
		{Kind: account.ActorVisitor}:                       nil,
		{Kind: account.ActorSession, ID: session.String()}: {Session: signedIn},
		{Kind: account.ActorKey, ID: key.String()}:         {Session: signedIn, APIKey: &account.APIKey{ID: key}},
		{Kind: account.ActorServiceKey, ID: key.String()}:  {APIKey: &account.APIKey{ID: key, Service: true}},
	} {
		want.Network, want.RequestID = "192.0.2.0/24", "r-1"
		require.Equal(t, want, account.Caller{Principal: p, IP: netip.MustParseAddr("192.0.2.77")}.Acting("r-1"))
	}
	require.Equal(t, account.Acting{Kind: account.ActorSystem}, account.ActingIn(t.Context()))
	require.Equal(t, account.Acting{Kind: account.ActorOperator}, account.ActingIn(account.WithActing(t.Context(), account.Acting{Kind: account.ActorOperator})))
}

func TestNetwork_KeepsNoWholeAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1::/48",
	} {
		require.Equal(t, want, account.Network(netip.MustParseAddr(address)))
	}
	require.Empty(t, account.Network(netip.Addr{}))
}
