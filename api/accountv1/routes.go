package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations.
type Core interface {
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
}

// Routes is the table of document D.
func Routes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// D08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "canSetPassword", Method: "GET", Path: "/api/v1/account/password/can-set",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newCanSetPasswordBody),
	}
}

func (emptyRequest) none() core.None { return core.None{} }
