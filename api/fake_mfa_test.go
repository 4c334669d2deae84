package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) SetupMFA(ctx context.Context, by account.Caller, in core.None) (core.MFASetup, error) {
	err := f.record(ctx, "SetupMFA", by, in, nil)
	codes := make([]string, 10)
	for i := range codes {
		codes[i] = "AAAAAA-BBBBBB-CCCCCC-DDDDD" + string(rune('A'+i))
	}
	return core.MFASetup{Secret: "JBSWY3DPEHPK3PXP", URL: "otpauth://totp/Gatehouse:user@example.com", BackupCodes: codes}, err
}

func (f *fakeCore) VerifyMFA(ctx context.Context, by account.Caller, in core.VerifyMFAInput) (core.MFAVerified, error) {
	err := f.record(ctx, "VerifyMFA", by, in, map[string]string{"code": in.Code})
	if in.Code == wrongCode {
		return core.MFAVerified{}, err
	}
	if !in.RememberDevice {
		return core.MFAVerified{Valid: true}, err
	}
	return core.MFAVerified{Valid: true, DeviceToken: "ghd_token", ExpiresAt: &moment}, err
}

func (f *fakeCore) EnableTwoFactor(ctx context.Context, by account.Caller, in core.TwoFactorInput) (core.None, error) {
	return core.None{}, f.record(ctx, "EnableTwoFactor", by, in, map[string]string{"password": in.Password})
}

func (f *fakeCore) DisableTwoFactor(ctx context.Context, by account.Caller, in core.TwoFactorInput) (core.None, error) {
	return core.None{}, f.record(ctx, "DisableTwoFactor", by, in, map[string]string{"password": in.Password})
}
