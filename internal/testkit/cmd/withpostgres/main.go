//go:build unix

// Command withpostgres runs a command, such as go test, with one throwaway PostgreSQL that all its processes share:
//
//	withpostgres -- go test ./...
//
// It installs PostgreSQL where it is missing and that needs no question, exports GATEHOUSE_TEST_DATABASE_URL, and ends with
// the command's exit status. A server that is already exported is used as it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 2, errors.New("usage: withpostgres -- command [argument ...]")
	}
	// A Ctrl-C reaches the command as well, being of our process group; we wait for its end and then clear up.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	ctx := context.Background()
	url, err := testkit.SharedServer()
	if err != nil {
		return 1, err
	}
	if url == "" {
		server, err := startServer(ctx)
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		url = server.URL
	}
	return runCommand(ctx, args, url, signals)
}

func startServer(ctx context.Context) (*testkit.Server, error) {
	_, err := postgres.FindOrInstall(ctx, os.Stderr, func() {
		fmt.Fprintln(os.Stderr, "withpostgres: PostgreSQL is missing; installing the package postgresql ...")
	})
	if err != nil {
		return nil, err
	}
	return testkit.StartServer(ctx)
}

func runCommand(ctx context.Context, args []string, url string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // what the caller asked for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), testkit.ServerSetting+"="+url)
	if err := cmd.Start(); err != nil {
		return 127, fmt.Errorf("start the command: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGTERM { // which, unlike Ctrl-C, came to us alone
				_ = cmd.Process.Signal(sig)
			}
		case err := <-ended:
			if status, ok := errors.AsType[*exec.ExitError](err); ok {
				return max(status.ExitCode(), 1), nil
			}
			return 0, err
		}
	}
}
