package telemetry

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/account"
)

// Samples hands the newest sample of a worker to Prometheus. Of several workers one has it at a time: rules and panels take
// the greatest over all instances.
type Samples struct {
	clock account.Clock
	// fresh is how long a sample stands for the present: an old one would hide that nobody looks.
	fresh   time.Duration
	current atomic.Pointer[account.Sample]
}

// NewSamples registers the samples, which are shown until they are older than fresh. It panics when the registry has some
// already.
func NewSamples(registry prometheus.Registerer, clock account.Clock, fresh time.Duration) *Samples {
	s := &Samples{clock: clock, fresh: fresh}
	registry.MustRegister(s)
	return s
}

// Keep replaces the sample.
func (s *Samples) Keep(sample account.Sample) { s.current.Store(&sample) }

// Drop forgets the sample: another worker has a newer one.
func (s *Samples) Drop() { s.current.Store(nil) }

var (
	sampledAt = prometheus.NewDesc("gatehouse_sample_timestamp_seconds", "When a worker last looked at what waits.", nil, nil)
	backlog   = prometheus.NewDesc("gatehouse_backlog",
		"Work that waits, at most "+strconv.Itoa(account.BacklogCounted)+" of each kind.", []string{"of"}, nil)
	backlogOldest = prometheus.NewDesc("gatehouse_backlog_oldest_seconds", "How long the oldest of the work that waits has waited.", []string{"of"}, nil)
	messages      = prometheus.NewDesc("gatehouse_messages",
		"Messages by channel and state: all that are queued, of the others those of the last hour.", []string{"channel", "state"}, nil)
	subscriptions = prometheus.NewDesc("gatehouse_subscriptions", "Subscriptions that are not over, by status.", []string{"status"}, nil)
	flows         = prometheus.NewDesc("gatehouse_flows",
		"Running flows by kind and stage; those that have come to their outcome are ending.", []string{"kind", "stage"}, nil)
	flowsLate  = prometheus.NewDesc("gatehouse_flows_late", "Running flows whose next step was due ten minutes ago.", []string{"kind"}, nil)
	flowsStuck = prometheus.NewDesc("gatehouse_flows_with_problems", "Running flows whose steps fail in our own code.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Samples) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sampledAt, backlog, backlogOldest, messages, subscriptions, flows, flowsLate, flowsStuck} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Samples) Collect(out chan<- prometheus.Metric) {
	sample := s.current.Load()
	if sample == nil || s.clock.Now().Sub(sample.At) > s.fresh {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(sampledAt, float64(sample.At.Unix()))
	for _, b := range sample.Backlogs {
		gauge(backlog, float64(b.Count), b.Of)
		gauge(backlogOldest, b.Oldest.Seconds(), b.Of)
	}
	for key, count := range messageCounts(sample.Messages) {
		gauge(messages, float64(count), string(key.Channel), key.State)
	}
	for _, status := range account.LiveStatuses() {
		var count int64
		for _, c := range sample.Subscriptions {
			if c.Status == status {
				count = c.Count
			}
		}
		gauge(subscriptions, float64(count), string(status))
	}
	if !sample.FlowsKnown {
		return
	}
	for _, f := range sample.Flows {
		gauge(flows, float64(f.Count), f.Kind, f.Stage)
	}
	for kind, count := range sample.FlowsLate {
		gauge(flowsLate, float64(count), kind)
	}
	gauge(flowsStuck, float64(sample.FlowsStuck))
}

// messageCounts are the counts by channel and state, zeros among them: a series that comes and goes is hard to alarm on.
func messageCounts(counted []account.MessageCount) map[account.MessageCount]int64 {
	all := map[account.MessageCount]int64{}
	for _, channel := range account.Channels() {
		for _, state := range []string{"queued", "sent", "dead", "expired"} {
			all[account.MessageCount{Channel: channel, State: state}] = 0
		}
	}
	for _, m := range counted {
		all[account.MessageCount{Channel: m.Channel, State: m.State}] = m.Count
	}
	return all
}
