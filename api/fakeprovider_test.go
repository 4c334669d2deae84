package api_test

import (
	"context"
	"time"

	"github.com/google/uuid"

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

func (f *fakeCore) InitiateLink(ctx context.Context, by account.Caller, in core.InitiateLinkInput) (core.LinkStarted, error) {
	err := f.record(ctx, "InitiateLink", by, in, map[string]string{"provider": in.Provider})
	return core.LinkStarted{AuthURL: "https://accounts.example.com/?state=s", State: "s"}, err
}

func (f *fakeCore) CompleteLink(ctx context.Context, by account.Caller, in core.CompleteLinkInput) (core.LinkCompleted, error) {
	err := f.record(ctx, "CompleteLink", by, in, map[string]string{
		"state": in.State, "provider": in.Provider, "provider_account_id": in.Subject,
	})
	return core.LinkCompleted{Provider: account.Provider(in.Provider)}, err
}

func (f *fakeCore) SpendNonce(_ context.Context, _ uuid.UUID, nonce string) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.spent[nonce] {
		return account.ErrInvalidAssertion
	}
	if f.spent == nil {
		f.spent = map[string]bool{}
	}
	f.spent[nonce] = true
	return nil
}

func (f *fakeCore) ProviderSignIn(ctx context.Context, by account.Caller, in core.ProviderSignInInput) (core.SignIn, error) {
	err := f.record(ctx, "ProviderSignIn", by, in, map[string]string{
		"email": in.Email, "provider": in.Provider, "provider_account_id": in.Subject,
	})
	return f.signIn(), err
}
