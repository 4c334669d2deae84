package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/durable"
)

func flowsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "flows", Short: "Find flows without personal data in their ids"}
	cmd.AddCommand(findFlowsCommand(), replayFlowsCommand())
	return cmd
}

// foundFlows is how many flows are printed unless more are asked for.
const foundFlows = 30

// findFlowsCommand computes the keyed hashes here: the address goes nowhere.
func findFlowsCommand() *cobra.Command {
	var email, phone, owner string
	var most int32
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "find --email ADDRESS | --phone NUMBER | --account ID",
		Short: "Print somebody's flows: state, stage, next action, id and link; and the tries left of their codes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := core.FindFlowsInput{Email: account.NormalizeEmail(email), Phone: phone, Most: most}
			if owner != "" {
				var err error
				if in.AccountID, err = uuid.Parse(owner); err != nil {
					return errors.New("--account is the id of an account")
				}
			}
			return withOperations("flows", cmd, func(p *process, operations *core.Core) error {
				found, err := operations.FindFlows(cmd.Context(), in)
				if err != nil {
					return err
				}
				link := func(f durable.Flow) string {
					return fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s", p.config.TemporalUIURL, p.config.TemporalNamespace, url.PathEscape(f.ID), f.RunID)
				}
				if asJSON {
					return printFlowsJSON(cmd.OutOrStdout(), found, link)
				}
				return printFlows(cmd.OutOrStdout(), found, link)
			})
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "the email address")
	cmd.Flags().StringVar(&phone, "phone", "", "the number, such as +491701234567")
	cmd.Flags().StringVar(&owner, "account", "", "the account's id")
	cmd.Flags().Int32Var(&most, "limit", foundFlows, "at most so many flows, the newest")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsOneRequired("email", "phone", "account")
	cmd.MarkFlagsMutuallyExclusive("email", "phone", "account")
	return cmd
}

func printFlows(out io.Writer, found core.FoundFlows, link func(durable.Flow) string) error {
	for _, id := range found.Accounts {
		_, _ = fmt.Fprintf(out, "account %s\n", id)
	}
	if len(found.Flows) == 0 {
		_, _ = fmt.Fprintln(out, "no flow, or none that is still kept")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(columns ...any) {
		for _, c := range columns {
			_, _ = fmt.Fprintf(w, "%v\t", c)
		}
		_, _ = fmt.Fprintln(w)
	}
	when := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	if len(found.Flows) > 0 {
		row("FLOW", "STATE", "STAGE", "NEXT", "BEGAN", "ID", "LINK")
	}
	for _, f := range found.Flows {
		state := f.State
		if f.Problem {
			state += ", stuck"
		}
		row(f.Kind, state, f.Stage, when(f.NextActionAt), when(&f.Began), f.ID, link(f))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(found.Codes) > 0 {
		_, _ = fmt.Fprintln(out)
		row("CODE", "STATE", "TRIES LEFT", "EXPIRES", "CHANNEL", "TO")
	}
	for _, c := range found.Codes {
		row(c.Purpose, c.State, c.TriesLeft, when(&c.ExpiresAt), c.Channel, c.Destination)
	}
	return w.Flush()
}

func printFlowsJSON(out io.Writer, found core.FoundFlows, link func(durable.Flow) string) error {
	type linked struct {
		durable.Flow

		Link string `json:"link"`
	}
	all := struct {
		Accounts []uuid.UUID     `json:"accounts"`
		Flows    []linked        `json:"flows"`
		Codes    []core.OpenCode `json:"codes"`
	}{Accounts: found.Accounts, Flows: []linked{}, Codes: found.Codes}
	for _, f := range found.Flows {
		all.Flows = append(all.Flows, linked{f, link(f)})
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}
