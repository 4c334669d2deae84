package authv1

import (
	"github.com/google/uuid"

	"gatehouse/core"
)

type loginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

func (r loginRequest) input() core.LoginInput {
	return core.LoginInput{Identifier: r.Email, IdentifierField: "email", Password: r.Password}
}

type loginBody struct {
	ID            uuid.UUID `json:"id"`
	Email         *string   `json:"email"`
	Name          *string   `json:"name"`
	EmailVerified bool      `json:"email_verified"`
	IsAdmin       bool      `json:"is_admin"`
	SessionToken  string    `json:"session_token"`
}

func newLoginBody(s core.SignIn) any { return loginBodyOf(s) }

func loginBodyOf(s core.SignIn) loginBody {
	a := s.Principal.Account
	return loginBody{
		ID: a.ID, Email: a.Email, Name: a.Profile.FullName, EmailVerified: a.EmailVerified, IsAdmin: a.Admin(),
		SessionToken: s.AccessToken,
	}
}
