package durable_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/durable"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	root := durable.Metrics(reg)
	flows := root.WithTags(map[string]string{"namespace": "n", "task_queue": "q", "unheard_of": "x"})

	flows.Counter("temporal_request").Inc(2)
	flows.WithTags(map[string]string{"task_queue": "p"}).Counter("temporal_request").Inc(1)
	root.Counter("temporal_request").Inc(1)
	flows.Gauge("temporal_num_pollers").Update(3)
	flows.Gauge("temporal_num_pollers").Update(2)
	flows.Timer("temporal_request_latency").Record(30 * time.Millisecond)
	// A second client of the same process shares the collectors.
	durable.Metrics(reg).WithTags(map[string]string{"namespace": "n", "task_queue": "q"}).Counter("temporal_request").Inc(5)

	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			key := family.GetName()
			for _, label := range m.GetLabel() {
				require.NotEqual(t, "unheard_of", label.GetName())
				if label.GetValue() != "" {
					key += " " + label.GetName() + "=" + label.GetValue()
				}
			}
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	require.Equal(t, map[string]float64{
		"temporal_request_total":                                    1,
		"temporal_request_total namespace=n task_queue=q":           7,
		"temporal_request_total namespace=n task_queue=p":           1,
		"temporal_num_pollers namespace=n task_queue=q":             2,
		"temporal_request_latency_seconds namespace=n task_queue=q": 0.03,
	}, got)
}
