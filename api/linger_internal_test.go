package api

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
)

// accepted is a connection as the server gets it, and its other end.
func accepted(t *testing.T) (conn, peer net.Conn) {
	t.Helper()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := lingering{inner}
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	peer, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
	require.NoError(t, err)
	conn, err = listener.Accept()
	require.NoError(t, err)
	return conn, peer
}

func TestLingeringConn_DeadlinesOfAClosedConnectionAreNoErrors(t *testing.T) {
	t.Parallel()
	conn, peer := accepted(t)
	require.NoError(t, peer.Close()) // ends the lingering
	require.NoError(t, conn.Close())
	testkit.Eventually(t, 5*time.Second, func() bool {
		_, err := conn.Read(make([]byte, 1))
		return errors.Is(err, net.ErrClosed)
	}, "the end of the lingering")

	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
}

// The server writes before it has an answer, too: 100 Continue, and why it refuses what it cannot read.
func TestLingeringConn_TheDeadlineOfTheLastAnswerIsNotThatOfTheNextRequest(t *testing.T) {
	t.Parallel()
	conn, peer := accepted(t)
	t.Cleanup(func() { require.NoError(t, peer.Close()) })
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	now := account.SystemClock{}.Now()

	require.NoError(t, conn.SetWriteDeadline(now.Add(-time.Second)))
	_, err := conn.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(now.Add(time.Minute)))
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(now.Add(-time.Second)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
