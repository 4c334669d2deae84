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
			for _, kind := range []account.SignupKind{account.SignupByCode, account.SignupByRegister, account.SignupTaken} {
				id := p.keys.FlowID("signup", string(kind), account.NormalizeEmail(email))
				link := fmt.Sprintf("%s/namespaces/%s/workflows/%s", p.config.TemporalUIURL, p.config.TemporalNamespace, url.PathEscape(id))
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "sign-up (%s)\t%s\t%s\n", kind, id, link); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "the email address")
	return cmd
}
