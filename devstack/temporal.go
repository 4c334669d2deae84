//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gatehouse/devstack/stack"
)

// temporal runs a Temporal server alone, until it is told to stop: what `make bench` measures flows on.
func temporal(args []string) error {
	flags := flag.NewFlagSet("temporal", flag.ContinueOnError)
	port := flags.Int("port", 0, "where to listen on 127.0.0.1; 0 takes a free port")
	file := flags.String("file", "", "keeps the state; empty keeps it in memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("usage: gatehouse-dev temporal [-port n] [-file path] namespace...")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server, err := stack.StartTemporal(ctx, stack.TemporalOptions{Port: *port, File: *file, Namespaces: flags.Args()})
	if err != nil {
		return err
	}
	if _, err := fmt.Println(server.Address); err != nil {
		return errors.Join(err, server.Stop())
	}
	<-ctx.Done()
	return server.Stop()
}
