package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type mfaCore interface {
	EnableTwoFactor(context.Context, account.Caller, core.TwoFactorInput) (core.None, error)
	DisableTwoFactor(context.Context, account.Caller, core.TwoFactorInput) (core.None, error)
}

func mfaRoutes(c mfaCore) []endpoint.Route {
	return []endpoint.Route{
		// D02
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "enableTwoFactor", Method: "POST", Path: "/api/v1/account/2fa/enable",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
			Message: "Two-factor authentication enabled successfully",
		}, twoFactorRequest.input, c.EnableTwoFactor, newTwoFactorBody, wrongPassword),
		// D03
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "disableTwoFactor", Method: "POST", Path: "/api/v1/account/2fa/disable",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
			Message: "Two-factor authentication disabled successfully",
		}, twoFactorRequest.input, c.DisableTwoFactor, newTwoFactorBody, wrongPassword),
	}
}

type twoFactorRequest struct {
	Password string `json:"password"`
}

func (r twoFactorRequest) input() core.TwoFactorInput {
	return core.TwoFactorInput{Password: r.Password}
}

func newTwoFactorBody(core.None) any { return nil }
