//go:build unix

package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
)

const (
	database       = "gatehouse"
	readyPatience  = time.Minute
	connectTimeout = 10 * time.Second
)

// RunOptions are what `make run` hands in.
type RunOptions struct {
	// Environ is the environment (NAME=value) that settings are read from and processes inherit.
	Environ []string
	// Binary is the path of the gatehouse binary.
	Binary string
	// Out gets what a developer watches: steps, logs, addresses.
	Out io.Writer
	// Kill, when closed, ends everything at once instead of in order.
	Kill <-chan struct{}
}

// Run runs the whole system until ctx ends or a part of it fails for good, and then stops it in order: API, worker, UI,
// Temporal, PostgreSQL. It returns nil when it ran and ctx ended it.
func Run(ctx context.Context, o RunOptions) error {
	settings, err := LoadSettings(o.Environ)
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return fmt.Errorf("the gatehouse binary is missing beside this one (%w); build both with: make build", err)
	}
	unlock, err := openDataDir(settings.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &runner{settings: settings, options: o, console: newConsole(o.Out, o.Environ), fail: fail}
	begin := r.console.clock.Now()
	stopKilling := r.killWhen(o.Kill)
	defer stopKilling()

	err = r.start(ctx)
	if err == nil {
		r.printAddresses(r.console.clock.Now().Sub(begin))
		<-ctx.Done()
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	} else if ctx.Err() != nil {
		err = nil // asked to stop while starting
	}
	return errors.Join(err, r.stop())
}

// openDataDir makes and locks the directory. It is readable for all because, for root, the server of the database is another
// user; what is secret in it is not.
func openDataDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see above
		return nil, fmt.Errorf("make GATEHOUSE_DATA_DIR: %w", err)
	}
	unlock, err = lockDir(dir)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		unlock()
		return nil, fmt.Errorf("write to GATEHOUSE_DATA_DIR: %w", err)
	}
	return unlock, nil
}

// runner holds the parts that run. The slots are filled at start and emptied from the last to the first.
type runner struct {
	settings Settings
	options  RunOptions
	console  *console
	fail     context.CancelCauseFunc

	mu       sync.Mutex
	cluster  *postgres.Cluster
	temporal *Temporal
	ui       *UI
	worker   *child
	api      *child
}

func (r *runner) start(ctx context.Context) error {
	s := r.settings
	wanted := s.ports()
	if postgres.Running(r.postgresDir()) { // ours, left behind: it is stopped first
		wanted = slices.DeleteFunc(wanted, func(w wantedPort) bool { return w.setting == prefix+"POSTGRES_PORT" })
	}
	if err := checkPorts(wanted); err != nil {
		return err
	}
	keys, err := LoadKeys(filepath.Join(s.DataDir, "keys"))
	if err != nil {
		return err
	}
	r.console.say("Starting Gatehouse in %s", s.DataDir)
	databaseURL, temporalAddress, err := r.startServers(ctx)
	if err != nil {
		return err
	}
	env := s.environment(databaseURL, temporalAddress, keys)
	if err := WriteEnvFile(s.EnvFile(), env); err != nil {
		return err
	}
	environ := childEnviron(r.options.Environ, env.Values)
	if err := r.console.step("Migrations", func() (string, error) { return "applied", r.migrate(ctx, environ) }); err != nil {
		return err
	}
	return r.startProcesses(ctx, environ, temporalAddress)
}

func (r *runner) postgresDir() string { return filepath.Join(r.settings.DataDir, "postgres") }

// startServers starts PostgreSQL beside Temporal and its UI, or finds that the external ones answer.
func (r *runner) startServers(ctx context.Context) (databaseURL, temporalAddress string, err error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		return r.console.step("PostgreSQL", func() (detail string, err error) {
			databaseURL, detail, err = r.startPostgres(ctx)
			return detail, err
		})
	})
	both.Go(func() error {
		err := r.console.step("Temporal", func() (detail string, err error) {
			temporalAddress, detail, err = r.startTemporal(ctx)
			return detail, err
		})
		if err != nil || !r.settings.ownsUI() {
			return err
		}
		return r.console.step("Temporal UI", func() (string, error) { return r.startUI(ctx, temporalAddress) })
	})
	err = both.Wait() // before the results are read
	return databaseURL, temporalAddress, err
}

func (r *runner) startPostgres(ctx context.Context) (url, detail string, err error) {
	if url := r.settings.DatabaseURL; url != "" {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return "", "", fmt.Errorf("DATABASE_URL names a server that cannot be used: %w", err)
		}
		return url, "external, from DATABASE_URL", conn.Close(ctx)
	}
	_, err = postgres.FindOrInstall(ctx, r.console.lines("apt", "90"), func() {
		r.console.say("  PostgreSQL is missing; installing the package postgresql ...")
	})
	if err != nil {
		return "", "", err
	}
	cluster, err := postgres.Start(ctx, postgres.Options{Dir: r.postgresDir(), Port: r.settings.PostgresPort, Durable: true})
	if err != nil {
		return "", "", err
	}
	r.keep(func() { r.cluster = cluster })
	go func() {
		<-cluster.Done()
		r.fail(fmt.Errorf("PostgreSQL ended; see %s", cluster.LogFile()))
	}()
	detail = fmt.Sprintf("version %d on port %d", cluster.Major, cluster.Port)
	if cluster.Dir != r.postgresDir() {
		detail += ", data in " + cluster.Dir + " because its user cannot reach the project"
	}
	return cluster.URL(database), detail, cluster.CreateDatabase(ctx, database)
}

func (r *runner) startTemporal(ctx context.Context) (address, detail string, err error) {
	if address := r.settings.TemporalAddress; address != "" {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if err := EnsureNamespace(ctx, address, r.settings.Namespace); err != nil {
			return "", "", fmt.Errorf("TEMPORAL_ADDRESS names a server that cannot be used: %w", err)
		}
		return address, "external, " + address, nil
	}
	server, err := StartTemporal(ctx, TemporalOptions{
		Port: r.settings.TemporalPort, Namespaces: []string{r.settings.Namespace},
		File:    filepath.Join(r.settings.DataDir, "temporal", "temporal.db"),
		LogFile: filepath.Join(r.settings.DataDir, "temporal.log"),
	})
	if err != nil {
		return "", "", err
	}
	r.keep(func() { r.temporal = server })
	return server.Address, "namespace " + r.settings.Namespace + " at " + server.Address, nil
}

func (r *runner) startUI(ctx context.Context, temporalAddress string) (string, error) {
	ui, err := StartUI(ctx, UIOptions{
		Port: r.settings.UIPort, TemporalAddress: temporalAddress, Namespace: r.settings.Namespace,
		CodecEndpoint: r.settings.OpsURL(),
	})
	if err != nil {
		return "", err
	}
	r.keep(func() { r.ui = ui })
	return ui.URL, nil
}

// migrate brings the schema up to date; its output is shown when it fails.
func (r *runner) migrate(ctx context.Context, environ []string) error {
	cmd := exec.Command(r.options.Binary, "migrate") //nolint:gosec // our own binary
	output := r.console.lines("migrate", "90")
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, output, output
	process, err := machine.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
		return process.Err()
	case <-ctx.Done():
		process.Kill()
		return ctx.Err()
	}
}

// startProcesses starts worker and API and returns once both can be used.
func (r *runner) startProcesses(ctx context.Context, environ []string, temporalAddress string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	both, ctx := errgroup.WithContext(ctx)
	if r.settings.Worker == "on" {
		if err := r.startChild(&r.worker, "worker", "36", environ); err != nil {
			return err
		}
		both.Go(func() error {
			return r.console.step("Worker", func() (string, error) {
				return "ready", AwaitPollers(ctx, temporalAddress, r.settings.Namespace, durable.QueueFlows)
			})
		})
	}
	if err := r.startChild(&r.api, "api", "32", environ); err != nil {
		return err
	}
	both.Go(func() error {
		return r.console.step("API", func() (string, error) {
			return "ready", await(ctx, "the API", func() error { return get(ctx, r.settings.OpsURL()+"/readyz") })
		})
	})
	return both.Wait()
}

func (r *runner) startChild(slot **child, name, colour string, environ []string) error {
	c := &child{
		name: name, path: r.options.Binary, args: []string{name}, env: environ,
		output: r.console.lines(name, colour), console: r.console, clock: account.SystemClock{},
	}
	if err := c.start(r.fail); err != nil {
		return err
	}
	r.keep(func() { *slot = c })
	return nil
}

// childEnviron is the environment of our processes: what we inherited, with our settings as the file has them.
func childEnviron(inherited []string, settings map[string]string) []string {
	environ := slices.DeleteFunc(slices.Clone(inherited), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return isOurs(name)
	})
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		environ = append(environ, name+"="+settings[name])
	}
	return environ
}
