package store

import (
	"context"

	"github.com/google/uuid"
)

// EmailOwner is the live account of an address.
type EmailOwner struct {
	AccountID uuid.UUID
	Verified  bool
	// HasPassword tells whether it can be signed in to by password.
	HasPassword bool
}

// OwnerOf returns the live account of an address, or account.ErrNotFound.
func (s *Store) OwnerOf(ctx context.Context, email string) (EmailOwner, error) {
	var o EmailOwner
	err := s.only(ctx, `SELECT id, email_verified_at IS NOT NULL, password_hash IS NOT NULL FROM accounts
		WHERE email = $1 AND deleted_at IS NULL`, []any{email}, &o.AccountID, &o.Verified, &o.HasPassword)
	return o, err
}

// UsernameTaken reports whether a live account has the username, or it is kept for one.
func (s *Store) UsernameTaken(ctx context.Context, username string) (bool, error) {
	free, err := s.usernameFree(ctx, uuid.Nil, username)
	return !free, err
}

// Reachable reports whether the owner of an account can be written to: its address is proven. It returns account.ErrNotFound
// when the account is gone.
func (s *Store) Reachable(ctx context.Context, accountID uuid.UUID) (bool, error) {
	var proven bool
	err := s.db.NewRaw(`SELECT `+reachable+` FROM accounts WHERE id = ? AND deleted_at IS NULL`, accountID).Scan(ctx, &proven)
	return proven, translate(err)
}
