package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

type linkedProviderRow struct {
	Provider          string
	ProviderAccountID string
	Type              string
	ProviderEmail     *string
	DisplayName       *string
	AvatarURL         *string
	Scope             *string
	TokenExpiresAt    *time.Time
	CreatedAt         time.Time
}

// LinkedProviders lists the outside accounts that open an account, oldest first. There is at most one of each provider.
func (s *Store) LinkedProviders(ctx context.Context, accountID uuid.UUID) ([]account.LinkedProvider, error) {
	var rows []linkedProviderRow
	err := s.db.NewRaw(`
		SELECT provider, provider_account_id, type, provider_email, display_name, avatar_url, scope, token_expires_at, created_at
		FROM linked_providers WHERE account_id = ? ORDER BY created_at, provider`, accountID).Scan(ctx, &rows)
	links := make([]account.LinkedProvider, len(rows))
	for i, r := range rows {
		links[i] = account.LinkedProvider{
			Provider: account.Provider(r.Provider), Subject: r.ProviderAccountID, Type: r.Type, Email: r.ProviderEmail,
			DisplayName: r.DisplayName, AvatarURL: r.AvatarURL, Scope: r.Scope, TokenExpiresAt: r.TokenExpiresAt, CreatedAt: r.CreatedAt,
		}
	}
	return links, translate(err)
}

// LinkProvider lets an outside account open an account whose address is proven, and returns when. It returns
// account.ErrProviderConnected when that outside account opens one already, or the account has one of that provider, and
// account.ErrNotFound when the account is gone or unproven.
func (s *Store) LinkProvider(ctx context.Context, accountID uuid.UUID, l account.LinkedProvider) (account.LinkedProvider, error) {
	err := s.db.NewRaw(`
		WITH owner AS (
			SELECT id FROM accounts WHERE id = ? AND deleted_at IS NULL AND email_verified_at IS NOT NULL FOR UPDATE)
		INSERT INTO linked_providers (account_id, provider, provider_account_id, type, provider_email, display_name, avatar_url,
			scope, token_expires_at)
		SELECT id, ?, ?, ?, ?, ?, ?, ?, ?::timestamptz FROM owner RETURNING created_at`,
		accountID, l.Provider, l.Subject, l.Type, l.Email, l.DisplayName, l.AvatarURL, l.Scope, l.TokenExpiresAt,
	).Scan(ctx, &l.CreatedAt)
	return l, translate(err)
}

// UnlinkProvider takes an account's link of a provider away and returns how many ways to sign in are left: its password,
// with an address to name, and each other link (contract X19). It returns account.ErrLastProvider when none would be, and
// account.ErrNotFound when there is no such link. Changes of one account wait for each other.
func (s *Store) UnlinkProvider(ctx context.Context, accountID uuid.UUID, p account.Provider) (int, error) {
	var remaining int
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var password bool
		err := tx.db.NewRaw(`
			SELECT password_hash IS NOT NULL AND email IS NOT NULL FROM accounts WHERE id = ? AND deleted_at IS NULL FOR UPDATE`,
			accountID).Scan(ctx, &password)
		if err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`DELETE FROM linked_providers WHERE account_id = ? AND provider = ?`, accountID, p).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		err = tx.db.NewRaw(`SELECT count(*) FROM linked_providers WHERE account_id = ?`, accountID).Scan(ctx, &remaining)
		if err != nil {
			return err
		}
		if password {
			remaining++
		}
		if remaining == 0 {
			return account.ErrLastProvider
		}
		// The first way to sign in that is left takes the place of the one that named the account's origin.
		_, err = tx.db.NewRaw(`
			UPDATE accounts SET updated_at = now(), primary_provider = CASE
				WHEN primary_provider <> ?1 THEN primary_provider
				WHEN ?2 THEN 'email'
				ELSE (SELECT provider FROM linked_providers WHERE account_id = ?0 ORDER BY created_at, provider LIMIT 1) END
			WHERE id = ?0`, accountID, string(p), password).Exec(ctx)
		return err
	})
	return remaining, translate(err)
}
