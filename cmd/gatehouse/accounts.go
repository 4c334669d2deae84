package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/account"
)

func accountsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "accounts", Short: "What support does for an account"}
	cmd.AddCommand(reactivateCommand())
	return cmd
}

func reactivateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reactivate <email|id>", Short: "Open an account again that its owner has deactivated", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newProcess("accounts")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			operations, err := p.operations()
			if err != nil {
				return err
			}
			id, err := p.store.DeactivatedAccount(cmd.Context(), account.NormalizeEmail(args[0]))
			if err == nil {
				err = operations.Reactivate(cmd.Context(), id)
			}
			if errors.Is(err, account.ErrNotFound) {
				return errors.New("no deactivated account has this email or id")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "open again: "+id.String()+"; everybody has to sign in anew")
			return err
		},
	}
}
