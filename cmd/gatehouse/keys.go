package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make the keys of an installation, and API keys"}
	cmd.AddCommand(generateKeysCommand(), createKeyCommand(), codecKeysCommand())
	return cmd
}

func generateKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate", Short: "Print a fresh set of installation keys, as environment variables", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keyset, err := durable.GenerateKeyset()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "GATEHOUSE_SECRET_KEY='%s'\nGATEHOUSE_SIGNING_KEY='%s'\nGATEHOUSE_CODEC_KEYS='%s'\n",
				secret.GenerateKey(), secret.GenerateKey(), keyset)
			return err
		},
	}
}

func createKeyCommand() *cobra.Command {
	var service bool
	var name, email string
	var scopes []string
	cmd := &cobra.Command{
		Use: "create", Short: "Create an API key and print it, once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if service == (email != "") {
				return errors.New("say whose key it is: --service, or --account with an email")
			}
			p, err := newProcess("keys")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			key := account.APIKey{ID: uuid.New(), Name: name, Service: service}
			prefix := secret.ServiceKeyPrefix
			if !service {
				owner, err := p.store.OwnerOf(cmd.Context(), account.NormalizeEmail(email))
				if err != nil {
					return fmt.Errorf("find the account: %w", err)
				}
				key.AccountID, prefix = &owner.AccountID, secret.APIKeyPrefix
				for _, s := range scopes {
					scope := account.Scope(s)
					if !slices.Contains(account.Scopes(), scope) {
						return fmt.Errorf("%q is no scope; there are %s, %s and %s", s, account.ScopeRead, account.ScopeWrite, account.ScopeSecurity)
					}
					key.Scopes = append(key.Scopes, scope)
				}
			}
			token := secret.NewToken(prefix)
			if _, err := p.store.CreateAPIKey(cmd.Context(), key, p.keys.TokenHash(core.APIKeyHash, token), 0); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().BoolVar(&service, "service", false, "a key for a backend of yours, of no account")
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringVar(&email, "account", "", "the email of the account that owns the key")
	cmd.Flags().StringSliceVar(&scopes, "scopes", []string{string(account.ScopeRead), string(account.ScopeWrite)}, "what an account's key may do")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}
