//go:build unix

// Package stack starts what Gatehouse needs on a developer's machine, PostgreSQL and Temporal with its UI, and runs the
// whole system on them: `make run`. The end-to-end tests start the same parts through package stacktest.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
)

const (
	// DefaultNamespace holds the workflows of Gatehouse, unless GATEHOUSE_TEMPORAL_NAMESPACE names another.
	DefaultNamespace = "gatehouse"
	// Retention is how long the embedded server keeps the history of a closed workflow.
	Retention = 7 * 24 * time.Hour

	clusterName   = "active"
	historyShards = 4
	// pollRPS lifts the server's limit of 20 polls a second and shard, behind which every workflow task would wait 50 ms.
	pollRPS           = 2000
	visibilityRPS     = 100
	namespaceRefresh  = 250 * time.Millisecond
	temporalPatience  = 30 * time.Second
	temporalStopLimit = 10 * time.Second
	temporalLogLimit  = 10 << 20
)

// TemporalOptions say where and how an embedded Temporal server runs.
type TemporalOptions struct {
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// File keeps the state; empty keeps it in memory.
	File string
	// LogFile gets warnings and errors; empty drops them.
	LogFile string
	// Namespaces are made beside "default" unless they exist.
	Namespaces []string
	// MaxCalls bounds the calls a second to a namespace: what goes beyond is refused (RESOURCE_EXHAUSTED). 0 is no bound of ours.
	// A running server would heed another bound only after a minute.
	MaxCalls int
}

// Temporal is a running embedded server. It has no authentication and listens on 127.0.0.1 only.
type Temporal struct {
	// Address is host:port of the frontend.
	Address string

	server   temporal.Server
	settings *dynamicconfig.MemoryClient
}

// StartTemporal starts a server and returns once it answers. A file keeps open workflows: they go on after a restart.
func StartTemporal(ctx context.Context, o TemporalOptions) (*Temporal, error) {
	port := o.Port
	if port == 0 {
		free, err := machine.FreePort()
		if err != nil {
			return nil, err
		}
		port = free
	} else if machine.CanListen(machine.LoopbackAddress(port)) != nil {
		return nil, fmt.Errorf("%w: Temporal cannot use port %d; set GATEHOUSE_TEMPORAL_PORT to a free one", ErrPortTaken, port)
	}
	cfg, hosts, err := serverConfig(port, o.File)
	if err != nil {
		return nil, err
	}
	if err := prepareStore(cfg.Persistence.DataStores[sqlite.PluginName].SQL, o); err != nil {
		return nil, err
	}
	settings := dynamicSettings()
	if o.MaxCalls > 0 {
		settings.OverrideSetting(dynamicconfig.FrontendMaxNamespaceRPSPerInstance, o.MaxCalls)
		settings.OverrideSetting(dynamicconfig.FrontendMaxNamespaceBurstRatioPerInstance, 1.0)
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(temporalLogger(o.LogFile)),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithDynamicConfigClient(settings),
	)
	if err != nil {
		return nil, fmt.Errorf("make the Temporal server: %w", err)
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start the Temporal server: %w", err)
	}
	t := &Temporal{Address: machine.LoopbackAddress(port), server: server, settings: settings}
	ctx, cancel := context.WithTimeout(ctx, temporalPatience)
	defer cancel()
	for _, namespace := range append([]string{"default"}, o.Namespaces...) {
		if err := AwaitNamespace(ctx, t.Address, namespace); err != nil {
			return nil, errors.Join(err, t.Stop())
		}
	}
	return t, nil
}

// LimitHistory has the server tell a flow that its history is long once it has so many events, instead of 4096.
func (t *Temporal) LimitHistory(events int) {
	t.settings.OverrideSetting(dynamicconfig.HistoryCountSuggestContinueAsNew, events)
}

// Stop stops the server, within ten seconds or not at all.
func (t *Temporal) Stop() error {
	stopped := make(chan error, 1)
	go func() { stopped <- t.server.Stop() }()
	late := time.NewTimer(temporalStopLimit)
	defer late.Stop()
	select {
	case err := <-stopped:
		if err != nil {
			return fmt.Errorf("stop the Temporal server: %w", err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("the Temporal server did not stop within %s", temporalStopLimit)
	}
}

// dynamicSettings lift limits that protect a shared production cluster and only slow a developer's machine.
func dynamicSettings() *dynamicconfig.MemoryClient {
	settings := dynamicconfig.NewMemoryClient()
	// The rate of a queue is shared out evenly among its partitions, and charges are not.
	whole := []dynamicconfig.ConstrainedValue{{Constraints: dynamicconfig.Constraints{TaskQueueName: durable.QueuePayments}, Value: 1}}
	for key, value := range map[dynamicconfig.Key]any{
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   pollRPS,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      pollRPS,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): pollRPS,
		// A namespace made while the server runs can be used soon.
		dynamicconfig.NamespaceCacheRefreshInterval.Key(): namespaceRefresh,
		// A search attribute registered at start can be used at once.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		dynamicconfig.MakeKey("frontend.namespaceRPS.visibility"):   visibilityRPS,
		dynamicconfig.WorkflowPauseEnabled.Key():                    true,
		// A worker that stops lets go of its polls and finishes what it got; else a flow task that it was just given waits
		// ten seconds for its timeout.
		dynamicconfig.EnableCancelWorkerPollsOnShutdown.Key():   true,
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  whole,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): whole,
	} {
		settings.OverrideValue(key, value)
	}
	return settings
}

// serverConfig is the smallest configuration of all four services in one process.
func serverConfig(port int, file string) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	ports := map[primitives.ServiceName]int{primitives.FrontendService: port}
	for _, service := range []primitives.ServiceName{primitives.HistoryService, primitives.MatchingService, primitives.WorkerService} {
		free, err := machine.FreePort()
		if err != nil {
			return nil, nil, err
		}
		ports[service] = free
	}
	services := map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for service, port := range ports {
		services[string(service)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: "127.0.0.1"}}
		hosts[service] = static.SingleLocalHost(machine.LoopbackAddress(port))
	}
	cfg := &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: temporalPatience, BroadcastAddress: "127.0.0.1"}},
		Persistence: config.Persistence{
			DefaultStore: sqlite.PluginName, VisibilityStore: sqlite.PluginName, NumHistoryShards: historyShards,
			DataStores: map[string]config.DataStore{sqlite.PluginName: {SQL: sqliteConfig(file)}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: clusterName, CurrentClusterName: clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: machine.LoopbackAddress(port)},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History: config.HistoryArchival{State: "disabled"}, Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: machine.LoopbackAddress(port)},
	}
	return cfg, hosts, nil
}

// sqliteConfig keeps the default of one connection: with four, a write stalled for a minute and failed.
func sqliteConfig(file string) *config.SQL {
	if file == "" {
		return &config.SQL{
			PluginName:        sqlite.PluginName,
			DatabaseName:      "gatehouse" + strconv.FormatUint(rand.Uint64(), 36), //nolint:gosec // a name, no secret
			ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
		}
	}
	return &config.SQL{
		PluginName: sqlite.PluginName, DatabaseName: file,
		ConnectAttributes: map[string]string{"mode": "rwc", "journal_mode": "WAL", "synchronous": "NORMAL"},
	}
}

// prepareStore makes schema and namespaces in a new store. The file gets its name only when it is whole.
func prepareStore(cfg *config.SQL, o TemporalOptions) error {
	if _, err := os.Stat(o.File); o.File != "" && errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(o.File), 0o700); err != nil {
			return fmt.Errorf("make the directory of Temporal: %w", err)
		}
		unfinished := sqliteConfig(o.File + ".new")
		delete(unfinished.ConnectAttributes, "journal_mode") // a write-ahead log beside it would be lost by the renaming
		if err := os.RemoveAll(unfinished.DatabaseName); err != nil {
			return fmt.Errorf("clear away an unfinished store of Temporal: %w", err)
		}
		if err := sqliteschema.SetupSchema(unfinished); err != nil {
			return fmt.Errorf("make the store of Temporal: %w", err)
		}
		if err := os.Rename(unfinished.DatabaseName, o.File); err != nil {
			return fmt.Errorf("move the new store of Temporal into place: %w", err)
		}
	}
	for _, name := range append([]string{"default"}, o.Namespaces...) {
		namespace, err := sqliteschema.NewNamespaceConfig(clusterName, name, false, nil)
		if err != nil {
			return fmt.Errorf("describe namespace %s: %w", name, err)
		}
		namespace.Detail.Config.Retention = durationpb.New(Retention)
		if err := sqliteschema.CreateNamespaces(cfg, namespace); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	return nil
}

func temporalLogger(file string) log.Logger {
	if file == "" {
		return log.NewNoopLogger()
	}
	if info, err := os.Stat(file); err == nil && info.Size() > temporalLogLimit {
		_ = os.Remove(file) // else it grows on, which harms nobody soon
	}
	return log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn", OutputFile: file}))
}
