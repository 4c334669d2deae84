package main

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/store"
)

func messagesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "messages", Short: "What was sent, what was not, and sending it once more"}
	cmd.AddCommand(listMessagesCommand(), retryMessagesCommand())
	return cmd
}

// messageStates are those that a message may be listed by.
var messageStates = []string{"queued", "sent", "dead", "expired"}

// messageFlags are the choice of messages that both commands take.
type messageFlags struct {
	state, email, template string
	since                  time.Duration
	limit                  int64
}

func (f *messageFlags) register(cmd *cobra.Command, state string) {
	cmd.Flags().StringVar(&f.state, "state", state, "queued, sent, dead (refused for good) or expired")
	cmd.Flags().StringVar(&f.email, "email", "", "only those of this address and its account")
	cmd.Flags().StringVar(&f.template, "template", "", "only those of this template")
	cmd.Flags().DurationVar(&f.since, "since", 24*time.Hour, "only those made within this time")
	cmd.Flags().Int64Var(&f.limit, "limit", 100, "at most so many, the newest")
}

// find returns the chosen messages, the newest first.
func (f *messageFlags) find(cmd *cobra.Command, p *process, operations *core.Core) ([]store.Message, error) {
	if f.state != "" && !slices.Contains(messageStates, f.state) {
		return nil, fmt.Errorf("--state is %q; it must be one of %v", f.state, messageStates)
	}
	return operations.MessagesOf(cmd.Context(), account.NormalizeEmail(f.email), store.MessageFilter{
		State: f.state, Template: f.template, Since: p.clock.Now().Add(-f.since), Limit: f.limit,
	})
}

func listMessagesCommand() *cobra.Command {
	var f messageFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List messages with state, attempts and the next try", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperations("messages", cmd, func(p *process, operations *core.Core) error {
				found, err := f.find(cmd, p, operations)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				row := func(columns ...any) {
					for _, c := range columns {
						_, _ = fmt.Fprintf(w, "%v\t", c)
					}
					_, _ = fmt.Fprintln(w)
				}
				row("ID", "MADE", "STATE", "TRIES", "NEXT TRY", "CHANNEL", "TO", "TEMPLATE", "FLOW", "WHY")
				for _, m := range found {
					next, why := "", ""
					if m.NextRetryAt != nil {
						next = m.NextRetryAt.UTC().Format(time.RFC3339)
					}
					if m.LastError != nil {
						why = *m.LastError
					}
					row(m.ID, m.CreatedAt.UTC().Format(time.RFC3339), m.State, m.Attempts, next, m.Channel, m.Masked, m.Template, m.Flow, why)
				}
				return w.Flush()
			})
		},
	}
	f.register(cmd, "")
	return cmd
}

func retryMessagesCommand() *cobra.Command {
	var f messageFlags
	cmd := &cobra.Command{
		Use: "retry <id> | retry --state dead --since 24h", Short: "Send messages once more that were given up", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !cmd.Flags().Changed("state") {
				return errors.New("say which: an id, or --state dead or expired, with --since, --email and --template to narrow it")
			}
			return withOperations("messages", cmd, func(p *process, operations *core.Core) error {
				var ids []uuid.UUID
				if len(args) == 1 {
					id, err := uuid.Parse(args[0])
					if err != nil {
						return errors.New("the id is that of `gatehouse messages list`")
					}
					ids = append(ids, id)
				} else {
					found, err := f.find(cmd, p, operations)
					if err != nil {
						return err
					}
					for _, m := range found {
						ids = append(ids, m.ID)
					}
				}
				return retryMessages(cmd, operations, ids)
			})
		},
	}
	f.register(cmd, string(store.MessageDead))
	return cmd
}

func retryMessages(cmd *cobra.Command, operations *core.Core, ids []uuid.UUID) error {
	for _, id := range ids {
		state, err := operations.RetryMessage(cmd.Context(), id)
		if errors.Is(err, account.ErrNotFound) {
			return fmt.Errorf("there is no message %s", id)
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", id, state); err != nil {
			return err
		}
	}
	return nil
}

// withOperations runs a command that needs the operations, and closes what they stand on.
func withOperations(role string, cmd *cobra.Command, run func(*process, *core.Core) error) error {
	p, err := newProcess(role)
	if err != nil {
		return err
	}
	defer p.close(cmd.Context())
	operations, err := p.operations()
	if err != nil {
		return err
	}
	return run(p, operations)
}

// operatorName is the login name of whoever runs a command, for the log.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
