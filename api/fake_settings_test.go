package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) settings() account.Settings {
	return account.Settings{
		Timezone: "America/New_York", OddsFormat: "american", NotifyEmail: true, NotifyPush: true, Theme: "dark", Language: "en",
	}
}

func (f *fakeCore) Settings(ctx context.Context, by account.Caller, in core.None) (account.Settings, error) {
	return f.settings(), f.record(ctx, "Settings", by, in, nil)
}

func (f *fakeCore) ChangeSettings(ctx context.Context, by account.Caller, in core.ChangeSettingsInput) (account.Settings, error) {
	return f.settings(), f.record(ctx, "ChangeSettings", by, in, nil)
}

func (f *fakeCore) DataProviders(ctx context.Context, by account.Caller, in core.None) ([]account.DataProvider, error) {
	return nil, f.record(ctx, "DataProviders", by, in, nil)
}

func (f *fakeCore) ChangeDataProviders(
	ctx context.Context, by account.Caller, in core.ChangeDataProvidersInput,
) ([]account.DataProvider, error) {
	given := map[string]string{"data_providers": ""}
	if in.Providers != nil {
		given = nil
	}
	return []account.DataProvider{{Name: "sportradar", Enabled: true}}, f.record(ctx, "ChangeDataProviders", by, in, given)
}

func (f *fakeCore) Memberships(ctx context.Context, by account.Caller, in core.MembershipsInput) ([]account.Membership, error) {
	err := f.record(ctx, "Memberships", by, in, nil)
	return []account.Membership{{Organization: "Example Ltd", Role: "member", CreatedAt: moment}}, err
}
