package usersv1

import (
	"context"
	"net/http"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type passwordCore interface {
	ForgotPassword(context.Context, account.Caller, core.ForgotPasswordInput) (core.None, error)
	ResetPassword(context.Context, account.Caller, core.ResetPasswordInput) (core.None, error)
	ChangePassword(context.Context, account.Caller, core.ChangePasswordInput) (core.None, error)
}

// passwordRoutes share their operations, and so the links and the counters, with documents A and C (contract X28).
func passwordRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// B05
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "resetPassword", Method: "POST", Path: "/v1/users/reset-password", Status: http.StatusNoContent,
			Policy: endpoint.Public, Limit: account.LimitSend, Idempotent: true,
		}, resetPasswordRequest.input, c.ForgotPassword, newNothing),
		// B06
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "updatePassword", Method: "PUT", Path: "/v1/users/update-password", Status: http.StatusNoContent,
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, updatePasswordRequest.input, c.ResetPassword, newNothing),
		// B07
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changePassword", Method: "PUT", Path: "/v1/users/passwords",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, changePasswordRequest.input, c.ChangePassword, newChangedPasswordBody,
			endpoint.Reclassified(account.ErrInvalidPassword, account.Unauthenticated, "Current password is incorrect")),
	}
}

type resetPasswordRequest struct {
	Email string `json:"email"`
}

func (r resetPasswordRequest) input() core.ForgotPasswordInput { return core.ForgotPasswordInput(r) }

type updatePasswordRequest struct {
	Token    string `json:"token"`
	Password string `json:"password"`
}

func (r updatePasswordRequest) input() core.ResetPasswordInput {
	return core.ResetPasswordInput{Token: r.Token, New: r.Password, NewField: "password"}
}

type changePasswordRequest struct {
	CurrentPassword string `json:"currentPassword"`
	NewPassword     string `json:"newPassword"`
}

func (r changePasswordRequest) input() core.ChangePasswordInput {
	return core.ChangePasswordInput{Current: r.CurrentPassword, New: r.NewPassword}
}

func newChangedPasswordBody(core.None) any { return messageBody{Message: "Password changed"} }

func newNothing(core.None) any { return nil }
