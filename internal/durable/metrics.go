package durable

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// metricLabels are the tags of the SDK that become labels. One name must always have the same labels, while the SDK tags
// it differently from place to place: a label that is not given stays empty, which to Prometheus means absent.
var metricLabels = []string{
	"namespace", "worker_type", "workflow_type", "activity_type", "task_queue", "poller_type", "operation",
	"failure_reason", "status_code", "cause",
}

// latencyBuckets, in seconds, are fine where a request waits and coarse up to a long poll.
var latencyBuckets = []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

// Metrics hands the SDK's metrics to reg: temporal_..._total, temporal_..._seconds, and gauges under their own name.
func Metrics(reg prometheus.Registerer) client.MetricsHandler {
	return metricsHandler{collectors: &collectors{
		reg:        reg,
		counters:   map[string]*prometheus.CounterVec{},
		gauges:     map[string]*prometheus.GaugeVec{},
		histograms: map[string]*prometheus.HistogramVec{},
	}}
}

type collectors struct {
	reg        prometheus.Registerer
	mu         sync.Mutex
	counters   map[string]*prometheus.CounterVec
	gauges     map[string]*prometheus.GaugeVec
	histograms map[string]*prometheus.HistogramVec
}

type metricsHandler struct {
	collectors *collectors
	tags       map[string]string
}

// WithTags implements client.MetricsHandler.
func (h metricsHandler) WithTags(tags map[string]string) client.MetricsHandler {
	all := make(map[string]string, len(h.tags)+len(tags))
	maps.Copy(all, h.tags)
	maps.Copy(all, tags)
	return metricsHandler{h.collectors, all}
}

// Counter implements client.MetricsHandler.
func (h metricsHandler) Counter(name string) client.MetricsCounter {
	c := h.collectors
	vec := collector(c, c.counters, strings.TrimSuffix(name, "_total")+"_total", func(name string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, metricLabels)
	})
	return counter{vec.WithLabelValues(h.values()...)}
}

// Gauge implements client.MetricsHandler.
func (h metricsHandler) Gauge(name string) client.MetricsGauge {
	c := h.collectors
	vec := collector(c, c.gauges, name, func(name string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, metricLabels)
	})
	return gauge{vec.WithLabelValues(h.values()...)}
}

// Timer implements client.MetricsHandler.
func (h metricsHandler) Timer(name string) client.MetricsTimer {
	c := h.collectors
	vec := collector(c, c.histograms, name+"_seconds", func(name string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets}, metricLabels)
	})
	return timer{vec.WithLabelValues(h.values()...)}
}

const help = "See the Temporal SDK metrics reference."

func (h metricsHandler) values() []string {
	values := make([]string, len(metricLabels))
	for i, label := range metricLabels {
		values[i] = h.tags[label]
	}
	return values
}

// collector finds or makes the collector of a name. The SDK names metrics as it goes, so none is known beforehand.
func collector[C prometheus.Collector](c *collectors, known map[string]C, name string, create func(string) C) C {
	if !strings.HasPrefix(name, "temporal_") {
		name = "temporal_" + name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := known[name]; ok {
		return have
	}
	made := create(name)
	if twice, ok := errors.AsType[prometheus.AlreadyRegisteredError](c.reg.Register(made)); ok {
		if have, ok := twice.ExistingCollector.(C); ok {
			made = have
		}
	}
	known[name] = made
	return made
}

type counter struct{ prometheus.Counter }

// Inc implements client.MetricsCounter.
func (c counter) Inc(n int64) { c.Add(float64(n)) }

type gauge struct{ prometheus.Gauge }

// Update implements client.MetricsGauge.
func (g gauge) Update(v float64) { g.Set(v) }

type timer struct{ prometheus.Observer }

// Record implements client.MetricsTimer.
func (t timer) Record(d time.Duration) { t.Observe(d.Seconds()) }
