package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"gatehouse/account"
)

func flowsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "flows", Short: "Find flows without personal data in their ids"}
	cmd.AddCommand(findFlowsCommand())
	return cmd
}

// findFlowsCommand computes the keyed hashes here: the address goes nowhere.
func findFlowsCommand() *cobra.Command {
	var email string
	cmd := &cobra.Command{
		Use: "find", Short: "Print the workflow ids and Temporal UI links of an address", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if email == "" {
				return errors.New("say whose flows: --email")
			}
			p, err := newProcess("flows")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			for _, flow := range flowsOf(p, account.NormalizeEmail(email)) {
				link := fmt.Sprintf("%s/namespaces/%s/workflows/%s", p.config.TemporalUIURL, p.config.TemporalNamespace, url.PathEscape(flow.id))
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", flow.name, flow.id, link); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "the email address")
	return cmd
}

type namedFlow struct{ name, id string }

func flowsOf(p *process, email string) []namedFlow {
	var all []namedFlow
	for _, kind := range []account.SignupKind{account.SignupByCode, account.SignupByRegister, account.SignupTaken} {
		all = append(all, namedFlow{"sign-up (" + string(kind) + ")", p.keys.FlowID("signup", string(kind), email)})
	}
	return append(all, namedFlow{"password reset", p.keys.FlowID("password", "reset", email)})
}
