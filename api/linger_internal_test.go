package api

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

func TestLingeringConn_DeadlinesOfAClosedConnectionAreNoErrors(t *testing.T) {
	t.Parallel()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := lingering{inner}
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	peer, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
	require.NoError(t, err)
	conn, err := listener.Accept()
	require.NoError(t, err)
	require.NoError(t, peer.Close()) // ends the lingering
	require.NoError(t, conn.Close())
	testkit.Eventually(t, 5*time.Second, func() bool {
		_, err := conn.Read(make([]byte, 1))
		return errors.Is(err, net.ErrClosed)
	}, "the end of the lingering")

	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
}
