//go:build !linux

package store

import "syscall"

// boundUnanswered has nothing to set: keepalive and the deadlines of requests must do.
func boundUnanswered(string, string, syscall.RawConn) error { return nil }
