//go:build unix

package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process has used, and holds.
type usage struct {
	cpu time.Duration
	rss int64
}

// usageOf is zero where that cannot be read.
func usageOf(pid int) usage {
	return usage{cpu: cpuOf(pid), rss: kilobytes("/proc/"+strconv.Itoa(pid)+"/status", "VmRSS:") << 10}
}

// kilobytes reads a value such as "VmRSS:   1234 kB" of a file of /proc, 0 when it is not there.
func kilobytes(path, name string) int64 {
	content, err := os.ReadFile(path) //nolint:gosec // a file of /proc
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n
		}
	}
	return 0
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakOf is the most memory that a process ever held, 0 where that cannot be read.
func peakOf(pid int) int64 { return kilobytes("/proc/"+strconv.Itoa(pid)+"/status", "VmHWM:") << 10 }

func cores() int { return runtime.GOMAXPROCS(0) }
