// Command gatehouse is the one binary of Gatehouse: API, worker, migrations and the tools of its operators.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "gatehouse:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "gatehouse",
		Short:         "An account backend whose flows cannot get lost",
		SilenceUsage:  true,
		SilenceErrors: true,

		PersistentPreRun: func(cmd *cobra.Command, _ []string) { asOperator(cmd) },
	}
	root.AddCommand(
		apiCommand(), workerCommand(), migrateCommand(), keysCommand(), accountsCommand(), plansCommand(), billingCommand(), membershipsCommand(),
		messagesCommand(), auditCommand(), webhooksCommand(), flowsCommand(), restoredCommand(), configCommand(), healthcheckCommand(),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
				return err
			},
		},
	)
	refuseUnknown(root)
	return root
}

// refuseUnknown has groups of commands refuse a word that is none of theirs: cobra prints help for it, and exits as if all were
// well.
func refuseUnknown(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		refuseUnknown(c)
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}
