package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make the keys of an installation, and API keys"}
	cmd.AddCommand(generateKeysCommand(), createKeyCommand(), listKeysCommand(), revokeKeyCommand(), codecKeysCommand())
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
			// No quotes: a shell needs none, and kubectl and Docker would take them for a part of the value.
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "GATEHOUSE_SECRET_KEY=%s\nGATEHOUSE_SIGNING_KEY=%s\nGATEHOUSE_CODEC_KEYS=%s\n",
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
			operations, err := p.operations()
			if err == nil {
				err = operations.GrantKey(cmd.Context(), key, token)
			}
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "key %s; its secret is shown this once\n", key.ID)
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

func listKeysCommand() *cobra.Command {
	var email string
	cmd := &cobra.Command{
		Use: "list", Short: "List the live service keys, or the API keys of an account", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("keys")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			keys, err := p.keysOf(cmd.Context(), email)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "ID\tNAME\tSCOPES\tCREATED\tLAST USED")
			for _, k := range keys {
				scopes, used := "service", "never"
				if !k.Service {
					scopes = strings.Trim(fmt.Sprint(k.Scopes), "[]")
				}
				if k.LastUsedAt != nil {
					used = k.LastUsedAt.UTC().Format(time.RFC3339)
				}
				_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, scopes, k.CreatedAt.UTC().Format(time.RFC3339), used)
			}
			return t.Flush()
		},
	}
	cmd.Flags().StringVar(&email, "account", "", "the email of the account whose keys to list")
	return cmd
}

func (p *process) keysOf(ctx context.Context, email string) ([]account.APIKey, error) {
	if email == "" {
		return p.store.ServiceKeys(ctx)
	}
	owner, err := p.store.OwnerOf(ctx, account.NormalizeEmail(email))
	if err != nil {
		return nil, fmt.Errorf("find the account: %w", err)
	}
	return p.store.APIKeys(ctx, owner.AccountID)
}

func revokeKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a service key or an account's API key: the next request with it is refused", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return errors.New("name the key by its id, as `gatehouse keys list` shows it")
			}
			p, err := newProcess("keys")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			operations, err := p.operations()
			if err != nil {
				return err
			}
			owner, err := operations.EndKey(cmd.Context(), id)
			if errors.Is(err, account.ErrNotFound) {
				return errors.New("no live key has this id")
			}
			if err != nil {
				return err
			}
			whose := "a service key"
			if owner != nil {
				whose = "a key of account " + owner.String()
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s: %s\n", id, whose)
			return err
		},
	}
}
