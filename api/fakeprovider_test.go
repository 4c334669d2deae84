package api_test

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) LinkedAccounts(ctx context.Context, by account.Caller, in core.None) (core.LinkedAccounts, error) {
	return core.LinkedAccounts{
		Linked: []account.LinkedProvider{
			{
				Provider: account.ProviderGoogle, Subject: "google_user_id_123", Type: "oauth", Email: new("user@gmail.example"),
				DisplayName: new("John Doe"), AvatarURL: new("https://cdn.example.com/a.png"), Scope: new("email profile"),
				TokenExpiresAt: new(time.Unix(1640995200, 0)), CreatedAt: moment,
			},
			{Provider: account.ProviderGitHub, Subject: "42", Type: "oauth", CreatedAt: moment},
		},
		PrimaryMethod: "google", HasPassword: true,
	}, f.record(ctx, "LinkedAccounts", by, in, nil)
}

func (f *fakeCore) ConnectProvider(
	ctx context.Context, by account.Caller, in core.ConnectProviderInput,
) (account.LinkedProvider, error) {
	err := f.record(ctx, "ConnectProvider", by, in, map[string]string{
		"provider": in.Provider, "provider_account_id": in.Subject, "access_token": in.AccessToken,
	})
	return account.LinkedProvider{
		Provider: account.Provider(in.Provider), Subject: in.Subject, Type: "oauth", Scope: in.Scope, CreatedAt: moment,
		TokenExpiresAt: new(time.Unix(1640995200, 0)),
	}, err
}

func (f *fakeCore) DisconnectProvider(
	ctx context.Context, by account.Caller, in core.DisconnectProviderInput,
) (core.RemainingMethods, error) {
	return core.RemainingMethods{Count: 2}, f.record(ctx, "DisconnectProvider", by, in, nil)
}
