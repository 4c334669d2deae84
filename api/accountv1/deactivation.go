package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type deactivationCore interface {
	Deactivate(context.Context, account.Caller, core.DeactivateInput) (core.None, error)
}

func deactivationRoutes(c deactivationCore) []endpoint.Route {
	return []endpoint.Route{
		// D04
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "deactivate", Method: "DELETE", Path: "/api/v1/account/deactivate", Message: "Account deactivated successfully",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, deactivateRequest.input, c.Deactivate, nothing, wrongPassword),
	}
}

type deactivateRequest struct {
	Password string `json:"password"`
	Reason   string `json:"reason"`
}

func (r deactivateRequest) input() core.DeactivateInput {
	return core.DeactivateInput{Password: r.Password, Reason: r.Reason}
}

// nothing is the data of answers that have none.
func nothing(core.None) any { return nil }
