package authv1

import (
	"gatehouse/core"
)

type changePasswordRequest struct {
	CurrentPassword string `json:"current_password"`
	NewPassword     string `json:"new_password"`
}

func (r changePasswordRequest) input() core.ChangePasswordInput {
	return core.ChangePasswordInput{Current: r.CurrentPassword, New: r.NewPassword, LetterAndNumber: true}
}

func newChangedPasswordBody(core.None) any {
	return statusBody{Status: "ok", Message: "Password changed successfully"}
}

type addPasswordRequest struct {
	Password string `json:"password"`
}

func (r addPasswordRequest) input() core.AddPasswordInput { return core.AddPasswordInput(r) }

// messageBody is the answer of documents that show nothing but a message.
type messageBody struct {
	Message string `json:"message"`
}

func newAddedPasswordBody(core.None) any { return messageBody{Message: "Password added successfully"} }

type forgotPasswordRequest struct {
	Email string `json:"email"`
}

func (r forgotPasswordRequest) input() core.ForgotPasswordInput { return core.ForgotPasswordInput(r) }

func newForgotPasswordBody(core.None) any {
	return messageBody{Message: "If an account exists for this email, a password reset link has been sent"}
}

type resetPasswordRequest struct {
	Token       string `json:"token"`
	NewPassword string `json:"new_password"`
}

func (r resetPasswordRequest) input() core.ResetPasswordInput {
	return core.ResetPasswordInput{Token: r.Token, New: r.NewPassword}
}

func newResetPasswordBody(core.None) any { return messageBody{Message: "Password reset successfully"} }
