package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type emailCore interface {
	LinkEmail(context.Context, account.Caller, core.LinkEmailInput) (core.EmailLinkStarted, error)
	VerifyEmailLink(context.Context, account.Caller, core.VerifyEmailLinkInput) (core.None, error)
	UnlinkEmail(context.Context, account.Caller, core.None) (core.None, error)
}

// emailRoutes link an address to an account and take it away.
func emailRoutes(c emailCore) []endpoint.Route {
	return []endpoint.Route{
		// D23
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "initiateEmailLink", Method: "POST", Path: "/api/v1/account/link/email/initiate", Message: "Verification code sent",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitSend, Idempotent: true,
		}, linkEmailRequest.input, c.LinkEmail, newEmailLinkStartedBody,
			endpoint.Reclassified(account.ErrEmailExists, account.Rejected, "Email already in use")),
		// D24
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyEmailLink", Method: "POST", Path: "/api/v1/account/link/email/verify",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, verifyEmailLinkRequest.input, c.VerifyEmailLink, newEmailLinkedBody, wrongOTP),
		// D25
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "unlinkEmail", Method: "DELETE", Path: "/api/v1/account/link/email",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, emptyRequest.none, c.UnlinkEmail, newUnlinkedEmailBody,
			endpoint.Reclassified(account.ErrNotFound, account.Rejected, "No email is linked")),
	}
}

type linkEmailRequest struct {
	Email string `json:"email"`
}

func (r linkEmailRequest) input() core.LinkEmailInput { return core.LinkEmailInput(r) }

type emailLinkStartedBody struct {
	TempToken   string `json:"tempToken"`
	MaskedValue string `json:"maskedValue"`
	ExpiresIn   int    `json:"expiresIn"`
	Linked      bool   `json:"linked"`
	Message     string `json:"message"`
}

func newEmailLinkStartedBody(l core.EmailLinkStarted) any {
	return emailLinkStartedBody{
		TempToken: l.TempToken, MaskedValue: l.Hint, ExpiresIn: int(l.ExpiresIn.Seconds()),
		Message: "Verification code sent to " + l.Hint,
	}
}

type verifyEmailLinkRequest struct {
	TempToken string `json:"tempToken"`
	OTP       string `json:"otp"`
}

func (r verifyEmailLinkRequest) input() core.VerifyEmailLinkInput {
	return core.VerifyEmailLinkInput(r)
}

func newEmailLinkedBody(core.None) any {
	const message = "Email linked successfully"
	return linkedBody{Linked: true, Said: message, message: message}
}

func newUnlinkedEmailBody(core.None) any {
	return unlinkedBody{Unlinked: true, Said: "Email unlinked successfully", message: "Email unlinked"}
}
