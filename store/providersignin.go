package store

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
)

// ProviderSignIn is somebody whom a trusted backend has seen signing in at a provider (C17).
type ProviderSignIn struct {
	Link  account.LinkedProvider
	Email string
	// Vouched is set when the address is proven; without it no account is made.
	Vouched bool
	Name    *string
	Origin  account.Origin
	Bonus   Bonus
	// Session is the session to make; its account is found here.
	Session NewSession
	// Gate decides whether the session of an account that is there already owes a second step. A sign-up owes none.
	Gate Gate
}

// SignInByProvider opens the account that an outside account is linked to, or makes one with a free address, and returns the
// account and what its session owes. The address alone opens nothing: one that has a verified account gives
// account.ErrAccountExists and that account's id. It returns account.ErrEmailNotVerified for a new address that nobody
// vouches for, and account.ErrUnauthorized when the account may not be used.
func (s *Store) SignInByProvider(ctx context.Context, p ProviderSignIn) (uuid.UUID, account.SecondStep, error) {
	id, step, err := s.signInByProvider(ctx, p)
	if err != nil && account.AsError(err).Kind == account.Conflict {
		return s.signInByProvider(ctx, p) // the same request may have made it at this moment
	}
	return id, step, err
}

func (s *Store) signInByProvider(ctx context.Context, p ProviderSignIn) (id uuid.UUID, step account.SecondStep, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var usable bool
		err := translate(tx.db.NewRaw(`
			SELECT a.id, `+accountUsable+` FROM linked_providers l JOIN accounts a ON a.id = l.account_id
			WHERE l.provider = ? AND l.provider_account_id = ? AND a.deleted_at IS NULL FOR UPDATE OF a`,
			p.Link.Provider, p.Link.Subject).Scan(ctx, &id, &usable))
		known := !errors.Is(err, account.ErrNotFound)
		switch {
		case !known:
			err = tx.makeByProvider(ctx, p, &id)
		case err == nil && !usable:
			err = account.ErrUnauthorized
		}
		if err != nil {
			return err
		}
		p.Session.AccountID = id
		if known {
			_, step, err = tx.OpenSession(ctx, p.Session, p.Gate)
		} else {
			_, err = tx.CreateSession(ctx, p.Session)
		}
		if err != nil {
			return err
		}
		// An assertion is not enough for what an administrator may change (security.md section 6).
		_, err = tx.db.NewRaw(`
			UPDATE sessions s SET auth_time = 'epoch' FROM accounts a WHERE s.id = ? AND a.id = s.account_id AND a.roles @> '{admin}'`,
			p.Session.ID).Exec(ctx)
		return err
	})
	return id, step, translate(err)
}

// makeByProvider makes the account, and sets id to it or to the one that has the address.
func (s *Store) makeByProvider(ctx context.Context, p ProviderSignIn, id *uuid.UUID) error {
	owner, err := s.OwnerOf(ctx, p.Email)
	switch {
	case err == nil && owner.Verified:
		*id = owner.AccountID
		return account.ErrAccountExists
	case err != nil && !errors.Is(err, account.ErrNotFound):
		return err
	case !p.Vouched:
		return account.ErrEmailNotVerified
	}
	if err := s.removeUnverified(ctx, p.Email); err != nil {
		return err
	}
	*id = uuid.New()
	n := newAccount{id: *id, email: p.Email, verified: true, name: p.Name, origin: p.Origin}
	if err := s.createAccount(ctx, n, p.Bonus); err != nil {
		return err
	}
	if _, err := s.LinkProvider(ctx, *id, p.Link); err != nil {
		return err
	}
	_, err = s.db.NewRaw(`UPDATE accounts SET primary_provider = ?, avatar_url = ? WHERE id = ?`,
		p.Link.Provider, p.Link.AvatarURL, *id).Exec(ctx)
	return err
}
