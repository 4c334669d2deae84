package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

func billingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "billing", Short: "Compare billing with the flows and the payment provider"}
	cmd.AddCommand(reconcileCommand(), findingsCommand())
	return cmd
}

func reconcileCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reconcile", Short: "Start the nightly comparison now, unless it is under way", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("billing")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			err = p.flows.TriggerSchedule(cmd.Context(), workflows.ReconciliationSchedule)
			if errors.Is(err, durable.ErrNoFlow) {
				return errors.New("there is no schedule yet; a worker makes it when it starts")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "started; see what it finds with: gatehouse billing findings")
			return err
		},
	}
}

func findingsCommand() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "findings", Short: "Print what comparisons have found amiss, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("billing")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			all, err := p.store.Findings(cmd.Context(), since)
			for _, f := range all {
				state := "ALARM"
				if f.Repaired {
					state = "repaired"
				}
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\t%s\t%s\n", f.At.Format(time.RFC3339), state, f.Kind, f.Subject, f.Detail)
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&since, "since", 7*24*time.Hour, "how far back")
	return cmd
}
