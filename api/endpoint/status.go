package endpoint

import (
	"net/http"

	"gatehouse/account"
)

// Status is the one mapping of kinds to HTTP statuses. Only Invalid differs between dialects.
func (d *Dialect) Status(kind account.Kind) int {
	switch kind {
	case account.Accepted:
		return http.StatusAccepted
	case account.Malformed, account.Rejected:
		return http.StatusBadRequest
	case account.Invalid:
		if d.InvalidStatus != 0 {
			return d.InvalidStatus
		}
		return http.StatusUnprocessableEntity
	case account.Unauthenticated:
		return http.StatusUnauthorized
	case account.Forbidden:
		return http.StatusForbidden
	case account.NotFound:
		return http.StatusNotFound
	case account.NotAllowed:
		return http.StatusMethodNotAllowed
	case account.Conflict:
		return http.StatusConflict
	case account.TooLarge:
		return http.StatusRequestEntityTooLarge
	case account.Unsupported:
		return http.StatusUnsupportedMediaType
	case account.TooMany:
		return http.StatusTooManyRequests
	case account.Unavailable:
		return http.StatusServiceUnavailable
	case account.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}
