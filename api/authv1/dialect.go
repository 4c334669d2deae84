// Package authv1 speaks documents A and C: raw JSON in snake_case under /api/v1/auth. It maps wire to core and back, and
// decides nothing.
package authv1

import "gatehouse/api/endpoint"

// Dialect takes access tokens and API keys (contract X05).
var Dialect = &endpoint.Dialect{
	Name:      "authv1",
	Prefix:    "/api/v1/auth",
	Success:   endpoint.Raw,
	Failure:   endpoint.RawFailure,
	FieldName: endpoint.SnakeCase,
	AllowKeys: true,
}

// statusBody is the answer of documents that show nothing but {"status":"ok"} (contract X22).
type statusBody struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// emptyRequest is the body of requests that need none.
type emptyRequest struct{}
