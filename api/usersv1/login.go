package usersv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type authenticateRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`

	DeviceID    string `header:"X-Device-Id"`
	DeviceToken string `header:"X-Device-Token"`
}

func (r authenticateRequest) input() core.LoginInput {
	return core.LoginInput{
		Identifier: r.Username, Usernames: true, IdentifierField: "username", Password: r.Password, WithRefresh: true,
		Device: core.ShownDevice{ID: r.DeviceID, Token: r.DeviceToken},
	}
}

type authenticatedBody struct {
	UserID       uuid.UUID `json:"userId"`
	Username     string    `json:"username"`
	Email        *string   `json:"email"`
	Token        string    `json:"token"`
	AccessToken  string    `json:"accessToken"`
	RefreshToken string    `json:"refreshToken"`
	Expires      string    `json:"expires"`
	ExpiresAt    string    `json:"expiresAt"`
	Roles        []string  `json:"roles"`
	Subscription planBody  `json:"subscription"`
	// Both are there only while a second step is due (contract X13).
	MFARequired   bool   `json:"mfaRequired,omitzero"`
	StepToken     string `json:"deviceVerificationToken,omitzero"`
	refreshCookie `json:"-"`
}

type planBody struct {
	Plan   string `json:"plan"`
	Status string `json:"status"`
}

func newAuthenticatedBody(s core.SignIn) any {
	a := s.Principal.Account
	expires := endpoint.Stamp(s.ExpiresAt)
	return authenticatedBody{
		UserID: a.ID, Username: a.DisplayUsername(), Email: a.Email,
		Token: s.AccessToken, AccessToken: s.AccessToken, RefreshToken: s.RefreshToken,
		Expires: expires, ExpiresAt: expires, Roles: s.Principal.Roles(), Subscription: newPlanBody(s.Principal.Subscription),
		refreshCookie: newRefreshCookie(s),
		MFARequired:   s.SecondStep != account.StepNone, StepToken: s.StepToken,
	}
}

func newPlanBody(s account.Entitlement) planBody {
	return planBody{Plan: s.Plan.Code, Status: s.Status}
}
