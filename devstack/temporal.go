//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"gatehouse/devstack/stack"
)

// temporal runs a Temporal server alone until ctx ends, and prints its address: what `make bench` measures flows on.
func temporal(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("temporal", flag.ContinueOnError)
	port := flags.Int("port", 0, "where to listen on 127.0.0.1; 0 takes a free port")
	file := flags.String("file", "", "keeps the state; empty keeps it in memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("temporal wants the names of namespaces")
	}
	server, err := stack.StartTemporal(ctx, stack.TemporalOptions{Port: *port, File: *file, Namespaces: flags.Args()})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, server.Address); err != nil {
		return errors.Join(err, server.Stop())
	}
	<-ctx.Done()
	return server.Stop()
}
