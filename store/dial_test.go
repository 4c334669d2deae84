package store

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// F-29: the driver's good-bye to a server that says nothing holds a place in the pool for two seconds, not for its own fifteen.
func TestDial_F29_GoodByesAreShort(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections, and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	const driver, slack = 15 * time.Second, 2 * time.Second
	// silent reads until the deadline, and returns how long that took.
	silent := func(conn net.Conn) time.Duration {
		t.Cleanup(func() { _ = conn.Close() })
		began := time.Now()
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		return time.Since(began)
	}
	for name, bound := range map[string]struct {
		dial time.Duration
		set  func(conn net.Conn) error
		want time.Duration
	}{
		"good-bye":      {connectTimeout, func(conn net.Conn) error { return conn.SetDeadline(time.Now().Add(driver)) }, farewell},
		"wish":          {driver, func(net.Conn) error { return nil }, farewell},
		"near deadline": {connectTimeout, func(conn net.Conn) error { return conn.SetDeadline(time.Now().Add(time.Millisecond)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bound.dial)
			defer cancel()
			conn, err := dial(ctx, "tcp", listener.Addr().String())
			require.NoError(t, err)
			require.NoError(t, bound.set(conn))
			took := silent(conn)
			require.Greater(t, took, bound.want-slack/4)
			require.Less(t, took, bound.want+slack)
		})
	}
}
