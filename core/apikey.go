package core

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// APIKeyHash is the kind under which keys are hashed (secret.Keys.TokenHash).
const APIKeyHash = "api-key"

const maxKeyName = 100

// CreateAPIKeyInput makes a key of the caller's account.
type CreateAPIKeyInput struct {
	Name   string
	Scopes []string
}

// NewAPIKey is a key with its secret, which is shown this once.
type NewAPIKey struct {
	account.APIKey
	Secret string
}

func (in CreateAPIKeyInput) validate() (account.APIKey, error) {
	invalid := account.ErrInvalid
	key := account.APIKey{ID: uuid.New(), Name: strings.TrimSpace(in.Name)}
	switch {
	case key.Name == "":
		invalid = invalid.On("name", "is required")
	case utf8.RuneCountInString(key.Name) > maxKeyName || !printable(key.Name):
		invalid = invalid.On("name", "must be at most 100 printable characters")
	}
	for _, s := range in.Scopes {
		scope := account.Scope(s)
		if !slices.Contains(account.Scopes(), scope) {
			invalid = invalid.On("scopes", "may hold only account:read, account:write and account:security")
			break
		}
		if !slices.Contains(key.Scopes, scope) {
			key.Scopes = append(key.Scopes, scope)
		}
	}
	if len(in.Scopes) == 0 {
		invalid = invalid.On("scopes", "is required")
	}
	return key, faults(invalid)
}

// CreateAPIKey makes a key of the caller's account. account.ScopeSecurity is given in a fresh session only, never by
// another key (design D12). The owner is told by mail. It returns account.ErrReauthenticationRequired and
// account.ErrInsufficientScope, and account.ErrTooManyKeys when the account has Policy.APIKeys live ones.
func (c *Core) CreateAPIKey(ctx context.Context, by account.Caller, in CreateAPIKeyInput) (NewAPIKey, error) {
	if out, done, err := made[NewAPIKey](by); done {
		return out, err
	}
	key, err := in.validate()
	if err != nil {
		return NewAPIKey{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return NewAPIKey{}, err
	}
	if err := c.mayGive(by, key.Scopes); err != nil {
		return NewAPIKey{}, err
	}
	key.AccountID = &by.Principal.Account.ID
	token := secret.NewToken(secret.APIKeyPrefix)
	return commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (NewAPIKey, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return NewAPIKey{}, nil, err
		}
		created, err := tx.CreateAPIKey(ctx, key, c.Keys.TokenHash(APIKeyHash, token), c.Policy.APIKeys)
		return NewAPIKey{APIKey: created, Secret: token}, told{c.notice(*key.AccountID, templates.APIKeyCreated, key.ID.String())}, err
	})
}

func (c *Core) mayGive(by account.Caller, scopes []account.Scope) error {
	if !slices.Contains(scopes, account.ScopeSecurity) {
		return nil
	}
	if by.Principal.APIKey != nil {
		return account.ErrInsufficientScope
	}
	return c.requireFresh(by)
}

// APIKeys lists the live keys of the caller's account, newest first, without their secrets.
func (c *Core) APIKeys(ctx context.Context, by account.Caller, _ None) ([]account.APIKey, error) {
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	return c.Store.APIKeys(ctx, by.Principal.Account.ID)
}

// RevokeAPIKeyInput names a key by its id.
type RevokeAPIKeyInput struct {
	ID string
}

// RevokeAPIKey ends a key of the caller's account and the key's session: the next request with it is refused. The
// owner is told by mail. It returns account.ErrNotFound for any other key.
func (c *Core) RevokeAPIKey(ctx context.Context, by account.Caller, in RevokeAPIKeyInput) (None, error) {
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	id, err := named(in.ID)
	if err != nil {
		return None{}, err
	}
	a := by.Principal.Account
	return None{}, c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return nil, err
		}
		return c.toVerified(a, templates.APIKeyDeleted), tx.RevokeAPIKey(ctx, a.ID, id)
	})
}

// GrantKey stores a key that an operator has made. The owner of an account's key is told by mail.
func (c *Core) GrantKey(ctx context.Context, key account.APIKey, token string) error {
	return c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		if _, err := tx.CreateAPIKey(ctx, key, c.Keys.TokenHash(APIKeyHash, token), 0); err != nil {
			return nil, err
		}
		return c.toOwner(ctx, tx, key.AccountID, templates.APIKeyCreated)
	})
}

// EndKey ends any key by its id, for operators, and returns the account whose it was, nil for a service key. The owner of an
// account's key is told by mail. It returns account.ErrNotFound when there is no such live key.
func (c *Core) EndKey(ctx context.Context, id uuid.UUID) (owner *uuid.UUID, err error) {
	err = c.commit(ctx, func(ctx context.Context, tx *store.Store) (_ told, err error) {
		if owner, err = tx.RevokeKey(ctx, id); err != nil {
			return nil, err
		}
		return c.toOwner(ctx, tx, owner, templates.APIKeyDeleted)
	})
	return owner, err
}

// toOwner is toVerified for whoever knows no more than an id, nil for nobody's.
func (c *Core) toOwner(ctx context.Context, tx *store.Store, owner *uuid.UUID, template string) (told, error) {
	if owner == nil {
		return nil, nil
	}
	proven, err := tx.Reachable(ctx, *owner)
	return c.toVerified(account.Account{ID: *owner, EmailVerified: proven}, template), err
}
