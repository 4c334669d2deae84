package core

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

// LoginInput signs in by password (C14, B01).
type LoginInput struct {
	// Identifier is an email or, with Usernames, a username.
	Identifier string
	// Usernames is set where the document signs in by username, too (B01, contract X09).
	Usernames bool
	Password  string
	// WithRefresh asks for a short access token and a refresh token beside it (B01).
	WithRefresh bool
	// Device is what the request says of the device that it comes from.
	Device ShownDevice
	// IdentifierField is the canonical name of the identifier's field, for its faults; empty means email.
	IdentifierField string
}

func (in LoginInput) validate() error {
	invalid := account.ErrInvalid
	if strings.TrimSpace(in.Identifier) == "" {
		invalid = invalid.On(cmp.Or(in.IdentifierField, "email"), "is required")
	}
	if in.Password == "" {
		invalid = invalid.On("password", "is required")
	}
	return faults(in.Device.judge(invalid))
}

// faults returns invalid when it names a field, and nil otherwise.
func faults(invalid *account.Error) error {
	if len(invalid.Fields) == 0 {
		return nil
	}
	return invalid
}

// Login signs in by password. Unknown, passwordless, deactivated and wrong-password accounts get the same
// account.ErrInvalidCredentials after the same work (security.md ENU-01), and so do unproven ones in hidden enumeration mode; too
// many wrong passwords of one name give account.ErrTooManyRequests, whether the name exists or not. Where a second step is due the
// session is pending, and account.ErrTooManyRequests also means that the account got too many codes.
func (c *Core) Login(ctx context.Context, by account.Caller, in LoginInput) (SignIn, error) {
	if err := in.validate(); err != nil {
		return SignIn{}, err
	}
	from := origin(by, nil, nil, nil)
	cred, throttle, err := c.proveLogin(ctx, from, in)
	if err != nil {
		return SignIn{}, err
	}
	n := store.NewSession{
		ID: uuid.New(), AccountID: cred.AccountID, Method: account.SessionByPassword, IP: from.IP, UserAgent: from.UserAgent,
		TTL: c.Policy.SessionTTL, RefreshIdle: c.Policy.RefreshIdle, Client: in.Device.client(),
	}
	var refresh string
	if in.WithRefresh {
		refresh = secret.NewToken(secret.RefreshTokenPrefix)
		n.RefreshHash = c.Keys.RefreshHash(refresh)
	}
	p, step, err := c.Store.Enter(ctx, store.Entry{
		Session: n, Gate: c.gate(in.Device, n.ID), Compared: &cred, Forget: throttle.keys,
	})
	if errors.Is(err, account.ErrNotFound) {
		// It was closed or deactivated this moment, or its password was changed.
		return SignIn{}, account.ErrInvalidCredentials.Because(err)
	}
	if err != nil {
		return SignIn{}, err
	}
	var out SignIn
	if in.WithRefresh {
		out, err = c.withRefresh(SignIn{Principal: c.completed(p)}, refresh)
	} else {
		out, err = c.signedIn(p)
	}
	if err != nil {
		return SignIn{}, err
	}
	return c.challenge(ctx, by, out, step)
}

// proveLogin compares the password and returns whose it is, and what slows down guessing it. A trusted device does not wait for
// what others have guessed (security.md LOG-03).
func (c *Core) proveLogin(ctx context.Context, from account.Origin, in LoginInput) (store.Credentials, *loginThrottle, error) {
	email := account.NormalizeEmail(in.Identifier)
	username := ""
	if in.Usernames {
		username, _ = account.ReadUsername(in.Identifier)
	}
	cred, err := c.Store.CredentialsOf(ctx, email, username)
	if err == nil && c.closedTo(cred.Proven) {
		cred, err = store.Credentials{}, account.ErrNotFound
	}
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return cred, nil, err
	}
	throttle := c.throttle(email, username, cred, err == nil)
	if hash := c.deviceHash(in.Device); hash != nil {
		// Asked for unknown accounts, too, which must take as long.
		trusted, err := c.Store.TrustedDevice(ctx, cred.AccountID, hash)
		if err == nil {
			throttle = &loginThrottle{keys: [][]byte{c.Keys.Subject("login-device", trusted.ID.String())}}
		} else if !errors.Is(err, account.ErrNotFound) {
			return cred, throttle, err
		}
	}
	record := account.LoginRecord{AccountID: cred.AccountID, Method: account.SessionByPassword, IP: from.IP, UserAgent: from.UserAgent}
	match, err := c.Hasher.Verify(ctx, cred.PasswordHash, in.Password, func(ctx context.Context) error { return throttle.judge(ctx, c) })
	switch {
	case errors.Is(err, account.ErrTooManyRequests):
		record.Outcome = account.LoginThrottled
		return cred, throttle, cmp.Or(c.Store.RecordRefusal(ctx, record), err)
	case err != nil:
		return cred, throttle, err
	case throttle.waits:
		record.Outcome = account.LoginThrottled
		return cred, throttle, c.loginFailed(ctx, record, throttle.keys)
	case !match:
		record.Outcome = account.LoginWrongPassword
		return cred, throttle, c.loginFailed(ctx, record, throttle.keys)
	}
	return cred, throttle, c.renewHash(ctx, cred, in.Password)
}

// loginThrottle slows down guessing: by the name that was sent, known or not, and by the account behind it. A name without an
// account has a second counter, too, for the same work.
type loginThrottle struct {
	keys [][]byte
	// waits is set when only the account's own counter refuses: that must look like a wrong password, or it would tell
	// which names belong together.
	waits bool
}

func (c *Core) throttle(email, username string, cred store.Credentials, known bool) *loginThrottle {
	name, behind := cmp.Or(username, email), c.Keys.Subject("login-account", cred.AccountID.String())
	if !known {
		behind = c.Keys.Subject("login-nobody", name)
	}
	return &loginThrottle{keys: [][]byte{c.Keys.Subject("login", name), behind}}
}

// forgive has the owner of a new password wait for nothing that was tried before: wrong passwords by any of the account's names,
// codes for unknown devices that logins by the old one had sent, and what else is counted by quotas. A name that is nil or empty
// is none. The password is set by then, whatever becomes of this: who asked for it is told so, and may have gone.
func (c *Core) forgive(ctx context.Context, id uuid.UUID, email, username *string, quotas ...[]byte) {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), refundTime)
	defer done()
	throttles := [][]byte{c.Keys.Subject("login-account", id.String())}
	for _, name := range []*string{email, username} {
		if name != nil && *name != "" {
			throttles = append(throttles, c.Keys.Subject("login", *name))
		}
	}
	if email != nil && *email != "" {
		quotas = append(quotas, c.sendKey(account.PurposeDevice, *email))
	}
	if err := c.Store.Forgive(ctx, throttles, quotas); err != nil {
		c.Log.WarnContext(ctx, "the owner of a new password still waits for what was tried before", "account", id, "error", err)
	}
}

func (t *loginThrottle) judge(ctx context.Context, c *Core) error {
	left, err := c.Store.LoginDelays(ctx, t.keys...)
	switch {
	case err != nil:
		return err
	case left[0] > 0:
		return account.ErrTooManyRequests.After(left[0])
	}
	t.waits = len(left) > 1 && left[1] > 0
	return nil
}

// loginFailed counts a wrong password under keys and returns account.ErrInvalidCredentials.
func (c *Core) loginFailed(ctx context.Context, of account.LoginRecord, keys [][]byte) error {
	err := c.Store.LoginFailed(ctx, store.LoginFailure{
		Keys: keys, Free: c.Policy.LoginFreeFailures, Longest: c.Policy.LoginMaxDelay, Record: of,
	})
	return cmp.Or(err, error(account.ErrInvalidCredentials))
}

// renewHash brings a password that was hashed with older parameters to today's (security.md LOG-09). A change of the
// password meanwhile wins.
func (c *Core) renewHash(ctx context.Context, cred store.Credentials, password string) error {
	if !secret.Outdated(cred.PasswordHash) {
		return nil
	}
	hash, err := c.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return c.Store.RenewPasswordHash(ctx, cred.AccountID, cred.PasswordHash, hash)
}

// signIn returns a session's principal with an access token that lives as long as the session (design D6). The same
// session always gives the same token: that of a pending one is good once its second step is done, and for nothing else
// before or without it, because every request asks for the session.
func (c *Core) signIn(ctx context.Context, session uuid.UUID) (SignIn, error) {
	p, err := c.Store.PrincipalBySession(ctx, session)
	if err != nil {
		return SignIn{}, unauthorized(err)
	}
	return c.signedIn(p)
}

// signInOr is signIn of a session that was made a moment ago or, where a request is repeated, long ago. It returns ended where
// that is over: whoever asks has shown no session, so that there is none to be refused.
func (c *Core) signInOr(ctx context.Context, session uuid.UUID, ended *account.Error) (SignIn, error) {
	s, err := c.signIn(ctx, session)
	if errors.Is(err, account.ErrUnauthorized) {
		err = ended.Because(err)
	}
	return s, err
}

func (c *Core) signedIn(p account.Principal) (SignIn, error) {
	expires := p.Session.ExpiresAt
	if p.Session.State == account.SessionPending {
		expires = p.Session.CreatedAt.Add(c.Policy.SessionTTL)
	}
	token, err := c.Tokens.Sign(p.Session.ID, p.Account.ID, p.Session.CreatedAt, expires)
	return SignIn{Principal: c.completed(p), AccessToken: token, ExpiresAt: expires}, err
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
