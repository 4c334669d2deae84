package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/store"
)

func restoredCommand() *cobra.Command {
	var keepKeys, yes bool
	cmd := &cobra.Command{
		Use:   "restored",
		Short: "After the database was put back to an older moment: end what that has brought back to life",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return errors.New("this ends every session, trusted device, open code and link, backup code and API key; " +
					"say --yes if the database was restored")
			}
			return withStore(cmd, func(ctx context.Context, s *store.Store) error {
				ended, err := s.EndRestored(ctx, keepKeys)
				if err != nil {
					return fmt.Errorf("not done, run it again: %w", err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(),
					"of %d accounts ended: %d sessions, %d API keys, %d trusted devices, %d backup codes; besides, %d open codes and links\n",
					ended.Accounts, ended.Sessions, ended.Keys, ended.Devices, ended.BackupCodes, ended.Challenges)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "the database was restored, and everybody has to sign in anew")
	cmd.Flags().BoolVar(&keepKeys, "keep-api-keys", false, "leave API keys; those that were deleted since then work again")
	return cmd
}
