package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf asks the kernel's clock of a process, which is exact; 0 when there is no such process.
func cpuOf(pid int) time.Duration {
	const ofWholeProcess = 2
	var at unix.Timespec
	if pid <= 0 || unix.ClockGettime(int32(^pid<<3|ofWholeProcess), &at) != nil { //nolint:gosec // the id of a clock
		return 0
	}
	return time.Duration(at.Nano())
}
