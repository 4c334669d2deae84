package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) RegisterDevice(ctx context.Context, by account.Caller, in core.RegisterDeviceInput) (core.None, error) {
	return core.None{}, f.record(ctx, "RegisterDevice", by, in, map[string]string{"user_id": in.UserID, "device_token": in.Token, "os": in.OS})
}

func (f *fakeCore) ClaimPushToken(ctx context.Context, by account.Caller, in core.PushTokenInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ClaimPushToken", by, in, nil)
}

func (f *fakeCore) ChangePushSettings(ctx context.Context, by account.Caller, in core.PushSettingsInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ChangePushSettings", by, in, nil)
}
