//go:build unix

package main

import (
	"context"
	"fmt"
	"time"
)

const (
	keyAPIMemory    = "API"
	keyWorkerMemory = "worker"
	measureMemory   = "most memory (RSS) in this run"
)

// memory is what API and worker held at most, from their start to the moment that it is asked for.
func (b *bench) memory() *part {
	var api, worker int64
	p := &part{
		key: "memory", title: "Memory",
		run: func(context.Context, time.Duration) error {
			api, worker = peakOf(b.api.pid), max(b.workerPeak, peakOf(b.worker.pid))
			return nil
		},
		failures: func() []error { return nil },
	}
	p.report = func() string {
		return fmt.Sprintf("The most that each process held until here (VmHWM): under all loads above, %d hashes of 19 MiB at once among them.\n\n", cores()) +
			table([][]string{
				{"process", "most RSS MiB", "target", "met"},
				{keyAPIMemory, mebi(api), "<= 64", yesNo(api > 0 && api <= memoryTarget)},
				{keyWorkerMemory, mebi(worker), "<= 96", yesNo(worker > 0 && worker <= workerMemoryTarget)},
			})
	}
	p.verdicts = func() []verdict {
		return []verdict{
			{keyAPIMemory, measureMemory, "<= 64 MiB", mebi(api) + " MiB", api <= memoryTarget, api == 0},
			{keyWorkerMemory, measureMemory, "<= 96 MiB", mebi(worker) + " MiB", worker <= workerMemoryTarget, worker == 0},
		}
	}
	return p
}
