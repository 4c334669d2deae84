package main

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/store"
)

func accountsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "accounts", Short: "What support does for an account"}
	cmd.AddCommand(reactivateCommand(), dropFactorCommand())
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

func dropFactorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "drop-factor <email|id>", Short: "Turn two-factor authentication off for an owner who cannot show the factor", Args: cobra.ExactArgs(1),
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
			id, err := uuid.Parse(args[0])
			if err != nil {
				var owner store.EmailOwner
				owner, err = p.store.OwnerOf(cmd.Context(), account.NormalizeEmail(args[0]))
				id = owner.AccountID
			}
			if err == nil {
				err = operations.DropFactor(cmd.Context(), id)
			}
			switch {
			case errors.Is(err, account.ErrNotFound):
				return errors.New("no account in use has this email or id")
			case errors.Is(err, account.ErrTwoFactorNotEnabled):
				return errors.New("two-factor authentication is off already")
			case err != nil:
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "off: "+id.String()+"; everybody has to sign in anew")
			return err
		},
	}
}
