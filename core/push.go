package core

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
)

const (
	pushHash = "push"
	maxOS    = 50
)

// RegisterDeviceInput says by which token the device of a user is reached (B24).
type RegisterDeviceInput struct {
	UserID string
	Token  string
	OS     string
}

func (in RegisterDeviceInput) validate() error {
	invalid := account.ErrInvalid
	if strings.TrimSpace(in.UserID) == "" {
		invalid = invalid.On("user_id", "is required")
	}
	if fault := account.PushTokenFault(in.Token); fault != "" {
		invalid = invalid.On("device_token", fault)
	}
	if fault := osFault(in.OS); fault != "" {
		invalid = invalid.On("os", fault)
	}
	return faults(invalid)
}

func osFault(s string) string {
	switch {
	case strings.TrimSpace(s) == "":
		return "is required"
	case utf8.RuneCountInString(s) > maxOS:
		return "must be at most 50 characters"
	case !printable(s):
		return "must not contain control characters"
	}
	return ""
}

// RegisterDevice keeps the token of a device (B24, design D11). Only for the caller's own id, of an account that is proven, it is
// bound to the caller, as ClaimPushToken binds it. Anybody else's stays unbound, reaches nobody, and is forgotten after
// Policy.PushTokenTTL; a bound one is never moved. The answer tells none of this, nor whether the user exists.
func (c *Core) RegisterDevice(ctx context.Context, by account.Caller, in RegisterDeviceInput) (None, error) {
	if err := in.validate(); err != nil {
		return None{}, err
	}
	token := c.pushToken(in.Token, &in.OS)
	p := by.Principal
	if p == nil || p.Session == nil || !p.Account.Proven() || p.Account.ID.String() != strings.ToLower(strings.TrimSpace(in.UserID)) {
		return None{}, c.Store.KeepPushToken(ctx, token, c.Policy.PushTokenTTL)
	}
	err := c.Store.BindPushToken(ctx, token, p.Account.ID, p.Session.ID, account.MaxPushTokens)
	if errors.Is(err, account.ErrNotFound) {
		err = nil
	}
	return None{}, err
}

func (c *Core) pushToken(token string, os *string) store.PushToken {
	hash := c.Keys.TokenHash(pushHash, token)
	t := store.PushToken{ID: uuid.New(), Hash: hash, Sealed: c.Keys.SealPushToken(hash, token)}
	if os != nil && strings.TrimSpace(*os) != "" {
		t.OS = trimmed(os)
	}
	return t
}

// PushTokenInput names the token of a device (B25).
type PushTokenInput struct {
	Token string
	OS    *string
}

func (in PushTokenInput) validate() error {
	invalid := account.ErrInvalid
	if fault := account.PushTokenFault(in.Token); fault != "" {
		invalid = invalid.On("token", fault)
	}
	if in.OS != nil && *in.OS != "" {
		if fault := osFault(*in.OS); fault != "" {
			invalid = invalid.On("os", fault)
		}
	}
	return faults(invalid)
}

// ClaimPushToken binds the token of a device to the caller, for as long as the caller's session lives (B25). It returns
// account.ErrEmailNotVerified, and account.ErrNotFound for a token that is bound to somebody else.
func (c *Core) ClaimPushToken(ctx context.Context, by account.Caller, in PushTokenInput) (None, error) {
	if err := in.validate(); err != nil {
		return None{}, err
	}
	owner, session, err := current(by)
	if err != nil {
		return None{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return None{}, err
	}
	return None{}, c.Store.BindPushToken(ctx, c.pushToken(in.Token, in.OS), owner, session, account.MaxPushTokens)
}

// PushSettingsInput changes what one device of the caller is sent (B26). The member "enabled": false silences it; the rest
// is kept for the client.
type PushSettingsInput struct {
	Token    string
	Settings json.RawMessage
}

// ChangePushSettings merges settings into those of a token of the caller (B26). It returns account.ErrNotFound for a token
// that is not the caller's.
func (c *Core) ChangePushSettings(ctx context.Context, by account.Caller, in PushSettingsInput) (None, error) {
	if err := (PushTokenInput{Token: in.Token}).validate(); err != nil {
		return None{}, err
	}
	owner, _, err := current(by)
	if err != nil {
		return None{}, err
	}
	if in.Settings == nil {
		in.Settings = json.RawMessage(`{}`)
	}
	hash := c.Keys.TokenHash(pushHash, in.Token)
	return None{}, c.Store.ChangePushSettings(ctx, owner, hash, in.Settings, account.MaxPushSettings)
}
