package usersv1

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// refreshName is the header and the cookie of a refresh token.
const refreshName = "sk-refresh-token"

type sessionCore interface {
	Refresh(context.Context, account.Caller, core.RefreshInput) (core.SignIn, error)
}

func sessionRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// B03
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "refreshToken", Method: "POST", Path: "/v1/users/refresh-token",
			Policy: endpoint.Public, Limit: account.LimitWrite,
		}, refreshRequest.input, c.Refresh, newRefreshedBody,
			endpoint.Reclassified(account.ErrInvalidToken, account.Unauthenticated, "Invalid or expired refresh token")),
	}
}

type refreshRequest struct {
	Token  string `header:"sk-refresh-token"` //nolint:tagliatelle // as document B writes it
	Cookie string `cookie:"sk-refresh-token"`
}

func (r refreshRequest) input() core.RefreshInput { return core.RefreshInput(r) }

type refreshedBody struct {
	Token         string `json:"token"`
	AccessToken   string `json:"accessToken"`
	RefreshToken  string `json:"refreshToken"`
	Expires       string `json:"expires"`
	ExpiresAt     string `json:"expiresAt"`
	refreshCookie `json:"-"`
}

func newRefreshedBody(s core.SignIn) any {
	expires := endpoint.Stamp(s.ExpiresAt)
	return refreshedBody{
		Token: s.AccessToken, AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, Expires: expires, ExpiresAt: expires,
		refreshCookie: newRefreshCookie(s),
	}
}

// refreshCookie keeps the refresh token of a page out of the page's reach.
type refreshCookie struct {
	token   string
	expires time.Time
}

func newRefreshCookie(s core.SignIn) refreshCookie {
	return refreshCookie{token: s.RefreshToken, expires: s.Principal.Session.ExpiresAt}
}

// Cookie is the refresh token for as long as its session lives.
func (c refreshCookie) Cookie() endpoint.Cookie {
	return endpoint.Cookie{Name: refreshName, Value: c.token, Expires: c.expires}
}

// loggedOutBody takes the refresh token away with the session.
type loggedOutBody struct {
	messageBody
	refreshCookie `json:"-"`
}

func newLoggedOutBody(core.None) any {
	return loggedOutBody{messageBody: messageBody{Message: "Logged out"}}
}
