package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/workflows"
)

func flowsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "flows", Short: "Find flows without personal data in their ids"}
	cmd.AddCommand(findFlowsCommand(), replayFlowsCommand())
	return cmd
}

// findFlowsCommand computes the keyed hashes here: the address goes nowhere.
func findFlowsCommand() *cobra.Command {
	var email string
	cmd := &cobra.Command{
		Use: "find", Short: "Print the workflow ids and Temporal UI links of an address and its account", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if email == "" {
				return errors.New("say whose flows: --email")
			}
			p, err := newProcess("flows")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			found, err := flowsOf(cmd.Context(), p, account.NormalizeEmail(email))
			for _, flow := range found {
				link := fmt.Sprintf("%s/namespaces/%s/workflows/%s", p.config.TemporalUIURL, p.config.TemporalNamespace, url.PathEscape(flow.ID))
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", flow.Name, flow.ID, link); err != nil {
					return err
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "the email address")
	return cmd
}

// flowsOf returns the flows of an address, and of the account that has it. Those of the address are there without the database.
func flowsOf(ctx context.Context, p *process, email string) ([]core.NamedFlow, error) {
	all := core.FlowsOfEmail(p.keys, email)
	owner, err := p.store.OwnerOf(ctx, email)
	if errors.Is(err, account.ErrNotFound) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	all = append(all, core.FlowsOfAccount(p.keys, owner.AccountID)...)
	subscriptions, err := p.store.SubscriptionsOf(ctx, owner.AccountID)
	for _, s := range subscriptions {
		all = append(all, core.NamedFlow{Name: "subscription (" + s.Plan.Code + ", " + string(s.Status) + ")", ID: workflows.SubscriptionWorkflowID(s.ID)})
	}
	return all, err
}
