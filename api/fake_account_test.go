package api_test

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) ReplacePassword(ctx context.Context, by account.Caller, in core.ReplacePasswordInput) (core.PasswordSet, error) {
	err := f.record(ctx, "ReplacePassword", by, in, map[string]string{"new_password": in.New, "confirm_password": in.Confirm})
	return core.PasswordSet{HadPassword: true}, err
}

func (f *fakeCore) SendPasswordCode(ctx context.Context, by account.Caller, in core.SendPasswordCodeInput) (core.PasswordCode, error) {
	err := f.record(ctx, "SendPasswordCode", by, in, map[string]string{"channel": in.Channel})
	return core.PasswordCode{TempToken: "t", Hint: "+254***7890", ExpiresIn: 10 * time.Minute}, err
}

func (f *fakeCore) ChangePasswordByCode(ctx context.Context, by account.Caller, in core.ChangePasswordByCodeInput) (core.PasswordSet, error) {
	err := f.record(ctx, "ChangePasswordByCode", by, in, map[string]string{
		"temp_token": in.TempToken, "otp": in.OTP, "new_password": in.New, "confirm_password": in.Confirm,
	})
	return core.PasswordSet{HadPassword: true}, err
}

func (f *fakeCore) SetPassword(ctx context.Context, by account.Caller, in core.NewPassword) (core.PasswordSet, error) {
	err := f.record(ctx, "SetPassword", by, in, map[string]string{"new_password": in.New, "confirm_password": in.Confirm})
	return core.PasswordSet{}, err
}

func (f *fakeCore) Reauthenticate(ctx context.Context, by account.Caller, in core.OwnerProof) (core.None, error) {
	return core.None{}, f.record(ctx, "Reauthenticate", by, in, nil)
}

func (f *fakeCore) MarkedSessions(ctx context.Context, by account.Caller, in core.MarkedSessionsInput) (core.MarkedSessions, error) {
	err := f.record(ctx, "MarkedSessions", by, in, nil)
	one := core.PlacedSession{Session: account.Session{
		ID: sessionID, Client: account.ClientDevice{ID: "device_abc123", Name: new("iPhone 15"), Platform: new("IOS")}, IP: "197.248.1.1",
		UserAgent: chromeOnMac, LastActiveAt: moment.Add(time.Hour), CreatedAt: moment,
	}, Location: new("Nairobi, KE")}
	bare := core.PlacedSession{Session: account.Session{ID: accountID, UserAgent: chromeOnMac, LastActiveAt: moment, CreatedAt: moment}}
	out := core.MarkedSessions{Sessions: []core.PlacedSession{one, bare}}
	if in.Mark != nil {
		out.Marked = &out.Sessions[0]
	}
	return out, err
}

func (f *fakeCore) SignOut(ctx context.Context, by account.Caller, in core.SignOutInput) (core.None, error) {
	return core.None{}, f.record(ctx, "SignOut", by, in, nil)
}

func (f *fakeCore) SignOutOthers(ctx context.Context, by account.Caller, in core.SignOutOthersInput) (core.None, error) {
	return core.None{}, f.record(ctx, "SignOutOthers", by, in, nil)
}

func (f *fakeCore) SignOutAll(ctx context.Context, by account.Caller, in core.OwnerProof) (core.None, error) {
	return core.None{}, f.record(ctx, "SignOutAll", by, in, nil)
}

func (f *fakeCore) RevokeSession(ctx context.Context, by account.Caller, in core.SessionInput) (core.None, error) {
	return core.None{}, f.record(ctx, "RevokeSession", by, in, nil)
}
