package store

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
)

// ProviderSignIn is somebody who signed in at a provider: the provider says so (B09), or a trusted backend (C17).
type ProviderSignIn struct {
	Link  account.LinkedProvider
	Email string
	// Vouched is set when the address is proven; without it no account is made.
	Vouched bool
	// Asserted is set when a backend says it rather than the provider.
	Asserted       bool
	Name           *string
	MarketingOptIn bool
	Origin         account.Origin
	Bonus          Bonus
	// Session is the session to make; its account is found here.
	Session NewSession
	// Gate decides whether the session of an account that is there already owes a second step. A sign-up owes none.
	Gate Gate
}

// ProviderSignedIn is an account that an outside account opens, and what its session owes. Created says that it is new.
type ProviderSignedIn struct {
	AccountID uuid.UUID
	Step      account.SecondStep
	Created   bool
}

// SignInByProvider opens the account that an outside account is linked to, or makes one with a free address, and returns the
// account and what its session owes. The address alone opens nothing: one that has a verified account gives
// account.ErrAccountExists and that account's id. It returns account.ErrEmailNotVerified for a new address that nobody
// vouches for, and account.ErrUnauthorized when the account may not be used.
func (s *Store) SignInByProvider(ctx context.Context, p ProviderSignIn) (ProviderSignedIn, error) {
	out, err := s.signInByProvider(ctx, p)
	if err != nil && account.AsError(err).Kind == account.Conflict {
		return s.signInByProvider(ctx, p) // the same request may have made it at this moment
	}
	return out, err
}

func (s *Store) signInByProvider(ctx context.Context, p ProviderSignIn) (ProviderSignedIn, error) {
	var out ProviderSignedIn
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var usable bool
		var err error
		out.AccountID, usable, err = tx.openedBy(ctx, p.Link)
		out.Created = errors.Is(err, account.ErrNotFound)
		switch {
		case out.Created:
			err = tx.makeByProvider(ctx, p, &out.AccountID)
		case err == nil && !usable:
			err = account.ErrUnauthorized
		}
		if err != nil {
			return err
		}
		p.Session.AccountID = out.AccountID
		if out.Created {
			_, err = tx.CreateSession(ctx, p.Session)
		} else {
			_, out.Step, err = tx.OpenSession(ctx, p.Session, p.Gate)
		}
		if err != nil || !p.Asserted {
			return err
		}
		// An assertion is not enough for what an administrator may change (security.md section 6).
		_, err = tx.db.NewRaw(`
			UPDATE sessions s SET auth_time = 'epoch' FROM accounts a WHERE s.id = ? AND a.id = s.account_id AND a.roles @> '{admin}'`,
			p.Session.ID).Exec(ctx)
		return err
	})
	return out, translate(err)
}

// openedBy locks the account that an outside account is linked to. It returns account.ErrNotFound when there is none.
func (s *Store) openedBy(ctx context.Context, l account.LinkedProvider) (id uuid.UUID, usable bool, err error) {
	err = s.db.NewRaw(`
		SELECT a.id, `+accountUsable+` FROM linked_providers l JOIN accounts a ON a.id = l.account_id
		WHERE l.provider = ? AND l.provider_account_id = ? AND a.deleted_at IS NULL FOR UPDATE OF a`, l.Provider, l.Subject).
		Scan(ctx, &id, &usable)
	if err == nil {
		// A statement that waited for the lock saw the link as it was before: whoever held it may have taken it away.
		err = s.db.NewRaw(`SELECT account_id FROM linked_providers WHERE account_id = ? AND provider = ? AND provider_account_id = ?`,
			id, l.Provider, l.Subject).Scan(ctx, &id)
	}
	return id, usable, translate(err)
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
	if err := s.clearEmail(ctx, p.Email); err != nil {
		return err
	}
	*id = uuid.New()
	n := newAccount{
		id: *id, email: p.Email, verified: true, name: p.Name, marketingOptIn: p.MarketingOptIn, origin: p.Origin,
		method: string(p.Link.Provider),
	}
	if err := s.createAccount(ctx, n, p.Bonus); err != nil {
		return err
	}
	if _, err := s.linkProvider(ctx, *id, p.Link); err != nil {
		return err
	}
	_, err = s.db.NewRaw(`UPDATE accounts SET primary_provider = ?, avatar_url = ? WHERE id = ?`,
		p.Link.Provider, p.Link.AvatarURL, *id).Exec(ctx)
	return err
}
