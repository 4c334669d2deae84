// Package usersv1 speaks document B: raw JSON in camelCase under /v1. It maps wire to core and back, and decides nothing.
package usersv1

import (
	"net/http"

	"gatehouse/api/endpoint"
)

// Dialect takes access tokens only (contract X05) and answers bodies at fault with 400.
var Dialect = &endpoint.Dialect{
	Name:          "usersv1",
	Prefix:        "/v1",
	Success:       endpoint.Raw,
	Failure:       endpoint.RawFailure,
	FieldName:     endpoint.CamelCase,
	InvalidStatus: http.StatusBadRequest,
}

// messageBody is the answer of operations that return nothing.
type messageBody struct {
	Message string `json:"message"`
}

// emptyRequest is the body of requests that need none.
type emptyRequest struct{}
