package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/worker"
)

const (
	everything = 100
	// promoteRetry is how often a promotion looks for the workers it waits for.
	promoteRetry = time.Second
)

// versionsCommand shows the builds of workers that Temporal knows of.
func versionsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "versions", Short: "List the builds of versioned workers, and whether they may be stopped", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("versions")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			all, err := worker.Versions(cmd.Context(), p.flows, p.config.WorkerDeployment)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "BUILD\tSTATE\tPINNED FLOWS\tFIRST SEEN")
			for _, v := range all {
				state := v.State
				if v.Percent > 0 {
					state = fmt.Sprintf("%s %g%%", state, v.Percent)
				}
				_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", v.BuildID, state, v.Pinned, v.Created.UTC().Format(time.RFC3339))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// promoteCommand makes a build current.
func promoteCommand() *cobra.Command {
	var percent float32
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "promote BUILD-ID", Args: cobra.ExactArgs(1),
		Short: "Give new flows, and the open ones that are not pinned, to a build (or to workers that are \"unversioned\")",
		RunE: func(cmd *cobra.Command, args []string) error {
			if percent <= 0 || percent > everything {
				return errors.New("--percent must be more than 0 and at most 100")
			}
			p, err := newProcess("promote")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			build := worker.Build{Deployment: p.config.WorkerDeployment, ID: args[0]}
			err = promote(cmd.Context(), wait, func(ctx context.Context) error { return worker.Promote(ctx, p.flows, build, percent) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "build %s gets %g%% of the flows\n", build.ID, percent)
			return err
		},
	}
	cmd.Flags().Float32Var(&percent, "percent", everything, "the share of the flows that goes to it; 100 makes it current")
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for workers of the build to poll all queues")
	return cmd
}

// promote waits for workers that are just starting, and for a Temporal that is busy.
func promote(ctx context.Context, wait time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, max(wait, promoteRetry))
	defer cancel()
	again := time.NewTicker(promoteRetry)
	defer again.Stop()
	for {
		err := try(ctx)
		if !errors.Is(err, worker.ErrNoBuild) && !errors.Is(err, worker.ErrNotAnswered) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}

// releaseCommand frees the flows of a build whose workers are gone for good.
func releaseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "release BUILD-ID", Short: "Let the current build go on with the flows that are pinned to a build whose workers are gone",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newProcess("release")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			n, err := worker.Release(cmd.Context(), p.flows, worker.Build{Deployment: p.config.WorkerDeployment, ID: args[0]})
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "released %d flows\n", n)
			return err
		},
	}
}
