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

// failure renders what document B calls invalid_request and the others validation_error.
func failure(r endpoint.Reply, e *account.Error) any {
	if e.Code == account.ErrInvalid.Code {
		renamed := *e
		renamed.Code = "invalid_request"
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
