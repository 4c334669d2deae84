package accountv1

import (
	"context"
	"strings"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type providerCore interface {
	LinkByToken(context.Context, account.Caller, core.LinkByTokenInput) (account.LinkedProvider, error)
	UnlinkByName(context.Context, account.Caller, core.UnlinkByNameInput) (core.Unlinked, error)
}

// providerRoutes are the outside accounts that open an account.
func providerRoutes(c providerCore) []endpoint.Route {
	return []endpoint.Route{
		// D26
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "linkOAuth", Method: "POST", Path: "/api/v1/account/link/oauth",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, linkOAuthRequest.input, c.LinkByToken, newLinkedOAuthBody,
			endpoint.Reclassified(account.ErrProviderConnected, account.Rejected, "Provider already linked"),
			endpoint.Reclassified(account.ErrEmailConflict, account.Rejected, account.ErrEmailConflict.Message)),
		// D27
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "unlinkOAuth", Method: "DELETE", Path: "/api/v1/account/link/oauth/:provider",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, unlinkOAuthRequest.input, c.UnlinkByName, newUnlinkedOAuthBody,
			endpoint.Reclassified(account.ErrNotFound, account.Rejected, "Provider is not linked")),
	}
}

type linkOAuthRequest struct {
	Provider string `json:"provider"`
	IDToken  string `json:"idToken"`
}

func (r linkOAuthRequest) input() core.LinkByTokenInput {
	return core.LinkByTokenInput{Provider: r.Provider, IDToken: r.IDToken}
}

type linkedBody struct {
	Linked  bool   `json:"linked"`
	Said    string `json:"message"`
	message string
}

// Message names what was linked.
func (b linkedBody) Message() string { return b.message }

func newLinkedOAuthBody(l account.LinkedProvider) any {
	message := strings.ToUpper(string(l.Provider)) + " linked successfully"
	return linkedBody{Linked: true, Said: message, message: message}
}

type unlinkOAuthRequest struct {
	Provider string `path:"provider"`
}

func (r unlinkOAuthRequest) input() core.UnlinkByNameInput {
	return core.UnlinkByNameInput{Provider: r.Provider}
}

type unlinkedBody struct {
	Unlinked bool   `json:"unlinked"`
	Said     string `json:"message"`
	message  string
}

// Message is shorter than what the data says.
func (b unlinkedBody) Message() string { return b.message }

func newUnlinkedOAuthBody(u core.Unlinked) any {
	message := strings.ToUpper(string(u.Provider)) + " unlinked"
	return unlinkedBody{Unlinked: true, Said: message + " successfully", message: message}
}
