package store

import (
	"context"
	"fmt"
	"net"
	"time"

	"gatehouse/account"
)

const (
	// unanswered is how long a server may leave what we sent unacknowledged, or a quiet connection's probes, before the connection
	// counts as lost: nobody tells when a machine or the network in between is gone (reliability.md F-29).
	unanswered = 10 * time.Second
	// farewell bounds what is done for a connection that a request has given up: to ask the server to stop, and to hear it close.
	// Its place in the pool is taken until then, and the driver itself would wait for 15 seconds (reliability.md F-29).
	farewell = 2 * time.Second
)

// dialer makes connections that notice when the other end is gone.
func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: unanswered / 2, Interval: unanswered / 4, Count: 2},
		Control:         boundUnanswered,
	}
}

// dial makes connections for the driver. It bounds its dials for the pool by connectTimeout; one that may take longer is to carry
// no more than the wish that a statement be stopped.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	now := account.SystemClock{}.Now()
	until, bounded := ctx.Deadline()
	wish := !bounded || until.Sub(now) > connectTimeout
	if wish {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, now.Add(farewell))
		defer cancel()
	}
	conn, err := dialer().DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial the database: %w", err)
	}
	if wish {
		if err := conn.SetDeadline(now.Add(farewell)); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("bound a wish to the database: %w", err)
		}
	}
	return brief{conn}, nil
}

// brief is a connection whose deadlines are near: the driver sets one in the past when a request's time is over, and one far in the
// future for its good-bye.
type brief struct{ net.Conn }

// SetDeadline implements net.Conn. What is later than farewell from now is farewell from now; zero is no deadline, as ever.
func (b brief) SetDeadline(t time.Time) error {
	if latest := (account.SystemClock{}).Now().Add(farewell); t.After(latest) {
		t = latest
	}
	return b.Conn.SetDeadline(t) //nolint:wrapcheck // the driver looks for net.Error
}
