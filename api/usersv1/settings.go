package usersv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type settingsCore interface {
	Settings(context.Context, account.Caller, core.None) (account.Settings, error)
	ChangeSettings(context.Context, account.Caller, core.ChangeSettingsInput) (account.Settings, error)
	DataProviders(context.Context, account.Caller, core.None) ([]account.DataProvider, error)
	ChangeDataProviders(context.Context, account.Caller, core.ChangeDataProvidersInput) ([]account.DataProvider, error)
	Memberships(context.Context, account.Caller, core.MembershipsInput) ([]account.Membership, error)
}

func settingsRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// B13
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getSettings", Method: "GET", Path: "/v1/users/settings",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.Settings, newSettingsBody),
		// B14
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changeSettings", Method: "PATCH", Path: "/v1/users/settings",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, changeSettingsRequest.input, c.ChangeSettings, newSettingsBody),
		// B15
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getDataProviders", Method: "GET", Path: "/v1/users/dataproviders",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.DataProviders, newDataProvidersBody),
		// B16
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changeDataProviders", Method: "PATCH", Path: "/v1/users/dataproviders",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, changeDataProvidersRequest.input, c.ChangeDataProviders, newDataProvidersBody),
		// B17
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getMemberships", Method: "GET", Path: "/v1/users/:email/memberships", Service: true,
			Policy: endpoint.Optional, Scope: account.ScopeRead, Limit: account.LimitCheck,
		}, membershipsRequest.input, c.Memberships, newMembershipsBody),
	}
}

type settingsBody struct {
	Timezone      string            `json:"timezone"`
	OddsFormat    string            `json:"oddsFormat"`
	Notifications notificationsBody `json:"notifications"`
	Theme         string            `json:"theme"`
	Language      string            `json:"language"`
}

type notificationsBody struct {
	Email bool `json:"email"`
	Push  bool `json:"push"`
	SMS   bool `json:"sms"`
}

func newSettingsBody(s account.Settings) any {
	return settingsBody{
		Timezone: s.Timezone, OddsFormat: s.OddsFormat, Theme: s.Theme, Language: s.Language,
		Notifications: notificationsBody{Email: s.NotifyEmail, Push: s.NotifyPush, SMS: s.NotifySMS},
	}
}

// changeSettingsRequest is merged deeply: what it leaves out stays, within notifications, too.
type changeSettingsRequest struct {
	Timezone      *string              `json:"timezone"`
	OddsFormat    *string              `json:"oddsFormat"`
	Notifications notificationsRequest `json:"notifications"`
	Theme         *string              `json:"theme"`
	Language      *string              `json:"language"`
}

type notificationsRequest struct {
	Email *bool `json:"email"`
	Push  *bool `json:"push"`
	SMS   *bool `json:"sms"`
}

func (r changeSettingsRequest) input() core.ChangeSettingsInput {
	return core.ChangeSettingsInput{SettingsChange: account.SettingsChange{
		Timezone: r.Timezone, OddsFormat: r.OddsFormat, Theme: r.Theme, Language: r.Language,
		NotifyEmail: r.Notifications.Email, NotifyPush: r.Notifications.Push, NotifySMS: r.Notifications.SMS,
	}}
}

type dataProvidersBody struct {
	DataProviders []dataProviderBody `json:"dataProviders"`
}

type dataProviderBody struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

func newDataProvidersBody(all []account.DataProvider) any {
	body := dataProvidersBody{DataProviders: make([]dataProviderBody, len(all))}
	for i, p := range all {
		body.DataProviders[i] = dataProviderBody(p)
	}
	return body
}

type changeDataProvidersRequest struct {
	DataProviders []dataProviderRequest `json:"dataProviders"`
}

type dataProviderRequest struct {
	Name    *string `json:"name"`
	Enabled *bool   `json:"enabled"`
}

func (r changeDataProvidersRequest) input() core.ChangeDataProvidersInput {
	if r.DataProviders == nil {
		return core.ChangeDataProvidersInput{}
	}
	in := core.ChangeDataProvidersInput{Providers: make([]core.DataProviderChange, len(r.DataProviders))}
	for i, p := range r.DataProviders {
		in.Providers[i] = core.DataProviderChange(p)
	}
	return in
}

type membershipsRequest struct {
	Email string `path:"email"`
}

func (r membershipsRequest) input() core.MembershipsInput { return core.MembershipsInput(r) }

type membershipsBody struct {
	Memberships []membershipBody `json:"memberships"`
}

type membershipBody struct {
	Organization string `json:"organization"`
	Role         string `json:"role"`
	CreatedAt    string `json:"createdAt"`
}

func newMembershipsBody(all []account.Membership) any {
	body := membershipsBody{Memberships: make([]membershipBody, len(all))}
	for i, m := range all {
		body.Memberships[i] = membershipBody{Organization: m.Organization, Role: m.Role, CreatedAt: endpoint.Stamp(m.CreatedAt)}
	}
	return body
}
