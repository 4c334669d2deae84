package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/store"
)

// Pool measures the pool of database connections. It panics when the registry has such a measure already.
func Pool(registry prometheus.Registerer, read func() store.PoolUse) {
	registry.MustRegister(newPart(read, []reading[store.PoolUse]{
		{
			"gatehouse_db_pool_max_connections", "Connections that the process may hold.", prometheus.GaugeValue,
			func(u store.PoolUse) float64 { return float64(u.Max) },
		},
		{
			"gatehouse_db_pool_connections", "Connections that the process holds, in use or idle.", prometheus.GaugeValue,
			func(u store.PoolUse) float64 { return float64(u.Open) },
		},
		{
			"gatehouse_db_pool_in_use", "Connections that run a statement or a transaction.", prometheus.GaugeValue,
			func(u store.PoolUse) float64 { return float64(u.InUse) },
		},
		{
			"gatehouse_db_pool_acquires_total", "Times that a connection was taken.", prometheus.CounterValue,
			func(u store.PoolUse) float64 { return float64(u.Acquired) },
		},
		{
			"gatehouse_db_pool_waits_total", "Times that nobody had a free connection and somebody waited for one.", prometheus.CounterValue,
			func(u store.PoolUse) float64 { return float64(u.Waited) },
		},
		{
			"gatehouse_db_pool_wait_seconds_total", "Time spent waiting for a connection, all waits together.", prometheus.CounterValue,
			func(u store.PoolUse) float64 { return u.Waiting.Seconds() },
		},
		{
			"gatehouse_db_pool_canceled_waits_total", "Waits for a connection that ended without one.", prometheus.CounterValue,
			func(u store.PoolUse) float64 { return float64(u.Canceled) },
		},
	}))
}
