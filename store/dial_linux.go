package store

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func boundUnanswered(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var refused error
	if err := c.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unanswered.Milliseconds()))
	}); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("bound how long a connection goes unanswered: %w", refused)
	}
	return nil
}
