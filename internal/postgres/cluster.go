//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/machine"
)

const (
	superuser    = "gatehouse"
	dataDir      = "data"
	passwordFile = "password"
	logFile      = "postgres.log"
	logLimit     = 10 << 20

	startPatience = time.Minute
	stopPatience  = 20 * time.Second
	portAttempts  = 5
)

// ErrPortTaken means that something else listens on the port asked for.
var ErrPortTaken = errors.New("port taken")

// Options say where and how a cluster runs.
type Options struct {
	// Dir is made when missing and holds the data, the password and the server's log.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Durable clusters survive a crash of the machine. Without it everything is faster and only good for tests.
	Durable bool
	// MaxConnections is 200 when 0.
	MaxConnections int
	// Settings of the server, as name=value, which win over ours.
	Settings []string
	// Environment is set for the server beside what it always gets, as NAME=value.
	Environment []string
	// Logger gets what is worth telling; nil means nobody.
	Logger *slog.Logger
}

// Cluster is a running server.
type Cluster struct {
	// Dir is where it really lives, which may be elsewhere than Options.Dir when we are root.
	Dir string
	// Port it listens on, at 127.0.0.1 only.
	Port int
	// Major is the server's major version.
	Major int

	options  Options
	binaries Binaries
	owner    owner
	password string
	process  *machine.Process
}

// Start starts the cluster at Options.Dir, making it when it is new, and returns once it accepts connections. It returns
// ErrNotFound without installed binaries and ErrPortTaken for a busy port. A server that an earlier, killed run left behind
// on the same data is stopped first. The server never outlives this process on Linux.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.MaxConnections == 0 {
		o.MaxConnections = 200
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the directory of PostgreSQL: %w", err)
	}
	c := &Cluster{options: o}
	if err := c.settle(dir); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if err := c.stopLeftover(ctx); err != nil {
		return nil, err
	}
	return c, c.launch(ctx)
}

// settle finds the user, the directory and the binaries.
func (c *Cluster) settle(dir string) (err error) {
	if c.owner, err = findOwner(dir); err != nil {
		return err
	}
	if c.Dir, err = c.owner.place(dir, c.options.Durable); err != nil {
		return err
	}
	if err := c.checkOwner(); err != nil {
		return err
	}
	made, err := madeBy(filepath.Join(c.Dir, dataDir))
	if err != nil {
		return err
	}
	if c.binaries, err = Find(); err != nil {
		return err
	}
	if made != 0 && made != c.binaries.Major {
		if c.binaries, err = findMajor(made); err != nil {
			return fmt.Errorf("%s was made by PostgreSQL %d, which is no longer installed: install it, or remove that directory "+
				"to begin with empty data", c.Dir, made)
		}
	}
	c.Major = c.binaries.Major
	return nil
}

// launch starts the server; where the port is ours to choose, another one is tried when somebody else was quicker.
func (c *Cluster) launch(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := c.pickPort()
		if err == nil {
			err = c.run(ctx)
		}
		if err == nil || c.options.Port != 0 || attempt == portAttempts || ctx.Err() != nil {
			return err
		}
		c.options.Logger.DebugContext(ctx, "PostgreSQL did not start, trying another port", "error", err)
	}
}

func (c *Cluster) pickPort() (err error) {
	if c.options.Port == 0 {
		c.Port, err = machine.FreePort()
		return err
	}
	c.Port = c.options.Port
	if machine.CanListen(machine.LoopbackAddress(c.Port)) != nil {
		return fmt.Errorf("%w: PostgreSQL cannot use port %d; set GATEHOUSE_POSTGRES_PORT to a free one", ErrPortTaken, c.Port)
	}
	return nil
}

func (c *Cluster) run(ctx context.Context) error {
	log, err := c.openLog()
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()                                                // the child holds its own descriptor
	cmd := exec.Command(filepath.Join(c.binaries.Dir, "postgres"), c.serverArgs()...) //nolint:gosec // our own binary
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(environment(), c.options.Environment...), c.owner.procAttr()
	if c.process, err = machine.Start(cmd, syscall.SIGINT); err != nil {
		return err
	}
	if err := c.awaitReady(ctx); err != nil {
		c.process.Kill()
		return fmt.Errorf("%w\nlast lines of %s:\n%s", err, log.Name(), tail(log.Name(), 10))
	}
	return nil
}

func (c *Cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	again := time.NewTicker(15 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.process.Done():
			return fmt.Errorf("PostgreSQL ended while starting: %w", c.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL did not accept connections: %w", err)
		case <-again.C:
		}
	}
}

// URL is the connection string of a database on this cluster. It holds the password: never log it.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, c.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes the database unless it exists.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to make database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("look for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("make database %s: %w", name, err)
	}
	return nil
}

// Running reports whether a cluster at dir says that it runs, so that its port may be busy with itself.
func Running(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataDir, "postmaster.pid"))
	return err == nil
}

// Done is closed when the server has ended.
func (c *Cluster) Done() <-chan struct{} { return c.process.Done() }

// LogFile is where the server writes its log.
func (c *Cluster) LogFile() string { return filepath.Join(c.Dir, logFile) }

// Stop ends all connections and stops the server in order, within 20 seconds or else by force, which it reports.
func (c *Cluster) Stop() error {
	if err := c.process.Stop(syscall.SIGINT, stopPatience); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// Kill ends the server at once, as a crash would.
func (c *Cluster) Kill() { c.process.Kill() }

// Crash ends the server and all its connections at once and leaves its data as it is (an immediate shutdown): what starts on it
// next recovers it from the write-ahead log. A server that does not even do that within 20 seconds is killed, which is reported.
func (c *Cluster) Crash() error {
	if err := c.process.Stop(syscall.SIGQUIT, stopPatience); err != nil {
		return fmt.Errorf("crash PostgreSQL: %w", err)
	}
	return nil
}

func (c *Cluster) openLog() (*os.File, error) {
	path, flags := c.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		flags |= os.O_TRUNC
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at the log of PostgreSQL: %w", err)
	}
	log, err := os.OpenFile(path, flags, 0o600) //nolint:gosec // a path of ours
	if err != nil {
		return nil, fmt.Errorf("open the log of PostgreSQL: %w", err)
	}
	return log, nil
}
