package core

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

// LoginInput signs in by password (C14, B01).
type LoginInput struct {
	// Identifier is an email or, where the document allows it, a username.
	Identifier string
	Password   string
	// WithRefresh asks for a short access token and a refresh token beside it (B01).
	WithRefresh bool
	// IdentifierField is the canonical name of the identifier's field, for its faults; empty means email.
	IdentifierField string
}

// maxSecretInput bounds what is compared; whatever is longer matches nothing.
const maxSecretInput = 4 * account.MaxPasswordLength

func (in LoginInput) validate() error {
	invalid := account.ErrInvalid
	if strings.TrimSpace(in.Identifier) == "" {
		invalid = invalid.On(cmp.Or(in.IdentifierField, "email"), "is required")
	}
	if in.Password == "" {
		invalid = invalid.On("password", "is required")
	}
	return faults(invalid)
}

// faults returns invalid when it names a field, and nil otherwise.
func faults(invalid *account.Error) error {
	if len(invalid.Fields) == 0 {
		return nil
	}
	return invalid
}

// Login signs in by password. Unknown, passwordless, deactivated and wrong-password accounts get the same
// account.ErrInvalidCredentials after the same work (security.md ENU-01); too many wrong passwords of one name give
// account.ErrTooManyRequests, whether the name exists or not.
func (c *Core) Login(ctx context.Context, by account.Caller, in LoginInput) (SignIn, error) {
	if err := in.validate(); err != nil {
		return SignIn{}, err
	}
	email := account.NormalizeEmail(in.Identifier)
	username, _ := account.ParseUsername(in.Identifier)
	cred, err := c.Store.CredentialsOf(ctx, email, username)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return SignIn{}, err
	}
	// One counter per account, whichever of its names is tried; an unknown name counts just the same, in all its spellings.
	throttle := c.Keys.Subject("login", cmp.Or(username, email))
	if err == nil {
		throttle = c.Keys.Subject("login", cred.AccountID.String())
	}
	password := in.Password
	if len(password) > maxSecretInput {
		password, cred.PasswordHash = "", ""
	}
	match, err := c.Hasher.Verify(ctx, cred.PasswordHash, password, func(ctx context.Context) error {
		return c.Store.LoginDelay(ctx, throttle)
	})
	if err != nil {
		return SignIn{}, err
	}
	if !match {
		if err := c.Store.LoginFailed(ctx, throttle, c.Policy.LoginFreeFailures, c.Policy.LoginMaxDelay); err != nil {
			return SignIn{}, err
		}
		return SignIn{}, account.ErrInvalidCredentials
	}
	if err := c.Store.LoginSucceeded(ctx, throttle); err != nil {
		return SignIn{}, err
	}
	from := origin(by, nil, nil, nil)
	n := store.NewSession{
		ID: uuid.New(), AccountID: cred.AccountID, Method: "password", IP: from.IP, UserAgent: from.UserAgent,
		TTL: c.Policy.SessionTTL,
	}
	var refresh string
	if in.WithRefresh {
		refresh = secret.NewToken("ghr_")
		n.RefreshHash = c.Keys.TokenHash("refresh", refresh)
	}
	session, err := c.Store.CreateSession(ctx, n)
	if err != nil {
		return SignIn{}, err
	}
	out, err := c.signIn(ctx, session.ID)
	if err != nil || !in.WithRefresh {
		return out, err
	}
	out.RefreshToken = refresh
	now := c.Clock.Now().Truncate(time.Second)
	out.ExpiresAt = now.Add(c.Policy.AccessTTL)
	out.AccessToken, err = c.Tokens.Sign(session.ID, cred.AccountID, now, out.ExpiresAt)
	return out, err
}

// signIn returns a session's principal with an access token that lives as long as the session (design D6). The same
// session always gives the same token.
func (c *Core) signIn(ctx context.Context, session uuid.UUID) (SignIn, error) {
	p, err := c.Store.PrincipalBySession(ctx, session)
	if err != nil {
		return SignIn{}, unauthorized(err)
	}
	token, err := c.Tokens.Sign(session, p.Account.ID, p.Session.CreatedAt, p.Session.ExpiresAt)
	return SignIn{Principal: withMultipliers(p), AccessToken: token, ExpiresAt: p.Session.ExpiresAt}, err
}

// Me returns the caller: the query that authenticated the request has read it all.
func (c *Core) Me(_ context.Context, by account.Caller, _ None) (account.Principal, error) {
	if by.Principal == nil {
		return account.Principal{}, account.ErrUnauthorized
	}
	return *by.Principal, nil
}

// Logout ends the caller's session (B04). A session that ended meanwhile is fine.
func (c *Core) Logout(ctx context.Context, by account.Caller, _ None) (None, error) {
	if by.Principal == nil || by.Principal.Session == nil {
		return None{}, account.ErrUnauthorized
	}
	err := c.Store.RevokeSession(ctx, by.Principal.Account.ID, by.Principal.Session.ID, "logout")
	if errors.Is(err, account.ErrNotFound) {
		err = nil
	}
	return None{}, err
}
