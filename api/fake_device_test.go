package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) VerifyDevice(ctx context.Context, by account.Caller, in core.VerifyDeviceInput) (core.DeviceVerified, error) {
	err := f.record(ctx, "VerifyDevice", by, in, map[string]string{
		"device_verification_token": in.Token, "otp": in.Code, "device_id": in.Device.ID,
	})
	return core.DeviceVerified{SignIn: f.signIn(), DeviceToken: "device"}, err
}

func (f *fakeCore) Devices(ctx context.Context, by account.Caller, in core.DevicesInput) (core.DeviceList, error) {
	return core.DeviceList{Current: in.Current, Devices: []account.TrustedDevice{
		{
			ID: sessionID, AccountID: accountID, CreatedAt: moment, LastUsedAt: moment, ExpiresAt: moment,
			Client: account.ClientDevice{ID: "fp-1", Name: new("iPhone 15 Pro"), Platform: new("IOS")},
		},
		{ID: accountID, AccountID: accountID, CreatedAt: moment, LastUsedAt: moment, Client: account.ClientDevice{ID: "fp-2"}},
	}}, f.record(ctx, "Devices", by, in, nil)
}

func (f *fakeCore) RevokeDevice(ctx context.Context, by account.Caller, in core.RevokeDeviceInput) (core.None, error) {
	return core.None{}, f.record(ctx, "RevokeDevice", by, in, nil)
}
