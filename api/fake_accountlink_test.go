package api_test

import (
	"context"
	"strings"

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

func (f *fakeCore) UnlinkEmail(ctx context.Context, by account.Caller, in core.None) (core.None, error) {
	return core.None{}, f.record(ctx, "UnlinkEmail", by, in, nil)
}
