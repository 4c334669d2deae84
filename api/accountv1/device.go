package accountv1

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type deviceCore interface {
	VerifyDevice(context.Context, account.Caller, core.VerifyDeviceInput) (core.DeviceVerified, error)
	Devices(context.Context, account.Caller, core.DevicesInput) (core.DeviceList, error)
	RevokeDevice(context.Context, account.Caller, core.RevokeDeviceInput) (core.None, error)
}

// deviceRoutes are the second step of a login by code, and the devices that skip it.
func deviceRoutes(c deviceCore) []endpoint.Route {
	return []endpoint.Route{
		// D20
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyDevice", Method: "POST", Path: "/api/v1/account/device/verify", Message: "Device verified. Login successful.",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, verifyDeviceRequest.input, c.VerifyDevice, newVerifiedDeviceBody, wrongOTP),
		// D21
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listDevices", Method: "GET", Path: "/api/v1/account/devices", Message: "Devices retrieved",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, devicesRequest.input, c.Devices, newDevicesBody),
		// D22
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeDevice", Method: "DELETE", Path: "/api/v1/account/devices/:deviceKeyId", Message: "Device revoked",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, revokeDeviceRequest.input, c.RevokeDevice, nothing,
			endpoint.Reworded(account.ErrNotFound, "Device not found")),
	}
}

type verifyDeviceRequest struct {
	Token      string  `json:"deviceVerificationToken"`
	OTP        string  `json:"otp"`
	DeviceID   string  `json:"deviceId"`
	DeviceName *string `json:"deviceName"`
	Platform   *string `json:"platform"`
}

func (r verifyDeviceRequest) input() core.VerifyDeviceInput {
	return core.VerifyDeviceInput{
		Token: r.Token, Code: r.OTP, Device: account.ClientDevice{ID: r.DeviceID, Name: r.DeviceName, Platform: r.Platform},
	}
}

type verifiedDeviceBody struct {
	AccessToken  string         `json:"accessToken"`
	RefreshToken string         `json:"refreshToken"`
	DeviceToken  string         `json:"deviceToken"`
	Onboarding   onboardingBody `json:"onboarding"`
	User         userBody       `json:"user"`
}

type onboardingBody struct {
	IsPrimaryComplete bool `json:"isPrimaryComplete"`
	HasUsername       bool `json:"hasUsername"`
}

type userBody struct {
	ID        uuid.UUID `json:"id"`
	UserName  *string   `json:"userName"`
	FirstName *string   `json:"firstName"`
}

func newVerifiedDeviceBody(v core.DeviceVerified) any {
	a := v.Principal.Account
	return verifiedDeviceBody{
		AccessToken: v.AccessToken, RefreshToken: v.RefreshToken, DeviceToken: v.DeviceToken,
		Onboarding: onboardingBody{IsPrimaryComplete: a.OnboardingDone, HasUsername: a.Username != nil},
		User:       userBody{ID: a.ID, UserName: a.Username, FirstName: firstWord(a.Profile.FullName)},
	}
}

func firstWord(name *string) *string {
	if name == nil {
		return nil
	}
	words := strings.Fields(*name)
	if len(words) == 0 {
		return nil
	}
	return &words[0]
}

type devicesRequest struct {
	DeviceID string `header:"X-Device-Id"`
}

func (r devicesRequest) input() core.DevicesInput { return core.DevicesInput{Current: r.DeviceID} }

type deviceBody struct {
	ID         uuid.UUID `json:"id"`
	DeviceID   string    `json:"deviceId"`
	DeviceName *string   `json:"deviceName"`
	Platform   *string   `json:"platform"`
	LastUsedAt string    `json:"lastUsedAt"`
	CreatedAt  string    `json:"createdAt"`
	// CurrentDevice is there only for clients that say which device is theirs: the document has no such member.
	CurrentDevice *bool `json:"currentDevice,omitzero"`
}

func newDevicesBody(l core.DeviceList) any {
	body := make([]deviceBody, len(l.Devices))
	for i, d := range l.Devices {
		body[i] = deviceBody{
			ID: d.ID, DeviceID: d.Client.ID, DeviceName: d.Client.Name, Platform: d.Client.Platform,
			LastUsedAt: stamp(d.LastUsedAt), CreatedAt: stamp(d.CreatedAt),
		}
		if l.Current != "" {
			body[i].CurrentDevice = new(d.Client.ID == l.Current)
		}
	}
	return body
}

type revokeDeviceRequest struct {
	ID string `path:"deviceKeyId"`
}

func (r revokeDeviceRequest) input() core.RevokeDeviceInput { return core.RevokeDeviceInput{ID: r.ID} }
