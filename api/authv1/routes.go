package authv1

import (
	"context"
	"slices"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations.
type Core interface {
	InitiateSignup(context.Context, account.Caller, core.InitiateSignupInput) (core.SignupPending, error)
	CompleteSignup(context.Context, account.Caller, core.CompleteSignupInput) (core.SignIn, error)
	ResendCode(context.Context, account.Caller, core.ResendCodeInput) (core.None, error)
	VerifyCode(context.Context, account.Caller, core.VerifyCodeInput) (core.CodeVerified, error)
	Login(context.Context, account.Caller, core.LoginInput) (core.SignIn, error)
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
	LinkedAccounts(context.Context, account.Caller, core.None) (core.LinkedAccounts, error)
}

// Routes is the table of documents A and C.
func Routes(c Core) []endpoint.Route {
	return slices.Concat(accountRoutes(c), providerRoutes(c))
}

func accountRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// A01, C16
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getMe", Method: "GET", Path: "/api/v1/auth/me",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newMeBody),
		// C06
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "completeSignup", Method: "POST", Path: "/api/v1/auth/complete-signup",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, completeSignupRequest.input, c.CompleteSignup, newCompletedSignupBody),
		// C08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "initiateSignup", Method: "POST", Path: "/api/v1/auth/initiate-signup",
			Policy: endpoint.Public, Limit: account.LimitSignup, Idempotent: true,
		}, initiateSignupRequest.input, c.InitiateSignup, newInitiatedSignupBody),
		// C14
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "login", Method: "POST", Path: "/api/v1/auth/login",
			Policy: endpoint.Public, Limit: account.LimitLogin,
		}, loginRequest.input, c.Login, newLoginBody),
		// C23
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "sendVerificationCode", Method: "POST", Path: "/api/v1/auth/send-verification-code",
			Policy: endpoint.Public, Limit: account.LimitSend, Idempotent: true,
		}, resendCodeRequest.input, c.ResendCode, newResentCodeBody),
		// C29
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signup", Method: "POST", Path: "/api/v1/auth/signup",
			Policy: endpoint.Public, Limit: account.LimitSignup, Idempotent: true,
		}, signupRequest.input, signupAlias(c), newSignupBody),
		// C31
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyCode", Method: "POST", Path: "/api/v1/auth/verify-code",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, verifyCodeRequest.input, c.VerifyCode, newVerifiedCodeBody,
			endpoint.Extended(account.ErrInvalidCode, newRefusedCodeBody)),
	}
}

func (emptyRequest) none() core.None { return core.None{} }
