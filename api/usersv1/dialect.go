// Package usersv1 speaks document B: raw JSON in camelCase under /v1. It maps wire to core and back, and decides nothing.
package usersv1

import (
	"net/http"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// Dialect takes access tokens only (contract X05) and answers bodies at fault with 400.
var Dialect = &endpoint.Dialect{
	Name:          "usersv1",
	Prefix:        "/v1",
	Success:       endpoint.Raw,
	Failure:       failure,
	FieldName:     endpoint.CamelCase,
	InvalidStatus: http.StatusBadRequest,
}

// names are the codes that document B has another word for.
var names = map[string]string{
	account.ErrInvalid.Code:           "invalid_request",
	account.ErrSubscriptionState.Code: "invalid_state",
	account.ErrInvalidPassword.Code:   "invalid_credentials",
}

func failure(r endpoint.Reply, e *account.Error) any {
	if name, ok := names[e.Code]; ok {
		renamed := *e
		renamed.Code = name
		e = &renamed
	}
	return endpoint.RawFailure(r, e)
}

// messageBody is the answer of operations that return nothing.
type messageBody struct {
	Message string `json:"message"`
}

// emptyRequest is the body of requests that need none.
type emptyRequest struct{}
