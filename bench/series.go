//go:build unix

package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// many is the load at which throughput is compared; one connection shows the latency.
const many = 32

// operation is one thing that is measured at many connections and at one.
type operation struct {
	// key names it in tables of targets, name in its own.
	key, name string
	server    *server
	// helpers are the other processes that work for it.
	helpers  []*server
	requests [][]byte
	chain    func(body []byte) ([]byte, error)
	// supply, if set, is where requests come from that can be sent once; it may refuse single ones.
	supply *supply
	// pause is how long the one connection waits after an answer; many do not.
	pause time.Duration
	goals goals
}

// goals are what an operation must reach beside its limit; 0 is none.
type goals struct {
	// rate is the least share of the limit's throughput, p50 the most of its median, p99 the most milliseconds at one connection.
	rate, p50 float64
	p99       time.Duration
}

// series is an operation at one number of connections, measured once a round, always next to its limit: on a shared machine
// only the ratio of neighbours tells anything.
type series struct {
	operation

	connections int
	// share of a round's unit of time that one measurement takes.
	share float64
	// limit is what it is compared with, nil for a limit itself.
	limit   *series
	samples []sample
}

type sample struct {
	result

	// cpu is what the servers used for it, rss what the first one held after it, helperRSS what the others did, in bytes.
	cpu            time.Duration
	rss, helperRSS int64
	// err is why there is nothing of it.
	err error
}

// supply is requests of which each can be sent once, handed out in order. fill may make more before each measurement.
type supply struct {
	ready [][]byte
	fill  func(ctx context.Context) ([][]byte, error)
	// taken is how many were ever handed out.
	taken int
}

// take hands out a share of what is there.
func (s *supply) take(ctx context.Context, share float64) ([][]byte, error) {
	if s.fill != nil {
		more, err := s.fill(ctx)
		if err != nil {
			return nil, err
		}
		s.ready = append(s.ready, more...)
	}
	n := int(math.Ceil(share * float64(len(s.ready))))
	if n == 0 {
		return nil, errNone
	}
	return s.ready[:n:n], nil
}

func (s *supply) used(n int) { s.ready, s.taken = s.ready[n:], s.taken+n }

// singleShare of a supply is left for one connection.
const singleShare = 0.25

// sampled runs a load and what the servers used for it.
func (s *series) sampled(ctx context.Context, unit time.Duration) sample {
	l := load{
		address: s.server.address, requests: s.requests, connections: s.connections, chain: s.chain,
		duration: time.Duration(s.share * float64(unit)), skip: len(s.samples) * 7919,
	}
	if s.connections == 1 {
		l.pause = s.pause
	}
	if s.supply != nil {
		share := 1.0
		if s.connections > 1 && s.supply.fill != nil {
			share -= singleShare
		}
		var err error
		if l.requests, err = s.supply.take(ctx, share); err != nil {
			return sample{err: fmt.Errorf("%s: prepare requests: %w", s.name, err)}
		}
		l.once, l.tolerant = true, true
	}
	before := s.cpuNow()
	found, err := l.run(ctx)
	if s.supply != nil {
		s.supply.used(min(found.requests+found.refused, len(l.requests)))
	}
	if err != nil {
		return sample{err: fmt.Errorf("%s, %d connections: %w", s.name, s.connections, err)}
	}
	out := sample{result: found, cpu: s.cpuNow() - before, rss: usageOf(s.server.pid).rss}
	for _, helper := range s.helpers {
		out.helperRSS = max(out.helperRSS, usageOf(helper.pid).rss)
	}
	return out
}

// warmUp asks everything once: the first request of a client writes that it was seen.
func (s *series) warmUp(ctx context.Context, unit time.Duration) {
	all := load{address: s.server.address, requests: s.requests, connections: s.connections, duration: warmMost, once: true}
	if s.chain != nil {
		all.chain, all.once, all.duration = s.chain, false, time.Duration(warmShare*float64(unit))
	}
	_, _ = all.run(ctx) // what fails now will fail when it is measured
}

func (s *series) cpuNow() time.Duration {
	sum := usageOf(s.server.pid).cpu
	for _, helper := range s.helpers {
		sum += usageOf(helper.pid).cpu
	}
	return sum
}

// measure adds a sample, be it a failed one.
func (s *series) measure(ctx context.Context, unit time.Duration) {
	s.samples = append(s.samples, s.sampled(ctx, unit))
}

// matrix is operations next to their limits, each measured once a round.
type matrix struct {
	many, single []*series
	rounds       int
	// warm is whether everything is asked for a moment before it is measured.
	warm bool
	// settle, if set, waits before each measurement for what the last one has left.
	settle func(ctx context.Context) error
	// say tells of each measurement; nil tells nobody.
	say func(format string, args ...any)
}

const (
	warmShare = 0.3
	// warmMost ends the asking of everything once. The first use of an API key makes its session: what of that is left over would be
	// measured as reads.
	warmMost      = 20 * time.Second
	manyShare     = 1
	oneShare      = 1
	flowManyShare = 3
	flowOneShare  = 2
)

// add puts operations next to a limit.
func (m *matrix) add(manyShare, oneShare float64, limit operation, beside ...operation) {
	add := func(to *[]*series, connections int, share float64) {
		first := &series{operation: limit, connections: connections, share: share}
		*to = append(*to, first)
		for _, o := range beside {
			*to = append(*to, &series{operation: o, connections: connections, share: share, limit: first})
		}
	}
	add(&m.many, many, manyShare)
	add(&m.single, 1, oneShare)
}

func (m *matrix) shares() float64 {
	var round, warm float64
	for _, s := range slices.Concat(m.many, m.single) {
		round += s.share
		if m.warm && s.connections > 1 {
			warm += warmShare
		}
	}
	return float64(m.rounds)*round + warm
}

// run measures everything, round by round. A measurement that fails is among the samples and no error.
func (m *matrix) run(ctx context.Context, unit time.Duration) error {
	for _, s := range m.many {
		if m.warm {
			s.warmUp(ctx, unit)
		}
	}
	for range m.rounds {
		for _, s := range slices.Concat(m.many, m.single) {
			if m.settle != nil {
				if err := m.settle(ctx); err != nil {
					return err
				}
			}
			s.measure(ctx, unit)
			if found := s.samples[len(s.samples)-1]; m.say != nil {
				m.say("  %s, %d connections: %d in time, %.1f/s %v", s.name, s.connections, found.requests, found.rate, found.err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func (m *matrix) failures() []error {
	var all []error
	for _, s := range slices.Concat(m.many, m.single) {
		all = append(all, s.failures()...)
	}
	return all
}

func (s *series) failures() []error {
	var all []error
	for _, x := range s.samples {
		if x.err != nil {
			all = append(all, x.err)
		}
	}
	return all
}

// median of a value of every sample. It takes the lower one of two in the middle.
func median[T cmp.Ordered](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

// each is a value of every sample that there is.
func each[T any](s *series, value func(sample) T) []T {
	var out []T
	for _, x := range s.samples {
		if x.err == nil {
			out = append(out, value(x))
		}
	}
	return out
}

// ratios compares every sample with its neighbour's.
func (s *series) ratios(value func(sample) float64) []float64 {
	var out []float64
	for i, x := range s.samples {
		if i < len(s.limit.samples) && x.err == nil && s.limit.samples[i].err == nil {
			out = append(out, value(x)/value(s.limit.samples[i]))
		}
	}
	return out
}

// known is whether anything was measured.
func (s *series) known() bool { return len(each(s, rateOf)) > 0 }

func rateOf(s sample) float64   { return s.rate }
func medianOf(s sample) float64 { return float64(s.p50) }

func (s *series) rate() float64 { return median(each(s, rateOf)) }
func (s *series) p50() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.p50 }))
}

func (s *series) p99() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.p99 }))
}

// cpu of the servers for one request.
func (s *series) cpu() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.cpu / time.Duration(max(x.requests, 1)) }))
}

func (s *series) memory() int64 {
	return slices.Max(append(each(s, func(x sample) int64 { return x.rss }), 0))
}

func (s *series) helperMemory() int64 {
	return slices.Max(append(each(s, func(x sample) int64 { return x.helperRSS }), 0))
}

func (s *series) refused() (n int) {
	for _, x := range s.samples {
		n += x.refused
	}
	return n
}
