//go:build unix && !linux

package machine

import "syscall"

func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
