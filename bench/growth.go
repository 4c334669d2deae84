//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	growthRounds = 5
	growthTarget = 1.1
	measureFlat  = "p50 against that with few accounts, 1 connection"

	// fewPollers and manyPollers are what the worker is given in turn.
	fewPollers, manyPollers = 1, 8
	pollerRounds            = 2
)

// growth compares reads of the large database with the same of the small one: the small one is the limit.
func (b *bench) growth() *part {
	m := &matrix{rounds: growthRounds, warm: true}
	flat := goals{p50: growthTarget}
	add := func(key string, g goals, render func(c clients) [][]byte) {
		limit := operation{key: "limit", name: fmt.Sprintf("%s, %d accounts", key, b.low), server: b.small, requests: render(b.few)}
		m.add(manyShare/2., oneShare, limit, operation{
			key: key, name: fmt.Sprintf("the same, %d accounts", b.accounts), server: b.api, requests: render(b.people), goals: g,
		})
	}
	for _, path := range []string{mePath, detailsPath, validatePath, sessionsPath} {
		add("`GET "+path+"`", flat, func(c clients) [][]byte { return asBearer(c.readers[:len(b.few.readers)], path) })
	}
	add("`GET "+mePath+"`, API key", flat, func(c clients) [][]byte {
		return shown(c.apiKeys[:len(b.few.apiKeys)], func(k string) []byte { return get(mePath, "X-API-Key", k) })
	})
	add("`GET /api/v1/account/username/check`", flat, func(c clients) [][]byte {
		return shown(c.readers[:len(b.few.readers)], func(p person) []byte { return get(checkPath + p.handle) })
	})
	add("`GET /api/v1/account/username/search`", goals{}, func(c clients) [][]byte { return searches(c.readers[:len(b.few.readers)]) })
	p := partOf("growth", "Growth of accounts", m, "Searches find more where there are more people, and have no target.\n\n")
	p.verdicts = func() []verdict {
		all := m.verdicts()
		for i := range all {
			all[i].measure = measureFlat
		}
		return all
	}
	return p
}

// pollers has the same load of flows with few polls at a time and with many.
func (f *flowing) pollers() *part {
	byPollers := map[int]*series{}
	ready := &supply{ready: shown(f.people.readers, sendCode)}
	for _, n := range []int{fewPollers, manyPollers} {
		name := strconv.Itoa(n) + " of each kind for each queue"
		byPollers[n] = &series{connections: many, share: flowManyShare, operation: operation{
			key: name, name: name, server: f.api, helpers: []*server{f.worker}, supply: ready,
		}}
	}
	byPollers[manyPollers].limit = byPollers[fewPollers]
	one, other := byPollers[fewPollers], byPollers[manyPollers]
	return &part{
		key: "pollers", title: "Growth of worker pollers", shares: 2 * pollerRounds * flowManyShare,
		run: func(ctx context.Context, unit time.Duration) error {
			for range pollerRounds {
				for _, n := range []int{fewPollers, manyPollers} {
					if err := f.restartWorker(ctx, map[string]string{"GATEHOUSE_WORKER_POLLERS": strconv.Itoa(n), paymentRate: "100000"}); err != nil {
						return err
					}
					if err := f.settle(ctx); err != nil {
						return err
					}
					byPollers[n].measure(ctx, unit)
				}
			}
			return f.restartWorker(ctx, map[string]string{paymentRate: "100000"})
		},
		report: func() string {
			m := &matrix{many: []*series{one, other}}
			return fmt.Sprintf("%s, %d connections, one worker. By default its polls follow the load.\n\n", keySendCode, many) + m.throughput()
		},
		verdicts: func() []verdict { return nil },
		failures: func() []error { return slices.Concat(one.failures(), other.failures()) },
	}
}

// restartWorker puts another worker in the place of the one that runs.
func (s *stack) restartWorker(ctx context.Context, extra map[string]string) error {
	s.workerPeak = max(s.workerPeak, peakOf(s.worker.pid))
	if err := s.worker.stop(); err != nil {
		return err
	}
	started, err := s.startWorker(ctx, "worker", extra)
	if err != nil {
		return err
	}
	*s.worker = *started
	return nil
}
