package core

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// maxToken is beyond every refresh or device token of ours.
const maxToken = 128

// RefreshInput trades a refresh token for a new pair of tokens.
type RefreshInput struct {
	Token string
	// Cookie is the token that came as a cookie, where one did. Two different tokens are one too many.
	Cookie string
}

// Refresh rotates a refresh token. The token just used still returns the same successor for Policy.RefreshGrace, for
// clients that missed the answer; any other second use ends the session and tells the owner (security.md SES-01, SES-03).
// It returns account.ErrInvalidToken for a token that is unknown, expired, revoked or used before, or whose session awaits
// its second step, and account.ErrAmbiguousCredentials for two tokens.
func (c *Core) Refresh(ctx context.Context, _ account.Caller, in RefreshInput) (SignIn, error) {
	if in.Token != "" && in.Cookie != "" && in.Token != in.Cookie {
		return SignIn{}, account.ErrAmbiguousCredentials
	}
	token := cmp.Or(in.Token, in.Cookie)
	if !strings.HasPrefix(token, secret.RefreshTokenPrefix) || len(token) > maxToken {
		return SignIn{}, account.ErrInvalidToken
	}
	next := c.Keys.NextToken(secret.RefreshTokenPrefix, token)
	rotation := store.Rotation{
		Hash: c.Keys.RefreshHash(token), Successor: c.Keys.RefreshHash(next), Grace: c.Policy.RefreshGrace, Idle: c.Policy.RefreshIdle,
	}
	p, err := c.Store.FirstUse(ctx, rotation)
	if errors.Is(err, account.ErrNotFound) {
		p, err = c.usedAgain(ctx, rotation)
	}
	if err != nil {
		return SignIn{}, err
	}
	return c.withRefresh(SignIn{Principal: c.completed(p)}, next)
}

// usedAgain judges a refresh token that is not good for the first time.
func (c *Core) usedAgain(ctx context.Context, rotation store.Rotation) (account.Principal, error) {
	var rotated store.Rotated
	err := c.commit(ctx, func(ctx context.Context, tx *store.Store) (_ told, err error) {
		if rotated, err = tx.RotateRefresh(ctx, rotation); err != nil || !rotated.Reused {
			return nil, err
		}
		return told{c.notice(rotated.AccountID, templates.SessionEnded, rotated.SessionID.String())}, nil
	})
	switch {
	case errors.Is(err, account.ErrNotFound):
		return account.Principal{}, account.ErrInvalidToken.Because(err)
	case err != nil:
		return account.Principal{}, err
	case rotated.Reused:
		return account.Principal{}, account.ErrInvalidToken
	}
	p, err := c.Store.PrincipalBySession(ctx, rotated.SessionID)
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidToken.Because(err) // it has just ended
	}
	return p, err
}

// withRefresh puts a refresh token beside a short access token, which never outlives its session.
func (c *Core) withRefresh(s SignIn, refresh string) (SignIn, error) {
	session := s.Principal.Session
	now := c.Clock.Now().Truncate(time.Second)
	s.RefreshToken, s.ExpiresAt = refresh, now.Add(c.Policy.AccessTTL)
	if session.ExpiresAt.Before(s.ExpiresAt) {
		s.ExpiresAt = session.ExpiresAt
	}
	var err error
	s.AccessToken, err = c.Tokens.Sign(session.ID, s.Principal.Account.ID, now, s.ExpiresAt)
	return s, err
}
