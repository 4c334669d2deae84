package api_test

import (
	"context"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) ValidateSession(ctx context.Context, by account.Caller, in core.None) (core.SessionStatus, error) {
	err := f.record(ctx, "ValidateSession", by, in, nil)
	return core.SessionStatus{Principal: f.principal, ExpiresIn: 90*time.Second + time.Millisecond, NeedsRefresh: true}, err
}

func (f *fakeCore) Refresh(ctx context.Context, by account.Caller, in core.RefreshInput) (core.SignIn, error) {
	return f.signIn(), f.record(ctx, "Refresh", by, in, nil)
}

func (f *fakeCore) Sessions(ctx context.Context, by account.Caller, in core.None) (core.SessionList, error) {
	err := f.record(ctx, "Sessions", by, in, nil)
	other := *somebody().Session
	other.ID, other.DeviceInfo = accountID, new("My phone")
	return core.SessionList{Sessions: []account.Session{*somebody().Session, other}, Current: sessionID}, err
}

func (f *fakeCore) RevokeSessions(ctx context.Context, by account.Caller, in core.RevokeSessionsInput) (core.Revoked, error) {
	return core.Revoked{Count: 2}, f.record(ctx, "RevokeSessions", by, in, nil)
}

func (f *fakeCore) RevokeAllSessions(ctx context.Context, by account.Caller, in core.None) (core.Revoked, error) {
	return core.Revoked{Count: 3}, f.record(ctx, "RevokeAllSessions", by, in, nil)
}

func (f *fakeCore) EndSession(ctx context.Context, by account.Caller, in core.SessionInput) (core.None, error) {
	return core.None{}, f.record(ctx, "EndSession", by, in, nil)
}

func (f *fakeCore) TouchSession(ctx context.Context, by account.Caller, in core.SessionInput) (core.Activity, error) {
	return core.Activity{LastActive: moment}, f.record(ctx, "TouchSession", by, in, nil)
}

func (f *fakeCore) DescribeDevice(ctx context.Context, by account.Caller, in core.DescribeDeviceInput) (core.Device, error) {
	return core.Device{Label: "Chrome 120.0 on macOS"}, f.record(ctx, "DescribeDevice", by, in, nil)
}

func (f *fakeCore) LoginHistory(ctx context.Context, by account.Caller, in core.LoginHistoryInput) ([]core.LoginAttempt, error) {
	err := f.record(ctx, "LoginHistory", by, in, nil)
	one := account.LoginRecord{
		ID: sessionID, AccountID: accountID, Method: "password", Outcome: account.LoginSucceeded, IP: "192.168.1.100",
		UserAgent: "curl/8", CreatedAt: moment,
	}
	refused := one
	refused.Outcome = account.LoginWrongPassword
	return []core.LoginAttempt{{LoginRecord: one, Location: new("Berlin, Germany")}, {LoginRecord: refused}}, err
}

func (f *fakeCore) CreateAPIKey(ctx context.Context, by account.Caller, in core.CreateAPIKeyInput) (core.NewAPIKey, error) {
	err := f.record(ctx, "CreateAPIKey", by, in, map[string]string{"name": in.Name, "scopes": strings.Join(in.Scopes, " ")})
	return core.NewAPIKey{APIKey: aKey(), Secret: "ghk_secret"}, err
}

func aKey() account.APIKey {
	return account.APIKey{
		ID: sessionID, Name: "ci", Scopes: []account.Scope{account.ScopeRead}, CreatedAt: moment, LastUsedAt: new(moment),
	}
}

func (f *fakeCore) APIKeys(ctx context.Context, by account.Caller, in core.None) ([]account.APIKey, error) {
	return []account.APIKey{aKey()}, f.record(ctx, "APIKeys", by, in, nil)
}

func (f *fakeCore) RevokeAPIKey(ctx context.Context, by account.Caller, in core.RevokeAPIKeyInput) (core.None, error) {
	return core.None{}, f.record(ctx, "RevokeAPIKey", by, in, nil)
}
