package usersv1

import (
	"github.com/google/uuid"

	"gatehouse/core"
)

type registerRequest struct {
	Username       string `json:"username"`
	Email          string `json:"email"`
	Password       string `json:"password"`
	MarketingOptIn bool   `json:"marketingOptIn"`
}

func (r registerRequest) input() core.RegisterInput {
	return core.RegisterInput{
		Username: r.Username, Email: r.Email, Password: r.Password, MarketingOptIn: r.MarketingOptIn,
	}
}

type registeredBody struct {
	UserID   uuid.UUID `json:"userId"`
	Username string    `json:"username"`
	Email    string    `json:"email"`
	Token    string    `json:"token"`
	Message  string    `json:"message"`
}

func newRegisteredBody(r core.Registered) any {
	return registeredBody{
		UserID: r.AccountID, Username: r.Username, Email: r.Email, Token: r.Token, Message: "Registration successful",
	}
}

type confirmEmailRequest struct {
	Token string `json:"token"`
}

func (r confirmEmailRequest) input() core.ConfirmEmailInput {
	return core.ConfirmEmailInput{Token: r.Token}
}

func newConfirmedEmailBody(core.None) any { return messageBody{Message: "Email confirmed"} }
