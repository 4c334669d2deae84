package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

// Memberships returns what the owner of a proven address is a member of, oldest first: all, or what is public. An unknown
// address has none, found out by the same query.
func (s *Store) Memberships(ctx context.Context, email string, all bool) ([]account.Membership, error) {
	var rows []account.Membership
	err := s.db.NewRaw(`
		SELECT m.organization, m.role, m.is_public AS public, m.created_at
		FROM memberships m JOIN accounts a ON a.id = m.account_id
		WHERE a.email = ? AND a.email_verified_at IS NOT NULL AND a.deleted_at IS NULL AND (m.is_public OR ?)
		ORDER BY m.created_at, m.organization`, email, all).Scan(ctx, &rows)
	return rows, translate(err)
}

// SetMembership makes an account a member of an organization, or changes its role there.
func (s *Store) SetMembership(ctx context.Context, accountID uuid.UUID, m account.Membership) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		_, err := tx.db.NewRaw(`
			INSERT INTO memberships (account_id, organization, role, is_public) VALUES (?, ?, ?, ?)
			ON CONFLICT (account_id, organization) DO UPDATE SET role = excluded.role, is_public = excluded.is_public`,
			accountID, m.Organization, m.Role, m.Public).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventMembershipSet, nil)
	})
}

// RemoveMembership ends a membership. It returns account.ErrNotFound when there is none.
func (s *Store) RemoveMembership(ctx context.Context, accountID uuid.UUID, organization string) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`DELETE FROM memberships WHERE account_id = ? AND organization = ?`, accountID, organization).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventMembershipRemoved, nil)
	})
}
