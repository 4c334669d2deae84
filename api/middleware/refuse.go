package middleware

import (
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// Refuse renders what no endpoint rendered, in the dialect of the path: unknown paths, wrong methods, bodies and headers
// that are too large, requests that are no HTTP, panics. OPTIONS of a known path is answered with what is allowed.
func Refuse(dialectOf func(path string) *endpoint.Dialect) fiber.ErrorHandler {
	return func(c *fiber.Ctx, err error) error {
		d := dialectOf(c.Path())
		escaped, ok := errors.AsType[*fiber.Error](err)
		if !ok {
			return endpoint.Fail(c, d, err)
		}
		switch escaped.Code {
		case http.StatusNotFound:
			return endpoint.Fail(c, d, account.ErrNotFound)
		case http.StatusMethodNotAllowed:
			c.Append(fiber.HeaderAllow, http.MethodOptions)
			if c.Method() == http.MethodOptions {
				return c.SendStatus(http.StatusNoContent)
			}
			return endpoint.Fail(c, d, account.ErrMethodNotAllowed)
		case http.StatusRequestEntityTooLarge:
			return endpoint.Fail(c, d, account.ErrTooLarge)
		case http.StatusRequestHeaderFieldsTooLarge:
			return endpoint.FailWith(c, d, escaped.Code, account.ErrTooLarge.Saying("The request's headers are too large."))
		case http.StatusRequestTimeout:
			return endpoint.FailWith(c, d, escaped.Code, account.ErrMalformed.Saying("The request took too long to arrive."))
		default:
			if escaped.Code >= http.StatusInternalServerError {
				return endpoint.Fail(c, d, account.ErrInternal.Because(err))
			}
			return endpoint.Fail(c, d, account.ErrMalformed.Saying("The request could not be read."))
		}
	}
}
