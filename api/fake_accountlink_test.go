package api_test

import (
	"context"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) LinkByToken(ctx context.Context, by account.Caller, in core.LinkByTokenInput) (account.LinkedProvider, error) {
	err := f.record(ctx, "LinkByToken", by, in, map[string]string{"provider": in.Provider, "id_token": in.IDToken})
	return account.LinkedProvider{Provider: account.Provider(strings.ToLower(in.Provider))}, err
}

func (f *fakeCore) UnlinkByName(ctx context.Context, by account.Caller, in core.UnlinkByNameInput) (core.Unlinked, error) {
	return core.Unlinked{Provider: account.Provider(strings.ToLower(in.Provider))}, f.record(ctx, "UnlinkByName", by, in, nil)
}

func (f *fakeCore) LinkEmail(ctx context.Context, by account.Caller, in core.LinkEmailInput) (core.EmailLinkStarted, error) {
	err := f.record(ctx, "LinkEmail", by, in, map[string]string{"email": in.Email})
	return core.EmailLinkStarted{TempToken: "temp", Hint: "jo***@example.com", ExpiresIn: 10 * time.Minute}, err
}

func (f *fakeCore) VerifyEmailLink(ctx context.Context, by account.Caller, in core.VerifyEmailLinkInput) (core.None, error) {
	return core.None{}, f.record(ctx, "VerifyEmailLink", by, in, map[string]string{"temp_token": in.TempToken, "otp": in.OTP})
}

func (f *fakeCore) UnlinkEmail(ctx context.Context, by account.Caller, in core.None) (core.None, error) {
	return core.None{}, f.record(ctx, "UnlinkEmail", by, in, nil)
}
