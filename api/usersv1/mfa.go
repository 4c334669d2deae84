package usersv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type mfaCore interface {
	SetupMFA(context.Context, account.Caller, core.None) (core.MFASetup, error)
	VerifyMFA(context.Context, account.Caller, core.VerifyMFAInput) (core.MFAVerified, error)
}

func mfaRoutes(c mfaCore) []endpoint.Route {
	return []endpoint.Route{
		// B10
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "setupMfa", Method: "POST", Path: "/v1/auth/mfa/setup",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, emptyRequest.none, c.SetupMFA, newMFASetupBody,
			endpoint.Reclassified(account.ErrTwoFactorEnabled, account.Forbidden,
				"An authenticator app is in use. Turn two-factor authentication off first.")),
		// B11
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyMfa", Method: "POST", Path: "/v1/auth/mfa/verify",
			Policy: endpoint.SecondStep, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, verifyMFARequest.input, c.VerifyMFA, newMFAVerifiedBody),
	}
}

type mfaSetupBody struct {
	SecretKey   string   `json:"secretKey"`
	QRCodeURL   string   `json:"qrCodeUrl"`
	BackupCodes []string `json:"backupCodes"`
}

func newMFASetupBody(s core.MFASetup) any {
	return mfaSetupBody{SecretKey: s.Secret, QRCodeURL: s.URL, BackupCodes: s.BackupCodes}
}

type verifyMFARequest struct {
	Code           string `json:"code"`
	RememberDevice bool   `json:"rememberDevice"`
}

func (r verifyMFARequest) input() core.VerifyMFAInput {
	return core.VerifyMFAInput{Code: r.Code, RememberDevice: r.RememberDevice}
}

type mfaVerifiedBody struct {
	IsValid     bool    `json:"isValid"`
	DeviceToken *string `json:"deviceToken"`
	ExpiresAt   *string `json:"expiresAt"`
}

func newMFAVerifiedBody(v core.MFAVerified) any {
	body := mfaVerifiedBody{IsValid: v.Valid, ExpiresAt: endpoint.StampOrNil(v.ExpiresAt)}
	if v.DeviceToken != "" {
		body.DeviceToken = &v.DeviceToken
	}
	return body
}
