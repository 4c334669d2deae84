package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type emailCore interface {
	UnlinkEmail(context.Context, account.Caller, core.None) (core.None, error)
}

// emailRoutes link an address to an account and take it away.
func emailRoutes(c emailCore) []endpoint.Route {
	return []endpoint.Route{
		// D25
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "unlinkEmail", Method: "DELETE", Path: "/api/v1/account/link/email",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, emptyRequest.none, c.UnlinkEmail, newUnlinkedEmailBody,
			endpoint.Reclassified(account.ErrNotFound, account.Rejected, "No email is linked")),
	}
}

func newUnlinkedEmailBody(core.None) any {
	return unlinkedBody{Unlinked: true, Said: "Email unlinked successfully", message: "Email unlinked"}
}
