package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/internal/secret"
)

// Hasher measures the queue in which passwords wait to be hashed. It panics when the registry has such a measure already.
func Hasher(registry prometheus.Registerer, read func() secret.HashUse) {
	registry.MustRegister(newPart(read, []reading[secret.HashUse]{
		{
			"gatehouse_hash_slots", "Passwords that may be hashed at once.", prometheus.GaugeValue,
			func(u secret.HashUse) float64 { return float64(u.Slots) },
		},
		{
			"gatehouse_hash_slots_in_use", "Passwords that are being hashed.", prometheus.GaugeValue,
			func(u secret.HashUse) float64 { return float64(u.InUse) },
		},
		{
			"gatehouse_hash_queue_size", "Passwords that may wait to be hashed.", prometheus.GaugeValue,
			func(u secret.HashUse) float64 { return float64(u.Queue) },
		},
		{
			"gatehouse_hash_waiting", "Passwords that wait to be hashed.", prometheus.GaugeValue,
			func(u secret.HashUse) float64 { return float64(u.Waiting) },
		},
		{
			"gatehouse_hash_refusals_total", "Requests that were told to come back because no slot was free in time.", prometheus.CounterValue,
			func(u secret.HashUse) float64 { return float64(u.Refused) },
		},
	}))
}
