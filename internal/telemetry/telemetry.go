// Package telemetry is what a process tells about itself: the Prometheus metrics of our own parts, and OpenTelemetry
// traces. It is handed what it measures. Labels, attributes and names of spans hold no personal data and nothing that grows
// with the number of accounts.
package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// reading is one value that is read at the moment of a scrape.
type reading[T any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(T) float64
}

// part is a collector that reads one thing once a scrape and tells all that is known of it.
type part[T any] struct {
	read     func() T
	readings []reading[T]
	descs    []*prometheus.Desc
}

func newPart[T any](read func() T, readings []reading[T]) *part[T] {
	p := &part[T]{read: read, readings: readings}
	for _, r := range readings {
		p.descs = append(p.descs, prometheus.NewDesc(r.name, r.help, nil, nil))
	}
	return p
}

// Describe implements prometheus.Collector.
func (p *part[T]) Describe(out chan<- *prometheus.Desc) {
	for _, d := range p.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (p *part[T]) Collect(out chan<- prometheus.Metric) {
	now := p.read()
	for i, r := range p.readings {
		out <- prometheus.MustNewConstMetric(p.descs[i], r.kind, r.value(now))
	}
}
