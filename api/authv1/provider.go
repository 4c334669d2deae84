package authv1

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type providerCore interface {
	LinkedAccounts(context.Context, account.Caller, core.None) (core.LinkedAccounts, error)
	ConnectProvider(context.Context, account.Caller, core.ConnectProviderInput) (account.LinkedProvider, error)
	DisconnectProvider(context.Context, account.Caller, core.DisconnectProviderInput) (core.RemainingMethods, error)
	InitiateLink(context.Context, account.Caller, core.InitiateLinkInput) (core.LinkStarted, error)
	CompleteLink(context.Context, account.Caller, core.CompleteLinkInput) (core.LinkCompleted, error)
	ProviderSignIn(context.Context, account.Caller, core.ProviderSignInInput) (core.SignIn, error)
}

// providerRoutes are the outside accounts that open an account.
func providerRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// A07
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listAccountProviders", Method: "GET", Path: "/api/v1/auth/account-providers",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.LinkedAccounts, newAccountProvidersBody),
		// A06
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "connectAccountProvider", Method: "POST", Path: "/api/v1/auth/account-providers",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, connectProviderRequest.input, c.ConnectProvider, newAccountProviderBody, invalidFields),
		// A08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "disconnectAccountProvider", Method: "DELETE", Path: "/api/v1/auth/account-providers/:provider",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, disconnectProviderRequest.input, c.DisconnectProvider, newDisconnectedBody,
			endpoint.Reworded(account.ErrNotFound, "Provider not connected")),
		// C10
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "linkAccountCallback", Method: "POST", Path: "/api/v1/auth/linked-accounts/callback", Service: true,
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, completeLinkRequest.input, c.CompleteLink, newLinkCompletedBody),
		// C11
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "completeAccountLink", Method: "POST", Path: "/api/v1/auth/linked-accounts/complete", Service: true,
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, completeLinkRequest.input, c.CompleteLink, newLinkCompletedBody),
		// C12
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "initiateAccountLink", Method: "POST", Path: "/api/v1/auth/linked-accounts/initiate",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, initiateLinkRequest.input, c.InitiateLink, newLinkStartedBody),
		// C17
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "oauthSignin", Method: "POST", Path: "/api/v1/auth/oauth-signin", Service: true,
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitLogin,
		}, oauthSigninRequest.input, c.ProviderSignIn, newLoginBody),
		// C13
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "unlinkAccount", Method: "DELETE", Path: "/api/v1/auth/linked-accounts/:provider",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, disconnectProviderRequest.input, c.DisconnectProvider, newUnlinkedBody,
			endpoint.Reworded(account.ErrNotFound, "Provider not connected")),
		// C09
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getLinkedAccounts", Method: "GET", Path: "/api/v1/auth/linked-accounts",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.LinkedAccounts, newLinkedAccountsBody),
	}
}

// accountProviderBody is a link as document A shows it. The provider's tokens are in no answer.
type accountProviderBody struct {
	Provider          string  `json:"provider"`
	ProviderAccountID string  `json:"provider_account_id"`
	Type              string  `json:"type"`
	Scope             *string `json:"scope"`
	ExpiresAt         *int64  `json:"expires_at"`
	CreatedAt         string  `json:"created_at"`
}

func accountProviderBodyOf(l account.LinkedProvider) accountProviderBody {
	return accountProviderBody{
		Provider: string(l.Provider), ProviderAccountID: l.Subject, Type: l.Type, Scope: l.Scope,
		ExpiresAt: unixOrNil(l.TokenExpiresAt), CreatedAt: endpoint.Stamp(l.CreatedAt),
	}
}

func unixOrNil(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}

func newAccountProvidersBody(l core.LinkedAccounts) any {
	body := make([]accountProviderBody, len(l.Linked))
	for i, one := range l.Linked {
		body[i] = accountProviderBodyOf(one)
	}
	return body
}

type linkedAccountsBody struct {
	Accounts      []linkedAccountBody `json:"accounts"`
	PrimaryMethod string              `json:"primary_method"`
	HasPassword   bool                `json:"has_password"`
}

type linkedAccountBody struct {
	Provider      string  `json:"provider"`
	ProviderEmail *string `json:"provider_email"`
	DisplayName   *string `json:"display_name"`
	AvatarURL     *string `json:"avatar_url"`
	LinkedAt      string  `json:"linked_at"`
}

func newLinkedAccountsBody(l core.LinkedAccounts) any {
	body := linkedAccountsBody{
		Accounts: make([]linkedAccountBody, len(l.Linked)), PrimaryMethod: l.PrimaryMethod, HasPassword: l.HasPassword,
	}
	for i, one := range l.Linked {
		body.Accounts[i] = linkedAccountBody{
			Provider: string(one.Provider), ProviderEmail: one.Email, DisplayName: one.DisplayName, AvatarURL: one.AvatarURL,
			LinkedAt: endpoint.Stamp(one.CreatedAt),
		}
	}
	return body
}

type connectProviderRequest struct {
	Provider          string  `json:"provider"`
	ProviderAccountID string  `json:"provider_account_id"`
	Type              string  `json:"type"`
	AccessToken       string  `json:"access_token"`
	RefreshToken      string  `json:"refresh_token"`
	ExpiresAt         *int64  `json:"expires_at"`
	Scope             *string `json:"scope"`
}

func (r connectProviderRequest) input() core.ConnectProviderInput {
	return core.ConnectProviderInput{
		Provider: r.Provider, Subject: r.ProviderAccountID, Type: r.Type, AccessToken: r.AccessToken, ExpiresAt: r.ExpiresAt,
		Scope: r.Scope,
	}
}

func newAccountProviderBody(l account.LinkedProvider) any { return accountProviderBodyOf(l) }

type disconnectProviderRequest struct {
	Provider string `path:"provider"`
}

func (r disconnectProviderRequest) input() core.DisconnectProviderInput {
	return core.DisconnectProviderInput{Provider: r.Provider}
}

type disconnectedBody struct {
	Message string `json:"message"`
}

func newDisconnectedBody(core.RemainingMethods) any {
	return disconnectedBody{Message: "Provider disconnected"}
}

type unlinkedBody struct {
	Message          string `json:"message"`
	RemainingMethods int    `json:"remaining_methods"`
}

func newUnlinkedBody(r core.RemainingMethods) any {
	return unlinkedBody{Message: "Account unlinked", RemainingMethods: r.Count}
}

type initiateLinkRequest struct {
	Provider string `json:"provider"`
}

func (r initiateLinkRequest) input() core.InitiateLinkInput {
	return core.InitiateLinkInput{Provider: r.Provider}
}

type linkStartedBody struct {
	AuthURL string `json:"auth_url"`
	State   string `json:"state"`
}

func newLinkStartedBody(l core.LinkStarted) any {
	return linkStartedBody{AuthURL: l.AuthURL, State: l.State}
}

type completeLinkRequest struct {
	State             string  `json:"state"`
	Provider          string  `json:"provider"`
	ProviderAccountID string  `json:"provider_account_id"`
	ProviderEmail     *string `json:"provider_email"`
	DisplayName       *string `json:"display_name"`
	AvatarURL         *string `json:"avatar_url"`
}

func (r completeLinkRequest) input() core.CompleteLinkInput {
	return core.CompleteLinkInput{
		State: r.State, Provider: r.Provider, Subject: r.ProviderAccountID, Email: r.ProviderEmail, DisplayName: r.DisplayName,
		AvatarURL: r.AvatarURL,
	}
}

type linkCompletedBody struct {
	Status   string `json:"status"`
	Provider string `json:"provider"`
}

func newLinkCompletedBody(l core.LinkCompleted) any {
	return linkCompletedBody{Status: "ok", Provider: string(l.Provider)}
}

type oauthSigninRequest struct {
	Email             string           `json:"email"`
	EmailVerified     *bool            `json:"email_verified"`
	Name              *string          `json:"name"`
	Provider          string           `json:"provider"`
	ProviderAccountID string           `json:"provider_account_id"`
	AvatarURL         *string          `json:"avatar_url"`
	DeviceFingerprint endpoint.Object  `json:"device_fingerprint"`
	Attribution       endpoint.Strings `json:"attribution"`
	AnonymousID       *string          `json:"anonymous_id"`

	DeviceID    string `header:"X-Device-Id"`
	DeviceToken string `header:"X-Device-Token"`
}

func (r oauthSigninRequest) input() core.ProviderSignInInput {
	return core.ProviderSignInInput{
		Email: r.Email, EmailVerified: r.EmailVerified, Name: r.Name, Provider: r.Provider, Subject: r.ProviderAccountID,
		AvatarURL: r.AvatarURL, Fingerprint: r.DeviceFingerprint, Attribution: r.Attribution, AnonymousID: r.AnonymousID,
		Device: core.ShownDevice{ID: r.DeviceID, Token: r.DeviceToken},
	}
}
