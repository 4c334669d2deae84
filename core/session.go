package core

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
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

func (in SessionInput) id() (uuid.UUID, error) { return named(in.ID) }

// named reads the id of something that a list has shown (contract X08). Any other text names nothing.
func named(s string) (uuid.UUID, error) {
	id, ok := strictUUID(s)
	if !ok {
		return uuid.Nil, account.ErrNotFound
	}
	return id, nil
}

// EndSession ends one session of the caller's account (C27, D19). It returns account.ErrNotFound for any other.
func (c *Core) EndSession(ctx context.Context, by account.Caller, in SessionInput) (None, error) {
	owner, own, err := current(by)
	if err != nil {
		return None{}, err
	}
	id, err := in.id()
	if err != nil {
		return None{}, err
	}
	_, err = commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (Revoked, told, error) {
		if id == own {
			return Revoked{Count: 1}, nil, tx.RevokeSession(ctx, owner, id, "revoked")
		}
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return Revoked{}, nil, err
		}
		return Revoked{Count: 1}, c.toVerified(by.Principal.Account, templates.SessionsEnded), tx.DisownSession(ctx, owner, id, "revoked")
	})
	return None{}, err
}

// endSessions ends the sessions of the caller's account, all but one or really all. Its owner is told.
func (c *Core) endSessions(ctx context.Context, by account.Caller, but uuid.UUID, reason string) (Revoked, error) {
	return commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (Revoked, told, error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return Revoked{}, nil, err
		}
		n, err := tx.RevokeSessions(ctx, by.Principal.Account.ID, but, reason)
		if err != nil || n == 0 {
			return Revoked{}, nil, err
		}
		return Revoked{Count: n}, c.toVerified(by.Principal.Account, templates.SessionsEnded), nil
	})
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
	if out, done, err := made[Revoked](by); done {
		return out, err
	}
	if err := in.validate(); err != nil {
		return Revoked{}, err
	}
	if !in.AllOthers {
		_, err := c.EndSession(ctx, by, SessionInput{ID: in.ID})
		return Revoked{Count: 1}, err
	}
	_, session, err := current(by)
	if err != nil {
		return Revoked{}, err
	}
	return c.endSessions(ctx, by, session, "revoked_by_other")
}

// RevokeAllSessions ends every session of the caller's account, its own too; API keys go on working (C25).
func (c *Core) RevokeAllSessions(ctx context.Context, by account.Caller, _ None) (Revoked, error) {
	if _, _, err := current(by); err != nil {
		return Revoked{}, err
	}
	return c.endSessions(ctx, by, uuid.Nil, "revoked_all")
}

// MarkedSessionsInput asks for the sessions of an account, the marked one first (D15). Mark is what the client says its
// session is, nil for none.
type MarkedSessionsInput struct {
	Mark *string
}

// PlacedSession is a session with the rough place of its address where a location database is set.
type PlacedSession struct {
	account.Session
	Location *string
}

// MarkedSessions is the live sessions of an account, and the one that the client has marked, if it is one of them.
type MarkedSessions struct {
	Sessions []PlacedSession
	Marked   *PlacedSession
}

// MarkedSessions lists where the caller's account is signed in: the session that the client says is its own first, then the
// latest active (D15, conventions 14). Whatever is no session of the account marks none.
func (c *Core) MarkedSessions(ctx context.Context, by account.Caller, in MarkedSessionsInput) (MarkedSessions, error) {
	owner, _, err := current(by)
	if err != nil {
		return MarkedSessions{}, err
	}
	var mark uuid.UUID
	if in.Mark != nil {
		if mark, err = uuidOf(*in.Mark, sessionHeader); err != nil {
			return MarkedSessions{}, err
		}
	}
	found, err := c.Store.Sessions(ctx, owner, mark, maxSessions)
	out := MarkedSessions{Sessions: make([]PlacedSession, len(found))}
	for i, s := range found {
		out.Sessions[i] = PlacedSession{Session: s, Location: c.location(s.IP)}
		if s.ID == mark {
			out.Marked = &out.Sessions[i]
		}
	}
	return out, err
}

// sessionHeader is the header by which document D names a session.
const sessionHeader = "X-Session-Id"

// uuidOf reads an id where a document wants it to be a UUID; name is what the client calls it.
func uuidOf(s, name string) (uuid.UUID, error) {
	id, ok := strictUUID(s)
	if !ok {
		return uuid.Nil, account.ErrInvalid.On(name, "must be a UUID")
	}
	return id, nil
}

// strictUUID reads an id as it is shown: uuid.Parse takes other forms, too, braces, a URN, no dashes.
func strictUUID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && strings.EqualFold(id.String(), s)
}

// RevokeSession ends one session of the caller's account (D19). It is EndSession for a document that wants a UUID.
func (c *Core) RevokeSession(ctx context.Context, by account.Caller, in SessionInput) (None, error) {
	if _, err := uuidOf(in.ID, "session_id"); err != nil {
		return None{}, err
	}
	return c.EndSession(ctx, by, in)
}

// SignOutInput names the session to end, nil for none.
type SignOutInput struct {
	SessionID *string
}

// SignOut ends the session that the client names, its own or another of its account (D16). It returns
// account.ErrSessionIDRequired, and account.ErrNotFound for any other session.
func (c *Core) SignOut(ctx context.Context, by account.Caller, in SignOutInput) (None, error) {
	if in.SessionID == nil {
		return None{}, account.ErrSessionIDRequired
	}
	id, err := uuidOf(*in.SessionID, sessionHeader)
	if err != nil {
		return None{}, err
	}
	return c.EndSession(ctx, by, SessionInput{ID: id.String()})
}

// SignOutOthersInput names the session to keep, which must be the caller's own, and proves that its owner asks.
type SignOutOthersInput struct {
	SessionID *string
	OwnerProof
}

// SignOutOthers ends every session of the caller's account but its own (D17); API keys go on working. It returns
// account.ErrSessionIDRequired, account.ErrNotFound when the client names another session than its own, and the errors of
// the proof (see OwnerProof).
func (c *Core) SignOutOthers(ctx context.Context, by account.Caller, in SignOutOthersInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	_, session, err := current(by)
	if err != nil {
		return None{}, err
	}
	if in.SessionID == nil {
		return None{}, account.ErrSessionIDRequired
	}
	invalid := in.judge(account.ErrInvalid)
	kept, err := uuidOf(*in.SessionID, sessionHeader)
	if err != nil {
		invalid = invalid.On(sessionHeader, "must be a UUID")
	}
	if err := faults(invalid); err != nil {
		return None{}, err
	}
	if kept != session {
		return None{}, account.ErrNotFound
	}
	return None{}, c.byOwner(ctx, by, in.OwnerProof, store.UseSignOutOthers, func() error {
		_, err := c.endSessions(ctx, by, session, "revoked_by_other")
		return err
	})
}

// SignOutAll ends every session of the caller's account, its own too (D18); API keys go on working. Its errors are those of
// the proof (see OwnerProof).
func (c *Core) SignOutAll(ctx context.Context, by account.Caller, in OwnerProof) (None, error) {
	if _, _, err := current(by); err != nil {
		return None{}, err
	}
	if err := faults(in.judge(account.ErrInvalid)); err != nil {
		return None{}, err
	}
	return None{}, c.byOwner(ctx, by, in, store.UseSignOutAll, func() error {
		_, err := c.endSessions(ctx, by, uuid.Nil, "revoked_all")
		return err
	})
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
	if out, done, err := made[Device](by); done {
		return out, err
	}
	label, err := in.label()
	if err != nil {
		return Device{}, err
	}
	owner, session, err := current(by)
	if err != nil {
		return Device{}, err
	}
	from := origin(by, nil, nil, nil)
	out, err := once(ctx, c, by, func(ctx context.Context, tx *store.Store) (Device, error) {
		err := tx.DescribeSession(ctx, owner, session, label, from.IP, from.UserAgent)
		return Device{Label: account.Session{DeviceInfo: label, UserAgent: from.UserAgent}.Device()}, err
	})
	return out, unauthorized(err)
}
