package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/store"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "What has happened to an account, by whom; check and shorten the log of it"}
	cmd.AddCommand(listEventsCommand(), checkAuditCommand(), pruneAuditCommand())
	return cmd
}

// asOperator makes whatever a command changes the deed of whoever runs it. API and worker act for others.
func asOperator(cmd *cobra.Command) {
	if name := cmd.Name(); name != "api" && name != "worker" {
		cmd.SetContext(account.WithActing(cmd.Context(), account.Acting{Kind: account.ActorOperator, ID: operatorName()}))
	}
}

// withStore runs what needs nothing but the database.
func withStore(cmd *cobra.Command, run func(ctx context.Context, s *store.Store) error) error {
	p, err := newProcess("audit")
	if err != nil {
		return err
	}
	defer p.close(cmd.Context())
	return run(cmd.Context(), p.store)
}

func listEventsCommand() *cobra.Command {
	var email, id string
	var installation, asJSON bool
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "Print the events of an account, or of the installation, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *store.Store) error {
				accounts, err := auditedAccounts(ctx, s, account.NormalizeEmail(email), id, installation)
				if err != nil {
					return err
				}
				var events []account.Event
				for _, one := range accounts {
					found, _, err := s.Events(ctx, store.EventPage{AccountID: one, Limit: limit})
					if err != nil {
						return err
					}
					events = append(events, found...)
				}
				if asJSON {
					return writeEvents(cmd.OutOrStdout(), events)
				}
				return tabulateEvents(cmd.OutOrStdout(), events)
			})
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "the account that has this address, and closed ones that had it and are not erased yet")
	cmd.Flags().StringVar(&id, "account", "", "the account with this id, also one that is gone")
	cmd.Flags().BoolVar(&installation, "installation", false, "what concerns no account: service keys, and the log itself")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line, with all that is known")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many per account, the newest")
	cmd.MarkFlagsMutuallyExclusive("email", "account", "installation")
	cmd.MarkFlagsOneRequired("email", "account", "installation")
	return cmd
}

func auditedAccounts(ctx context.Context, s *store.Store, email, id string, installation bool) ([]uuid.UUID, error) {
	if installation {
		return []uuid.UUID{uuid.Nil}, nil
	}
	name := email
	if id != "" {
		parsed, err := uuid.Parse(id)
		if err != nil {
			return nil, errors.New("--account must be the id of an account")
		}
		name = parsed.String()
	}
	found, err := s.AuditedAccounts(ctx, name)
	if err == nil && len(found) == 0 {
		err = errors.New("no account has or had this email or id")
	}
	return found, err
}

// writeEvents prints events as programs like them.
func writeEvents(to io.Writer, events []account.Event) error {
	encoder := json.NewEncoder(to)
	for _, e := range events {
		err := encoder.Encode(map[string]any{
			"id": e.ID, "account_id": e.AccountID, "sequence": e.Sequence, "type": e.Name, "at": e.At.UTC(), "actor": e.Acting,
			"details": e.Details,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func tabulateEvents(to io.Writer, events []account.Event) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "AT\tACCOUNT\tNO\tTYPE\tBY\tFROM\tREQUEST\tDETAILS")
	for _, e := range events {
		details, err := json.Marshal(e.Details)
		if err != nil {
			return err
		}
		by := string(e.Acting.Kind)
		if e.Acting.ID != "" {
			by += " " + e.Acting.ID
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", e.At.UTC().Format(time.RFC3339), e.AccountID, e.Sequence, e.Name, by,
			e.Acting.Network, e.Acting.RequestID, details)
	}
	return w.Flush()
}

// shownFaults bounds what a check prints.
const shownFaults = 100

func checkAuditCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Compare the whole log with the accounts: every change once, no gap", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *store.Store) error {
				faults, err := s.AuditFaults(ctx, shownFaults)
				if err != nil {
					return err
				}
				for _, f := range faults {
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), f)
				}
				if len(faults) > 0 {
					return errors.New("the audit log and the accounts disagree")
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "every change is in the log, once, and the log has no gap")
				return err
			})
		},
	}
}

// leastRetention keeps a slip of the keyboard from emptying the log.
const leastRetention = 30 * 24 * time.Hour

func pruneAuditCommand() *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove events from before a day, for good; that it was done stays in the log", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			moment, err := time.Parse(time.DateOnly, before)
			if err != nil {
				return fmt.Errorf("--before is %q; it must be a day such as 2026-01-31", before)
			}
			return withStore(cmd, func(ctx context.Context, s *store.Store) error {
				if (account.SystemClock{}).Now().Sub(moment) < leastRetention {
					return errors.New("--before is less than 30 days ago: what is that young stays")
				}
				n, err := s.PruneEvents(ctx, moment)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %d events from before %s\n", n, before)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&before, "before", "", "the first day to keep, in UTC")
	_ = cmd.MarkFlagRequired("before")
	return cmd
}
