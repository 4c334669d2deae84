package accountv1

import (
	"context"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type passwordCore interface {
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
	ReplacePassword(context.Context, account.Caller, core.ReplacePasswordInput) (core.PasswordSet, error)
	SendPasswordCode(context.Context, account.Caller, core.SendPasswordCodeInput) (core.PasswordCode, error)
	ChangePasswordByCode(context.Context, account.Caller, core.ChangePasswordByCodeInput) (core.PasswordSet, error)
	SetPassword(context.Context, account.Caller, core.NewPassword) (core.PasswordSet, error)
	Reauthenticate(context.Context, account.Caller, core.OwnerProof) (core.None, error)
}

func passwordRoutes(c passwordCore) []endpoint.Route {
	return []endpoint.Route{
		// D05
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changePassword", Method: "POST", Path: "/api/v1/account/password/change", Message: "Password changed",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, changePasswordRequest.input, c.ReplacePassword, newPasswordChangedBody, wrongPassword, wrongOTP),
		// D06
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "sendPasswordOTP", Method: "POST", Path: "/api/v1/account/password/change-with-otp/send-otp", Message: "OTP sent",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitSend, Idempotent: true,
		}, sendOTPRequest.input, c.SendPasswordCode, newSentOTPBody),
		// D07
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changePasswordWithOTP", Method: "POST", Path: "/api/v1/account/password/change-with-otp/verify",
			Message: "Password changed successfully",
			Policy:  endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, changeWithOTPRequest.input, c.ChangePasswordByCode, newPasswordChangedBody, wrongOTP),
		// D08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "canSetPassword", Method: "GET", Path: "/api/v1/account/password/can-set",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newCanSetPasswordBody),
		// D09
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "setPassword", Method: "POST", Path: "/api/v1/account/password/set", Message: "Password set successfully",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, setPasswordRequest.input, c.SetPassword, newPasswordSetBody,
			endpoint.Reclassified(account.ErrPasswordExists, account.Rejected, account.ErrPasswordExists.Message)),
		// An extension of the document: design D13 wants a way to be fresh again without a new login.
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "reauthenticate", Method: "POST", Path: "/api/v1/account/reauthenticate", Message: "Reauthenticated successfully",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, ownerProofRequest.input, c.Reauthenticate, newNoBody, wrongPassword, wrongOTP),
	}
}

type canSetPasswordBody struct {
	CanSetPassword bool   `json:"canSetPassword"`
	AuthProvider   string `json:"authProvider"`
}

// Message is one sentence or the other: the document prints the first.
func (b canSetPasswordBody) Message() string {
	if b.CanSetPassword {
		return "You can set a password"
	}
	return "Password already set"
}

func newCanSetPasswordBody(p account.Principal) any {
	return canSetPasswordBody{
		CanSetPassword: !p.Account.HasPassword, AuthProvider: strings.ToUpper(p.Account.PrimaryProvider),
	}
}

type changePasswordRequest struct {
	CurrentPassword string `json:"currentPassword"`
	OTP             string `json:"otp"`
	NewPassword     string `json:"newPassword"`
	ConfirmPassword string `json:"confirmPassword"`
}

func (r changePasswordRequest) input() core.ReplacePasswordInput {
	return core.ReplacePasswordInput{
		Current: r.CurrentPassword, OTP: r.OTP, NewPassword: core.NewPassword{New: r.NewPassword, Confirm: r.ConfirmPassword},
	}
}

// passwordBody has a sentence of its own, beside that of the envelope.
type passwordBody struct {
	Success     bool   `json:"success"`
	HadPassword bool   `json:"hadPassword"`
	Said        string `json:"message"`
}

func newPasswordChangedBody(s core.PasswordSet) any {
	return passwordBody{Success: true, HadPassword: s.HadPassword, Said: "Password changed successfully"}
}

func newPasswordSetBody(s core.PasswordSet) any {
	return passwordBody{Success: true, HadPassword: s.HadPassword, Said: "Password set successfully"}
}

type sendOTPRequest struct {
	Channel string `json:"channel"`
}

func (r sendOTPRequest) input() core.SendPasswordCodeInput { return core.SendPasswordCodeInput(r) }

type sentOTPBody struct {
	TempToken   string `json:"tempToken"`
	MaskedValue string `json:"maskedValue"`
	ExpiresIn   int64  `json:"expiresIn"`
}

func newSentOTPBody(c core.PasswordCode) any {
	return sentOTPBody{TempToken: c.TempToken, MaskedValue: c.Hint, ExpiresIn: int64(c.ExpiresIn / time.Second)}
}

type changeWithOTPRequest struct {
	TempToken       string `json:"tempToken"`
	OTP             string `json:"otp"`
	NewPassword     string `json:"newPassword"`
	ConfirmPassword string `json:"confirmPassword"`
}

func (r changeWithOTPRequest) input() core.ChangePasswordByCodeInput {
	return core.ChangePasswordByCodeInput{
		TempToken: r.TempToken, OTP: r.OTP, NewPassword: core.NewPassword{New: r.NewPassword, Confirm: r.ConfirmPassword},
	}
}

type setPasswordRequest struct {
	NewPassword     string `json:"newPassword"`
	ConfirmPassword string `json:"confirmPassword"`
}

func (r setPasswordRequest) input() core.NewPassword {
	return core.NewPassword{New: r.NewPassword, Confirm: r.ConfirmPassword}
}

// ownerProofRequest shows that the owner asks, by one of the two.
type ownerProofRequest struct {
	Password string `json:"password"`
	OTP      string `json:"otp"`
}

func (r ownerProofRequest) input() core.OwnerProof { return core.OwnerProof(r) }
