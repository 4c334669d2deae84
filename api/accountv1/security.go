package accountv1

import (
	"context"
	"strings"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type securityCore interface {
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
}

func securityRoutes(c securityCore) []endpoint.Route {
	return []endpoint.Route{
		// D01
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getSecurityInfo", Method: "GET", Path: "/api/v1/account/security-info",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
			Message: "Security information retrieved successfully",
		}, emptyRequest.none, c.Me, newSecurityBody),
	}
}

type securityBody struct {
	EmailVerified    bool         `json:"isEmailVerified"`
	PhoneVerified    bool         `json:"isPhoneVerified"`
	TwoFactorEnabled bool         `json:"isTwoFactorEnabled"`
	AccountLocked    bool         `json:"isAccountLocked"`
	LastChange       string       `json:"lastPasswordChange"`
	CreatedAt        string       `json:"accountCreatedAt"`
	Roles            []string     `json:"roles"`
	Strength         strengthBody `json:"securityStrength"`
}

type strengthBody struct {
	Score           int                   `json:"score"`
	Level           account.SecurityLevel `json:"level"`
	Description     string                `json:"description"`
	Recommendations []string              `json:"recommendations"`
}

// newSecurityBody calls the last edit of the account the last change of its password, as the document defines it
// (contract X20).
func newSecurityBody(p account.Principal) any {
	a, strength := p.Account, p.Account.Strength()
	body := securityBody{
		EmailVerified: a.EmailVerified, PhoneVerified: a.PhoneVerified, TwoFactorEnabled: a.TwoFactor,
		AccountLocked: a.Locked || !a.Active, LastChange: a.UpdatedAt.UTC().Format(timeLayout),
		CreatedAt: a.CreatedAt.UTC().Format(timeLayout), Roles: make([]string, len(p.Roles())),
		Strength: strengthBody{
			Score: strength.Score, Level: strength.Level, Description: strength.Description,
			Recommendations: strength.Recommendations,
		},
	}
	for i, role := range p.Roles() {
		body.Roles[i] = "ROLE_" + strings.ToUpper(role)
	}
	return body
}
