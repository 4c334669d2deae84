package usersv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type pushCore interface {
	RegisterDevice(context.Context, account.Caller, core.RegisterDeviceInput) (core.None, error)
	ClaimPushToken(context.Context, account.Caller, core.PushTokenInput) (core.None, error)
	ChangePushSettings(context.Context, account.Caller, core.PushSettingsInput) (core.None, error)
}

func pushRoutes(c Core) []endpoint.Route {
	unknown := endpoint.Reworded(account.ErrNotFound, "Token not found")
	return []endpoint.Route{
		// B24
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "registerDeviceToken", Method: "POST", Path: "/v1/devicetokens",
			Policy: endpoint.Optional, Scope: account.ScopeWrite, Limit: account.LimitPush,
		}, registerDeviceRequest.input, c.RegisterDevice, newRegisteredDeviceBody),
		// B25
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "addNotificationToken", Method: "POST", Path: "/v1/users/notifications/tokens/:token",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, pushTokenRequest.input, c.ClaimPushToken, newClaimedPushTokenBody, unknown),
		// B26
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "updateNotificationToken", Method: "POST", Path: "/v1/users/notifications/tokens/:token/update",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, pushSettingsRequest.input, c.ChangePushSettings, newPushSettingsBody, unknown),
	}
}

type registerDeviceRequest struct {
	UserID      string `json:"userId"`
	DeviceToken string `json:"deviceToken"`
	OS          string `json:"os"`
}

func (r registerDeviceRequest) input() core.RegisterDeviceInput {
	return core.RegisterDeviceInput{UserID: r.UserID, Token: r.DeviceToken, OS: r.OS}
}

func newRegisteredDeviceBody(core.None) any { return messageBody{Message: "Device token registered"} }

type pushTokenRequest struct {
	Token string  `path:"token"`
	OS    *string `json:"os"`
}

func (r pushTokenRequest) input() core.PushTokenInput { return core.PushTokenInput(r) }

func newClaimedPushTokenBody(core.None) any {
	return messageBody{Message: "Notification token registered"}
}

type pushSettingsRequest struct {
	Token    string          `path:"token"`
	Settings endpoint.Object `json:"settings"`
}

func (r pushSettingsRequest) input() core.PushSettingsInput { return core.PushSettingsInput(r) }

func newPushSettingsBody(core.None) any {
	return messageBody{Message: "Notification settings updated"}
}
