package store

import (
	"net"
	"time"
)

// unanswered is how long a server may leave what we sent unacknowledged, or a quiet connection's probes, before the connection
// counts as lost: nobody tells when a machine or the network in between is gone (security.md F-29).
const unanswered = 10 * time.Second

// dialer makes connections that notice when the other end is gone.
func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: unanswered / 2, Interval: unanswered / 4, Count: 2},
		Control:         boundUnanswered,
	}
}
