package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"gatehouse/account"
)

func membershipsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "memberships", Short: "Say what people are members of (contract B17)"}
	var email string
	var m account.Membership
	set := &cobra.Command{
		Use: "set", Short: "Make an account a member of an organization, or change its role there", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(m.Organization) == "" || strings.TrimSpace(m.Role) == "" {
				return errors.New("organization and role must not be blank")
			}
			return onAccount(cmd, email, func(p *process, owner uuid.UUID) error { return p.store.SetMembership(cmd.Context(), owner, m) })
		},
	}
	set.Flags().StringVar(&m.Role, "role", "member", "the role there")
	set.Flags().BoolVar(&m.Public, "public", false, "show it to anybody who asks for the address")
	remove := &cobra.Command{
		Use: "remove", Short: "End a membership", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onAccount(cmd, email, func(p *process, owner uuid.UUID) error {
				return p.store.RemoveMembership(cmd.Context(), owner, m.Organization)
			})
		},
	}
	for _, one := range []*cobra.Command{set, remove} {
		one.Flags().StringVar(&email, "account", "", "the verified email of the account")
		one.Flags().StringVar(&m.Organization, "organization", "", "the organization's name")
		_ = one.MarkFlagRequired("account")
		_ = one.MarkFlagRequired("organization")
		cmd.AddCommand(one)
	}
	return cmd
}

// onAccount does something with the account whose proven address is email.
func onAccount(cmd *cobra.Command, email string, do func(p *process, owner uuid.UUID) error) error {
	p, err := newProcess("memberships")
	if err != nil {
		return err
	}
	defer p.close(cmd.Context())
	owner, err := p.store.OwnerOf(cmd.Context(), account.NormalizeEmail(email))
	if err != nil {
		return fmt.Errorf("find the account: %w", err)
	}
	if !owner.Verified {
		return errors.New("nobody has proven that address yet")
	}
	return do(p, owner.AccountID)
}
