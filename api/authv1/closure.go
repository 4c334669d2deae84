package authv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type closureCore interface {
	CloseAccount(context.Context, account.Caller, core.CloseAccountInput) (core.None, error)
	UndoClosure(context.Context, account.Caller, core.UndoClosureInput) (core.None, error)
}

// closureRoutes end an account, and bring it back.
func closureRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// C01
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "closeAccount", Method: "DELETE", Path: "/api/v1/auth/account",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, closeAccountRequest.input, c.CloseAccount, newOKBody,
			endpoint.Reclassified(account.ErrInvalidPassword, account.Forbidden, "Password is incorrect")),
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "undoClosure", Method: "POST", Path: "/api/v1/auth/account/undo-closure",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, undoClosureRequest.input, c.UndoClosure, newReopenedBody,
			endpoint.Reclassified(account.ErrUsernameTaken, account.Conflict, "Username not available")),
	}
}

type closeAccountRequest struct {
	Password string `json:"password"`
	Confirm  bool   `json:"confirm"`
}

func (r closeAccountRequest) input() core.CloseAccountInput {
	return core.CloseAccountInput{Password: r.Password, Confirm: r.Confirm}
}

type undoClosureRequest struct {
	Token string `json:"token"`
}

func (r undoClosureRequest) input() core.UndoClosureInput {
	return core.UndoClosureInput{Token: r.Token}
}

func newReopenedBody(core.None) any {
	return statusBody{Status: "ok", Message: "Your account is open again. Please sign in."}
}
