package usersv1

import (
	"context"
	"slices"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations.
type Core interface {
	mfaCore
	sessionCore
	passwordCore
	settingsCore
	subscriptionCore
	pushCore
	googleCore
	Login(context.Context, account.Caller, core.LoginInput) (core.SignIn, error)
	Register(context.Context, account.Caller, core.RegisterInput) (core.Registered, error)
	Logout(context.Context, account.Caller, core.None) (core.None, error)
	ConfirmEmail(context.Context, account.Caller, core.ConfirmEmailInput) (core.None, error)
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
	Operation(context.Context, account.Caller, core.OperationInput) (core.Operation, error)
}

// Routes is the table of document B, and of the operations that every dialect's 202 points to (design D16).
func Routes(c Core) []endpoint.Route {
	return slices.Concat(accountRoutes(c), mfaRoutes(c), sessionRoutes(c), passwordRoutes(c), settingsRoutes(c), subscriptionRoutes(c),
		pushRoutes(c), googleRoutes(c))
}

func accountRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// B01
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "authenticate", Method: "POST", Path: "/v1/users/authenticate",
			Policy: endpoint.Public, Limit: account.LimitLogin,
		}, authenticateRequest.input, c.Login, newAuthenticatedBody,
			endpoint.Reworded(account.ErrInvalidCredentials, "Invalid username or password")),
		// B02
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "register", Method: "POST", Path: "/v1/users/register",
			Policy: endpoint.Public, Limit: account.LimitSignup, Idempotent: true,
		}, registerRequest.input, c.Register, newRegisteredBody),
		// B04
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "logout", Method: "POST", Path: "/v1/users/logout",
			Policy: endpoint.SecondStep, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, emptyRequest.none, c.Logout, newLoggedOutBody),
		// B08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "confirmEmail", Method: "PUT", Path: "/v1/users/confirm-email",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, confirmEmailRequest.input, c.ConfirmEmail, newConfirmedEmailBody),
		// B12
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getDetails", Method: "GET", Path: "/v1/users/details",
			Policy: endpoint.Session, Scope: account.ScopeRead, Wallet: true, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newDetailsBody),
		// design D16: what belongs to an account is its owner's to see, of the rest the unguessable id is the permission.
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getOperation", Method: "GET", Path: "/v1/operations/:id",
			Policy: endpoint.OptionalStep, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, operationRequest.input, c.Operation, newOperationBody),
	}
}

func (emptyRequest) none() core.None { return core.None{} }
