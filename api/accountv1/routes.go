package accountv1

import (
	"context"
	"slices"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations, noun by noun.
type Core interface {
	passwordCore
	emailCore
	providerCore
	securityCore
	mfaCore
	usernameCore
	deactivationCore
}

type passwordCore interface {
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
}

// Routes is the table of document D.
func Routes(c Core) []endpoint.Route {
	return slices.Concat(
		passwordRoutes(c),
		emailRoutes(c),
		providerRoutes(c),
		securityRoutes(c),
		mfaRoutes(c),
		usernameRoutes(c),
		deactivationRoutes(c),
	)
}

func passwordRoutes(c passwordCore) []endpoint.Route {
	return []endpoint.Route{
		// D08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "canSetPassword", Method: "GET", Path: "/api/v1/account/password/can-set",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newCanSetPasswordBody),
	}
}

func (emptyRequest) none() core.None { return core.None{} }
