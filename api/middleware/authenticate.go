package middleware

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Authenticator resolves what a request showed into who is calling.
type Authenticator interface {
	// Authenticate returns ErrUnauthorized or ErrAmbiguousCredentials when it cannot.
	Authenticate(ctx context.Context, shown core.Credential) (account.Principal, error)
}

// Authenticate judges the credential (401), then the session's state and the key's scope (403), as the route's policy
// says. Public routes judge nothing, Optional ones judge and refuse nobody.
func Authenticate(route endpoint.Route, who Authenticator) fiber.Handler {
	return func(c *fiber.Ctx) error {
		state := endpoint.StateOf(c)
		state.Pattern = route.Path
		if route.Policy == endpoint.Public {
			return c.Next()
		}
		optional := route.Policy.Optional()
		shown, err := credential(c, route.Dialect.AllowKeys || optional && route.Service)
		if err != nil {
			return refuse(c, route, err)
		}
		if optional && shown.Bearer == "" && shown.APIKey == "" {
			return c.Next()
		}
		shown.Wallet, shown.IP, shown.UserAgent = route.Wallet, state.Caller.IP, state.Caller.UserAgent
		principal, err := who.Authenticate(c.UserContext(), shown)
		if err != nil {
			return refuse(c, route, err)
		}
		state.Caller.Principal, state.Caller.KeyHeader = &principal, shown.Bearer == ""
		if err := admit(principal, route); err != nil {
			return refuse(c, route, err)
		}
		return c.Next()
	}
}

// refuse goes on without a credential where none is needed, unless nobody could judge it.
func refuse(c *fiber.Ctx, route endpoint.Route, err error) error {
	kind := account.AsError(err).Kind
	if !route.Policy.Optional() || kind != account.Unauthenticated && kind != account.Forbidden {
		return route.Fail(c, err)
	}
	endpoint.Report(c, err)
	endpoint.StateOf(c).Caller.Principal = nil
	return c.Next()
}

func admit(p account.Principal, route endpoint.Route) error {
	pending := p.Session != nil && p.Session.State == account.SessionPending
	switch {
	case pending && route.Policy != endpoint.SecondStep && route.Policy != endpoint.OptionalStep:
		return account.ErrSecondStepRequired
	case p.Service():
		if !route.Service {
			return account.ErrInsufficientScope
		}
	case p.APIKey != nil && !route.Dialect.AllowKeys:
		return account.ErrUnauthorized
	case !p.Can(route.Scope):
		return account.ErrInsufficientScope
	}
	return nil
}

// credential reads what the request shows. A header sent twice is two credentials: none of them wins silently
// (security.md JWT-11).
func credential(c *fiber.Ctx, allowKeys bool) (core.Credential, error) {
	authorization, err := single(c, fiber.HeaderAuthorization)
	if err != nil {
		return core.Credential{}, err
	}
	key, err := single(c, "X-API-Key")
	if err != nil {
		return core.Credential{}, err
	}
	shown := core.Credential{APIKey: key, AllowKeys: allowKeys}
	if authorization == "" {
		return shown, nil
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	shown.Bearer = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || shown.Bearer == "" {
		return core.Credential{}, account.ErrUnauthorized
	}
	return shown, nil
}

func single(c *fiber.Ctx, header string) (string, error) {
	values := c.Request().Header.PeekAll(header)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return strings.TrimSpace(string(values[0])), nil
	default:
		return "", account.ErrAmbiguousCredentials
	}
}
