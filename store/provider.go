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
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) (err error) {
		if l, err = tx.linkProvider(ctx, accountID, l); err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventProviderLinked, map[string]any{"provider": l.Provider})
	})
	return l, err
}

func (s *Store) linkProvider(ctx context.Context, accountID uuid.UUID, l account.LinkedProvider) (account.LinkedProvider, error) {
	err := s.db.NewRaw(`
		WITH owner AS (
			UPDATE accounts SET updated_at = now() WHERE id = ? AND deleted_at IS NULL AND email_verified_at IS NOT NULL RETURNING id)
		INSERT INTO linked_providers (account_id, provider, provider_account_id, type, provider_email, display_name, avatar_url,
			scope, token_expires_at)
		SELECT id, ?, ?, ?, ?, ?, ?, ?, ?::timestamptz FROM owner RETURNING created_at`,
		accountID, l.Provider, l.Subject, l.Type, l.Email, l.DisplayName, l.AvatarURL, l.Scope, l.TokenExpiresAt,
	).Scan(ctx, &l.CreatedAt)
	return l, translate(err)
}

// UnlinkProvider takes an account's link of a provider away and returns how many ways to sign in are left: its password,
// with an address to name, and each other link (contract X19). Sessions that began by the provider end, all but keep, and the
// pending change of email: a link that somebody else has made may have been used. It returns account.ErrLastProvider when no way
// would be left, and account.ErrNotFound when there is no such link. Changes of one account wait for each other.
func (s *Store) UnlinkProvider(ctx context.Context, accountID uuid.UUID, p account.Provider, keep *uuid.UUID) (int, error) {
	var remaining int
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.db.NewRaw(`SELECT id FROM accounts WHERE id = ? AND deleted_at IS NULL FOR UPDATE`, accountID).Scan(ctx, &accountID)
		if err != nil {
			return err
		}
		res, err := tx.db.NewRaw(`DELETE FROM linked_providers WHERE account_id = ? AND provider = ?`, accountID, p).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		if remaining, err = tx.keepWayIn(ctx, accountID); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			UPDATE sessions SET revoked_at = now(), revoke_reason = 'provider_unlinked'
			WHERE account_id = ? AND method = ? AND revoked_at IS NULL AND id IS DISTINCT FROM ?::uuid`, accountID, p, keep).Exec(ctx)
		if err == nil {
			err = tx.dropEmailChanges(ctx, accountID)
		}
		if err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventProviderUnlinked, map[string]any{"provider": p})
	})
	return remaining, translate(err)
}

// keepWayIn returns how many ways to sign in an account has that the transaction has locked and taken one from, or
// account.ErrLastProvider when there is none. Where the one that named the account's origin is gone, another takes its place.
func (s *Store) keepWayIn(ctx context.Context, accountID uuid.UUID) (int, error) {
	var remaining int
	err := s.db.NewRaw(`
		WITH links AS (SELECT provider, created_at FROM linked_providers WHERE account_id = ?0)
		UPDATE accounts a SET updated_at = now(), primary_provider = CASE
			WHEN primary_provider = 'email' AND email IS NOT NULL OR primary_provider IN (SELECT provider FROM links) THEN primary_provider
			WHEN `+passwordOpens+` THEN 'email'
			ELSE coalesce((SELECT provider FROM links ORDER BY created_at, provider LIMIT 1), primary_provider) END
		WHERE id = ?0
		RETURNING (SELECT count(*) FROM links) + (`+passwordOpens+`)::int`, accountID).
		Scan(ctx, &remaining)
	if err == nil && remaining == 0 {
		err = account.ErrLastProvider
	}
	return remaining, translate(err)
}
