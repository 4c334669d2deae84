package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// NewProviderLink is a link that its owner has begun and that waits for the provider's word.
type NewProviderLink struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	// Starter is the session or API key that began it.
	Starter   uuid.UUID
	Provider  account.Provider
	StateHash []byte
	TTL       time.Duration
}

// OpenProviderLink stores a link under way and returns when it expires. Repeating it changes nothing. It returns
// account.ErrNotFound when the account is gone or unproven.
func (s *Store) OpenProviderLink(ctx context.Context, n NewProviderLink) (time.Time, error) {
	var expires time.Time
	err := s.db.NewRaw(`
		INSERT INTO provider_links (id, account_id, starter, provider, state_hash, expires_at)
		SELECT ?, id, ?, ?, ?, now() + ? * interval '1 second' FROM accounts
		WHERE id = ? AND deleted_at IS NULL AND email_verified_at IS NOT NULL
		ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING expires_at`,
		n.ID, n.Starter, n.Provider, n.StateHash, seconds(n.TTL), n.AccountID).Scan(ctx, &expires)
	return expires, translate(err)
}

// ProviderClaim is what a callback says about a link under way.
type ProviderClaim struct {
	StateHash []byte
	// Starter must have begun the link; nil trusts whoever shows the state.
	Starter *uuid.UUID
	// Link is the outside account.
	Link account.LinkedProvider
	// Key may claim again what it has claimed; others wait for Lease.
	Key   string
	Lease time.Duration
}

// ClaimProviderLink takes the state of a link under way, for one caller of many, and returns the link's id. The session or
// key that began the link must be alive, until it is finished. It returns account.ErrInvalidState for a state that is unknown,
// expired, used, of another provider or of somebody else.
func (s *Store) ClaimProviderLink(ctx context.Context, c ProviderClaim) (uuid.UUID, error) {
	var id uuid.UUID
	err := translate(s.db.NewRaw(`
		UPDATE provider_links l SET claimed_at = now(), claim_key = ?0, provider_account_id = ?1,
			provider_email = CASE WHEN linked_at IS NULL THEN ?2 END, display_name = CASE WHEN linked_at IS NULL THEN ?3 END,
			avatar_url = CASE WHEN linked_at IS NULL THEN ?4 END
		WHERE state_hash = ?5 AND provider = ?6 AND (?7::uuid IS NULL OR starter = ?7::uuid) AND CASE
			WHEN linked_at IS NOT NULL THEN claim_key = ?0 AND provider_account_id = ?1
			ELSE expires_at > now()
				AND (claimed_at IS NULL OR claimed_at < now() - ?8 * interval '1 second' OR claim_key = ?0 AND provider_account_id = ?1)
				AND (EXISTS (SELECT 1 FROM sessions WHERE id = l.starter AND revoked_at IS NULL AND expires_at > now())
					OR EXISTS (SELECT 1 FROM api_keys WHERE id = l.starter AND revoked_at IS NULL))
		END
		RETURNING id`,
		nullable(c.Key), c.Link.Subject, c.Link.Email, c.Link.DisplayName, c.Link.AvatarURL, c.StateHash, c.Link.Provider,
		c.Starter, seconds(c.Lease)).Scan(ctx, &id))
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidState
	}
	return id, err
}

// FinishProviderLink links the outside account that a claimed link names, forgets what the callback said of its owner, and
// owes the owner of the account the notice told, in one transaction. Repeating it changes nothing. It returns
// account.ErrProviderConnected, and account.ErrInvalidState when the link is gone, unclaimed or expired, or the session or key
// that began it has ended.
func (s *Store) FinishProviderLink(ctx context.Context, id uuid.UUID, told account.Notice) error {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var owner, starter uuid.UUID
		var linked *time.Time
		var l account.LinkedProvider
		err := tx.db.NewRaw(`
			SELECT account_id, starter, linked_at, provider, provider_account_id, provider_email, display_name, avatar_url FROM provider_links
			WHERE id = ? AND claimed_at IS NOT NULL AND (linked_at IS NOT NULL OR expires_at > now() - interval '1 minute')
			FOR UPDATE`, id).Scan(ctx, &owner, &starter, &linked, &l.Provider, &l.Subject, &l.Email, &l.DisplayName, &l.AvatarURL)
		if err != nil || linked != nil {
			return err
		}
		// It may have ended since the claim, however long the flow had to wait for a worker.
		err = tx.HoldSession(ctx, owner, starter)
		if errors.Is(err, account.ErrNotFound) {
			err = tx.HoldKey(ctx, owner, starter)
		}
		if err != nil {
			return err
		}
		l.Type = "oauth"
		if _, err := tx.LinkProvider(ctx, owner, l); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			UPDATE provider_links SET linked_at = now(), provider_email = NULL, display_name = NULL, avatar_url = NULL
			WHERE id = ?`, id).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.owe(ctx, owner, told)
	})
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrInvalidState.Because(err)
	}
	return translate(err)
}

// ProviderLinked reports whether a link is finished.
func (s *Store) ProviderLinked(ctx context.Context, id uuid.UUID) (linked bool, err error) {
	err = s.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM provider_links WHERE id = ? AND linked_at IS NOT NULL)`, id).Scan(ctx, &linked)
	return linked, translate(err)
}

// DropProviderLink removes a link under way that came to nothing. A finished one stays, until it is swept.
func (s *Store) DropProviderLink(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`DELETE FROM provider_links WHERE id = ? AND linked_at IS NULL`, id).Exec(ctx)
	return translate(err)
}
