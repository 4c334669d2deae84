package authv1

import (
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// phoneRoutes bind a number, and so a sign-in method: an API key needs account:security.
func phoneRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// A03
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "sendPhoneVerification", Method: "POST", Path: "/api/v1/auth/send-phone-verification",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitSend, Idempotent: true,
		}, sendPhoneCodeRequest.input, c.SendPhoneCode, newSentPhoneCodeBody),
		// A04
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyPhone", Method: "POST", Path: "/api/v1/auth/verify-phone",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, verifyPhoneRequest.input, c.VerifyPhone, newVerifiedPhoneBody,
			endpoint.Extended(account.ErrInvalidOTP, newRefusedPhoneBody)),
	}
}

type sendPhoneCodeRequest struct {
	PhoneNumber string  `json:"phone_number"`
	CountryCode *string `json:"country_code"`
}

func (r sendPhoneCodeRequest) input() core.SendPhoneCodeInput {
	return core.SendPhoneCodeInput{PhoneNumber: r.PhoneNumber, CountryCode: r.CountryCode}
}

type sentPhoneCodeBody struct {
	Message          string `json:"message"`
	ExpiresInMinutes int    `json:"expires_in_minutes"`
}

func newSentPhoneCodeBody(p core.PhonePending) any {
	return sentPhoneCodeBody{
		Message: "Verification code sent successfully", ExpiresInMinutes: int((p.ExpiresIn + time.Minute - 1) / time.Minute),
	}
}

type verifyPhoneRequest struct {
	PhoneNumber string `json:"phone_number"`
	OTPCode     string `json:"otp_code"`
}

func (r verifyPhoneRequest) input() core.VerifyPhoneInput {
	return core.VerifyPhoneInput{PhoneNumber: r.PhoneNumber, Code: r.OTPCode}
}

type verifiedPhoneBody struct {
	Verified bool   `json:"verified"`
	Message  string `json:"message"`
}

func newVerifiedPhoneBody(core.None) any {
	return verifiedPhoneBody{Verified: true, Message: "Phone number verified successfully"}
}

// refusedPhoneBody is the failure of A04, which keeps the member of its success.
type refusedPhoneBody struct {
	endpoint.RawError
	Verified bool `json:"verified"`
}

func newRefusedPhoneBody(failure any) any {
	raw, _ := failure.(endpoint.RawError)
	return refusedPhoneBody{RawError: raw}
}
