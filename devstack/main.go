//go:build unix

// Command gatehouse-dev runs Gatehouse on a developer's machine:
//
//	gatehouse-dev run     the whole system: PostgreSQL, Temporal with its UI, migrations, worker and API
//	gatehouse-dev demo    a sign-up played against a running system
//	gatehouse-dev temporal [-port n] [-file path] namespace...    a Temporal server alone, for `make bench`
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gatehouse/devstack/demo"
	"gatehouse/devstack/stack"
)

// killPatience is how long a second Ctrl-C waits for the children to be gone.
const killPatience = 2 * time.Second

const usage = `usage: gatehouse-dev run | demo | temporal [-port n] [-file path] namespace...

  run       run the whole system on this machine; settings are environment variables:
            GATEHOUSE_API_ADDR=127.0.0.1:8080   GATEHOUSE_OPS_ADDR=127.0.0.1:9090   GATEHOUSE_DATA_DIR=.gatehouse
            GATEHOUSE_POSTGRES_PORT=54329       GATEHOUSE_TEMPORAL_PORT=7233        GATEHOUSE_TEMPORAL_UI_PORT=8233
            GATEHOUSE_WORKER=off                without a worker, for one that you start and debug alone
            DATABASE_URL=, TEMPORAL_ADDRESS=    use these instead of embedded ones
  demo      play a sign-up against the running system of GATEHOUSE_DATA_DIR
  temporal  run a Temporal server alone until it is stopped, with these namespaces, and print its address (make bench measures flows on it);
            -port 0 takes a free port, without -file the state is kept in memory
`

func main() {
	if len(os.Args) != 2 && (len(os.Args) < 2 || os.Args[1] != "temporal") {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = run()
	case "demo":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = demo.Play(ctx, os.Stdout, os.Environ())
	case "temporal":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = temporal(ctx, os.Stdout, os.Args[2:])
	case "help", "-h", "--help":
		_, _ = fmt.Fprint(os.Stdout, usage)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ngatehouse-dev: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return fmt.Errorf("find the gatehouse binary: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kill := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan error, 1)
	go func() {
		done <- stack.Run(ctx, stack.RunOptions{
			Environ: os.Environ(), Binary: filepath.Join(filepath.Dir(self), "gatehouse"), Out: os.Stdout, Kill: kill,
		})
	}()
	for asked := 0; ; {
		select {
		case err := <-done:
			return err
		case <-signals:
			if asked++; asked == 1 {
				cancel()
				continue
			}
			close(kill)
			select {
			case <-done: //nolint:errcheck // killed is killed
			case <-time.After(killPatience):
			}
			return errors.New("killed")
		}
	}
}
