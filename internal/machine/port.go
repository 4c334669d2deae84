package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that FreePort hands out lie below those the kernel gives to outgoing connections, so that none of these can
// take a port between our look and its use.
const (
	firstFreePort = 20000
	freePortCount = 12000
)

// ErrNoFreePort means that a hundred guesses found every port taken.
var ErrNoFreePort = errors.New("no free port found")

// handedOut are the ports that this process was given: many tests at once would else be given the same, as nobody listens
// between our look and its use.
var handedOut sync.Map

// FreePort returns a port of the loopback interface that nobody listens on, and never returns it again.
func FreePort() (int, error) {
	for range 100 {
		port := firstFreePort + rand.IntN(freePortCount) //nolint:gosec // a port is no secret
		if _, taken := handedOut.LoadOrStore(port, true); !taken && CanListen(LoopbackAddress(port)) == nil {
			return port, nil
		}
	}
	return 0, ErrNoFreePort
}

// CanListen returns nil when address (host:port) can be listened on right now.
func CanListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	return l.Close()
}

// LoopbackAddress is 127.0.0.1:port.
func LoopbackAddress(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
