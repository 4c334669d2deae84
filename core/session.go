package core

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
)

// maxSessions is how many sessions a list shows.
const maxSessions = 100

// refreshSoon is how little time a session has left when its owner should sign in anew (contract A12).
const refreshSoon = 24 * time.Hour

// SessionList is the live sessions of an account. Current is the one that asked.
type SessionList struct {
	Sessions []account.Session
	Current  uuid.UUID
}

// current returns the caller's account and session: the one of the token, or the implicit one of the key (contract X06).
func current(by account.Caller) (accountID, session uuid.UUID, err error) {
	if by.Principal == nil || by.Principal.Session == nil {
		return uuid.Nil, uuid.Nil, account.ErrUnauthorized
	}
	return by.Principal.Account.ID, by.Principal.Session.ID, nil
}

// Sessions lists where the caller's account is signed in, the current session first, then the latest active (A09, C24).
func (c *Core) Sessions(ctx context.Context, by account.Caller, _ None) (SessionList, error) {
	owner, session, err := current(by)
	if err != nil {
		return SessionList{}, err
	}
	found, err := c.Store.Sessions(ctx, owner, session, maxSessions)
	return SessionList{Sessions: found, Current: session}, err
}

// SessionStatus is the caller's own session, read when the request was authenticated.
type SessionStatus struct {
	Principal account.Principal
	// ExpiresIn is the rest of the session's life, NeedsRefresh says that it is short.
	ExpiresIn    time.Duration
	NeedsRefresh bool
}

// ValidateSession tells the caller about its session (A12, C26). It never prolongs it.
func (c *Core) ValidateSession(_ context.Context, by account.Caller, _ None) (SessionStatus, error) {
	if _, _, err := current(by); err != nil {
		return SessionStatus{}, err
	}
	left := max(0, by.Principal.Session.ExpiresAt.Sub(c.Clock.Now()))
	return SessionStatus{Principal: *by.Principal, ExpiresIn: left, NeedsRefresh: left < refreshSoon}, nil
}

// SessionInput names a session by the opaque id that lists show. What is no id of ours names no session.
type SessionInput struct {
	ID string
}

func (in SessionInput) id() (uuid.UUID, error) {
	id, err := uuid.Parse(in.ID)
	if err != nil {
		return uuid.Nil, account.ErrNotFound
	}
	return id, nil
}

// EndSession ends one session of the caller's account (C27, D19). It returns account.ErrNotFound for any other.
func (c *Core) EndSession(ctx context.Context, by account.Caller, in SessionInput) (None, error) {
	owner, _, err := current(by)
	if err != nil {
		return None{}, err
	}
	id, err := in.id()
	if err != nil {
		return None{}, err
	}
	return None{}, c.Store.RevokeSession(ctx, owner, id, "revoked")
}

// RevokeSessionsInput ends one session, or all but the caller's (A10). AllOthers wins over ID.
type RevokeSessionsInput struct {
	ID        string
	AllOthers bool
}

func (in RevokeSessionsInput) validate() error {
	if !in.AllOthers && in.ID == "" {
		return account.ErrInvalid.On("session_id", "is required unless revoke_all_others is true")
	}
	return nil
}

// Revoked is how many sessions were ended.
type Revoked struct {
	Count int
}

// RevokeSessions ends one session of the caller's account or all others (A10). It returns account.ErrNotFound for a
// session that is not a live one of the account.
func (c *Core) RevokeSessions(ctx context.Context, by account.Caller, in RevokeSessionsInput) (Revoked, error) {
	if err := in.validate(); err != nil {
		return Revoked{}, err
	}
	if !in.AllOthers {
		_, err := c.EndSession(ctx, by, SessionInput{ID: in.ID})
		return Revoked{Count: 1}, err
	}
	owner, session, err := current(by)
	if err != nil {
		return Revoked{}, err
	}
	n, err := c.Store.RevokeSessions(ctx, owner, session, "revoked_by_other")
	return Revoked{Count: n}, err
}

// RevokeAllSessions ends every session of the caller's account, its own too; API keys go on working (C25).
func (c *Core) RevokeAllSessions(ctx context.Context, by account.Caller, _ None) (Revoked, error) {
	owner, _, err := current(by)
	if err != nil {
		return Revoked{}, err
	}
	n, err := c.Store.RevokeSessions(ctx, owner, uuid.Nil, "revoked_all")
	return Revoked{Count: n}, err
}

// Activity is when a session was last in use.
type Activity struct {
	LastActive time.Time
}

// TouchSession notes that a session of the caller's account is in use (C28). That prolongs nothing: a session ends when
// it ends. It returns account.ErrNotFound for any other session.
func (c *Core) TouchSession(ctx context.Context, by account.Caller, in SessionInput) (Activity, error) {
	owner, _, err := current(by)
	if err != nil {
		return Activity{}, err
	}
	id, err := in.id()
	if err != nil {
		return Activity{}, err
	}
	last, err := c.Store.TouchSession(ctx, owner, id, 0)
	return Activity{LastActive: last}, err
}

// DescribeDeviceInput is what the caller's device is to be called; nil or blank means what its user agent says (A11).
type DescribeDeviceInput struct {
	Label *string
}

func (in DescribeDeviceInput) label() (*string, error) {
	if in.Label == nil {
		return nil, nil
	}
	label := strings.TrimSpace(stripHTML(*in.Label))
	invalid := account.ErrInvalid
	switch {
	case utf8.RuneCountInString(label) > account.MaxDeviceInfo:
		return nil, invalid.On("device_info", "must be at most 200 characters")
	case !printable(label):
		return nil, invalid.On("device_info", "must not contain control characters")
	case label == "":
		return nil, nil
	}
	return &label, nil
}

// Device is what a session's device is called.
type Device struct {
	Label string
}

// DescribeDevice stores where the caller's own session is used from, and what its device is to be called (A11).
func (c *Core) DescribeDevice(ctx context.Context, by account.Caller, in DescribeDeviceInput) (Device, error) {
	label, err := in.label()
	if err != nil {
		return Device{}, err
	}
	owner, session, err := current(by)
	if err != nil {
		return Device{}, err
	}
	from := origin(by, nil, nil, nil)
	err = c.Store.DescribeSession(ctx, owner, session, label, from.IP, from.UserAgent)
	if errors.Is(err, account.ErrNotFound) {
		return Device{}, unauthorized(err)
	}
	return Device{Label: account.Session{DeviceInfo: label, UserAgent: from.UserAgent}.Device()}, err
}
