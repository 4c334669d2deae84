package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

func webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhooks", Short: "Say who is told of events, and look at what became of it"}
	cmd.AddCommand(
		addWebhookCommand(), listWebhooksCommand(), webhookDeliveriesCommand(), replayWebhooksCommand(), rotateWebhookSecretCommand(),
		onWebhook("remove ID", "Forget a receiver, and what is on its way to it", func(cmd *cobra.Command, p *process, id uuid.UUID) error {
			return p.store.RemoveWebhookEndpoint(cmd.Context(), id)
		}),
		onWebhook("enable ID", "Tell a receiver again, first of what has waited for it", func(cmd *cobra.Command, p *process, id uuid.UUID) error {
			return p.store.EnableWebhookEndpoint(cmd.Context(), id)
		}),
		onWebhook("disable ID", "Tell a receiver nothing until it is enabled; what happens waits for it", func(cmd *cobra.Command, p *process, id uuid.UUID) error {
			return p.store.DisableWebhookEndpoint(cmd.Context(), id, account.WebhookByOperator)
		}),
		onWebhook("ping ID", "Send a receiver an event of type webhook.ping", func(cmd *cobra.Command, p *process, id uuid.UUID) error {
			return p.store.TellOne(cmd.Context(), id, account.WebhookEvent{Type: account.WebhookPing, At: p.clock.Now(), Data: map[string]any{}})
		}),
		&cobra.Command{
			Use: "types", Short: "Print the types of events", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				for _, t := range account.WebhookTypes() {
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), t)
				}
				return nil
			},
		},
	)
	return cmd
}

// withProcess runs something that needs settings and the database.
func withProcess(cmd *cobra.Command, run func(p *process) error) error {
	p, err := newProcess("webhooks")
	if err != nil {
		return err
	}
	defer p.close(cmd.Context())
	return run(p)
}

// onWebhook is a command about one receiver.
func onWebhook(use, short string, run func(cmd *cobra.Command, p *process, id uuid.UUID) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := receiverID(args[0])
			if err != nil {
				return err
			}
			return withProcess(cmd, func(p *process) error {
				err := run(cmd, p, id)
				if errors.Is(err, account.ErrNotFound) {
					return fmt.Errorf("there is no receiver %s", id)
				}
				return err
			})
		},
	}
}

func receiverID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, fmt.Errorf("%q is no id of a receiver; `gatehouse webhooks list` prints them", s)
	}
	return id, nil
}

func addWebhookCommand() *cobra.Command {
	n := store.NewWebhookEndpoint{ID: uuid.New()}
	cmd := &cobra.Command{
		Use: "add", Short: "Add a receiver of events and print its id and its secret, once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var faults []error
			for _, pattern := range n.Events {
				if fault := account.WebhookPatternFault(pattern); fault != "" {
					faults = append(faults, errors.New(fault))
				}
			}
			if len(n.Events) == 0 {
				faults = append(faults, errors.New("--events names none"))
			}
			return withProcess(cmd, func(p *process) error {
				receivers := p.receivers()
				defer receivers.Close()
				if fault := receivers.URLFault(n.URL); fault != "" {
					faults = append(faults, fmt.Errorf("--url %s", fault))
				}
				if len(faults) > 0 {
					return errors.Join(faults...)
				}
				shown := secret.NewWebhookSecret()
				n.Secret = p.keys.SealWebhookSecret(n.ID, shown)
				if err := p.store.AddWebhookEndpoint(cmd.Context(), n); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", n.ID, shown)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&n.URL, "url", "", "where events are posted to")
	cmd.Flags().StringSliceVar(&n.Events, "events", []string{account.AllWebhooks}, "the types it wants, such as subscription.* or account.created")
	cmd.Flags().StringVar(&n.Description, "description", "", "what it is for")
	_ = cmd.MarkFlagRequired("url")
	return cmd
}

func rotateWebhookSecretCommand() *cobra.Command {
	return onWebhook("rotate-secret ID", "Give a receiver a new secret and print it, once; the former one signs beside it for a while (GATEHOUSE_WEBHOOK_SECRET_OVERLAP)",
		func(cmd *cobra.Command, p *process, id uuid.UUID) error {
			shown := secret.NewWebhookSecret()
			if err := p.store.RotateWebhookSecret(cmd.Context(), id, p.keys.SealWebhookSecret(id, shown), p.config.Webhook.SecretOverlap); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), shown)
			return err
		})
}

func listWebhooksCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "Print the receivers, how they stand, and the count of their deliveries", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withProcess(cmd, func(p *process) error {
				all, err := p.store.WebhookEndpoints(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(endpointLines(all))
				}
				return writeTable(cmd.OutOrStdout(), "ID\tSTATE\tSINCE\tOWED\tWAITING\tDELIVERED\tDEAD\tEVENTS\tURL\tDESCRIPTION", func(row func(...any)) {
					for _, e := range endpointLines(all) {
						row(e.ID, e.State, e.Since, e.Deliveries[account.WebhookOwed]+e.Deliveries[account.WebhookSending], e.Deliveries[account.WebhookWaiting],
							e.Deliveries[account.WebhookDelivered], e.Deliveries[account.WebhookDead], e.Events, e.URL, e.Description)
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return cmd
}

// endpointLine is a receiver as it is printed.
type endpointLine struct {
	ID          uuid.UUID                    `json:"id"`
	URL         string                       `json:"url"`
	Description string                       `json:"description"`
	Events      []string                     `json:"events"`
	State       string                       `json:"state"`
	Since       string                       `json:"since"`
	Deliveries  map[account.WebhookState]int `json:"deliveries"`
}

func endpointLines(all []store.EndpointReport) []endpointLine {
	lines := make([]endpointLine, len(all))
	for i, e := range all {
		line := endpointLine{ID: e.ID, URL: e.URL, Description: e.Description, Events: e.Events, State: "enabled", Deliveries: e.Deliveries}
		switch {
		case e.DisabledAt != nil:
			line.State, line.Since = "disabled ("+string(e.Disabled)+")", e.DisabledAt.Format(time.RFC3339)
		case e.FailingSince != nil:
			line.State, line.Since = "failing", e.FailingSince.Format(time.RFC3339)
		}
		lines[i] = line
	}
	return lines
}

func webhookDeliveriesCommand() *cobra.Command {
	var endpoint, state string
	var atMost int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "deliveries", Short: "Print the newest deliveries, and what became of them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" && !slices.Contains(account.WebhookStates(), account.WebhookState(state)) {
				return fmt.Errorf("--state is %q; it must be one of %v", state, account.WebhookStates())
			}
			var id uuid.UUID
			if endpoint != "" {
				var err error
				if id, err = receiverID(endpoint); err != nil {
					return err
				}
			}
			return withProcess(cmd, func(p *process) error {
				all, err := p.store.WebhookDeliveries(cmd.Context(), id, account.WebhookState(state), atMost)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(deliveryLines(all))
				}
				return writeTable(cmd.OutOrStdout(), "DELIVERY\tEVENT\tTYPE\tRECEIVER\tSTATE\tATTEMPTS\tLAST\tNEXT\tCREATED", func(row func(...any)) {
					for _, d := range deliveryLines(all) {
						row(d.ID, d.Event, d.Type, d.Receiver, d.State, d.Attempts, d.Last, d.Next, d.Created)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "the receiver's id")
	cmd.Flags().StringVar(&state, "state", "", "owed, sending, waiting, delivered or dead")
	cmd.Flags().IntVar(&atMost, "limit", 50, "how many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return cmd
}

// deliveryLine is a delivery as it is printed.
type deliveryLine struct {
	ID       uuid.UUID            `json:"id"`
	Event    string               `json:"event"`
	Type     string               `json:"type"`
	Receiver uuid.UUID            `json:"receiver"`
	State    account.WebhookState `json:"state"`
	Attempts int                  `json:"attempts"`
	Last     string               `json:"last"`
	Next     string               `json:"next"`
	Created  string               `json:"created"`
}

func deliveryLines(all []store.WebhookReport) []deliveryLine {
	lines := make([]deliveryLine, len(all))
	for i, d := range all {
		line := deliveryLine{
			ID: d.ID, Event: account.WebhookID(d.EventID), Type: d.Type, Receiver: d.EndpointID, State: d.State, Attempts: d.Attempts,
			Created: d.CreatedAt.Format(time.RFC3339),
		}
		switch {
		case d.Reason != nil:
			line.Last = *d.Reason
		case d.Status != nil:
			line.Last = strconv.Itoa(*d.Status)
		}
		if d.NextTryAt != nil {
			line.Next = d.NextTryAt.Format(time.RFC3339)
		}
		lines[i] = line
	}
	return lines
}

func replayWebhooksCommand() *cobra.Command {
	var endpoint, since string
	var r store.Replay
	cmd := &cobra.Command{
		Use: "replay [EVENT|DELIVERY]", Short: "Tell receivers again: one event or delivery, or all that a receiver has missed since a moment", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if (len(args) == 1) == (since != "") || since != "" && endpoint == "" {
				return errors.New("say what: an id, or --endpoint with --since")
			}
			if endpoint != "" {
				if r.Endpoint, err = receiverID(endpoint); err != nil {
					return err
				}
			}
			if len(args) == 1 {
				r.ID, err = account.ParseWebhookID(args[0])
			} else if r.Since, err = time.Parse(time.RFC3339, since); err != nil {
				err = fmt.Errorf("--since is %q; it must be as 2026-11-22T03:00:00Z", since)
			}
			if err != nil {
				return err
			}
			return withProcess(cmd, func(p *process) error {
				n, err := p.store.ReplayWebhooks(cmd.Context(), r)
				if err != nil {
					return err
				}
				if n == 0 && r.ID != uuid.Nil {
					return errors.New("nothing under this id can be owed again: it is unknown, or is owed or being sent already")
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries are owed again\n", n)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "the receiver's id")
	cmd.Flags().StringVar(&since, "since", "", "everything from this moment on that was not delivered (RFC 3339)")
	cmd.Flags().BoolVar(&r.All, "all", false, "with --since: what was delivered, too")
	return cmd
}

// writeTable prints rows under a head, in columns.
func writeTable(out io.Writer, head string, rows func(row func(...any))) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, head)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(table, "\t")
			}
			_, _ = fmt.Fprint(table, c)
		}
		_, _ = fmt.Fprintln(table)
	})
	return table.Flush()
}
