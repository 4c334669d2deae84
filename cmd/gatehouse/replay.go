package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/worker"
	"gatehouse/workflows"
)

// replaySample is how many flows are replayed unless more are asked for: seconds for each workflow.
const replaySample = 1000

// replayFlowsCommand tries this build's code on real flows.
func replayFlowsCommand() *cobra.Command {
	var query string
	var most int
	cmd := &cobra.Command{
		Use: "replay", Args: cobra.NoArgs,
		Short: "Try, before a deploy, whether this build can go on with the flows that are open; changes nothing",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most <= 0 {
				return fmt.Errorf("--limit is %d; it must be more than 0", most)
			}
			p, err := newProcess("replay")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			replayed, faults, err := worker.Replay(cmd.Context(), worker.ReplayDeps{
				Client: p.flows, Keyring: p.keyring, Register: workflows.Register, Query: query, Most: most,
				Each: func(r worker.Replayed) {
					if r.Fault != nil {
						_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\t%v\n", r.Workflow, r.WorkflowID, r.RunID, r.Fault)
					}
				},
			})
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "replayed %d flows, %d of them fail\n", replayed, faults)
			if faults > 0 {
				return fmt.Errorf("this build cannot go on with %d of %d flows: do not deploy it", faults, replayed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&query, "query", "ExecutionStatus = 'Running'", "which flows, as in the filter of the Temporal UI")
	cmd.Flags().IntVar(&most, "limit", replaySample, "how many of each workflow at most, the newest first")
	return cmd
}
