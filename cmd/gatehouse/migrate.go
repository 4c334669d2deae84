package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/internal/config"
	"gatehouse/store"
)

// lockTimeout is how long a migration may hold up the requests that queue behind it: less than they have.
const lockTimeout = 2 * time.Second

func migrateCommand() *cobra.Command {
	var down bool
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
				return db.Rollback(cmd.Context())
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
	cmd.Flags().BoolVar(&down, "down", false, "take back the newest group of migrations")
	return cmd
}
