package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/internal/config"
	"gatehouse/store"
)

// lockTimeout is how long a migration may hold up the requests that queue behind it: less than they have.
const lockTimeout = 2 * time.Second

func migrateCommand() *cobra.Command {
	var down, yes bool
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the database schema up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := config.DatabaseURL()
			if err != nil {
				return err
			}
			db, err := store.Open(store.Options{URL: url, Application: "gatehouse-migrate", StatementTimeout: -1, LockTimeout: lockTimeout})
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			if down {
				return takeBack(cmd, db, yes)
			}
			applied, err := db.Migrate(cmd.Context())
			if err != nil {
				return err
			}
			for _, name := range applied {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "applied", name)
			}
			if len(applied) == 0 {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "the schema is up to date")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&down, "down", false, "take back all that the newest run of migrate has applied, and drop its data")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --down: that data may go; on an installation that was migrated once it is everything")
	return cmd
}

func takeBack(cmd *cobra.Command, db *store.Store, yes bool) error {
	if !yes {
		return errors.New("this drops the data of all that the newest run of migrate has applied, which on an installation that was " +
			"migrated once is everything; say --yes if it may go")
	}
	if err := db.Rollback(cmd.Context()); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "taken back")
	return err
}
