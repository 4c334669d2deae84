package authv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/core"
)

type loginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`

	DeviceID    string `header:"X-Device-Id"`
	DeviceToken string `header:"X-Device-Token"`
}

func (r loginRequest) input() core.LoginInput {
	return core.LoginInput{
		Identifier: r.Email, IdentifierField: "email", Password: r.Password,
		Device: core.ShownDevice{ID: r.DeviceID, Token: r.DeviceToken},
	}
}

type loginBody struct {
	ID            uuid.UUID `json:"id"`
	Email         *string   `json:"email"`
	Name          *string   `json:"name"`
	EmailVerified bool      `json:"email_verified"`
	IsAdmin       bool      `json:"is_admin"`
	SessionToken  string    `json:"session_token"`
	// Both are there only while a second step is due (contract X13).
	MFARequired bool   `json:"mfa_required,omitzero"`
	StepToken   string `json:"device_verification_token,omitzero"`
}

func newLoginBody(s core.SignIn) any { return loginBodyOf(s) }

func loginBodyOf(s core.SignIn) loginBody {
	a := s.Principal.Account
	return loginBody{
		ID: a.ID, Email: a.Email, Name: a.Profile.FullName, EmailVerified: a.EmailVerified, IsAdmin: s.Principal.Admin(),
		SessionToken: s.AccessToken, MFARequired: s.SecondStep != account.StepNone, StepToken: s.StepToken,
	}
}
