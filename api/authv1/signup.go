package authv1

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type initiateSignupRequest struct {
	Email             string           `json:"email"`
	Password          string           `json:"password"`
	Name              *string          `json:"name"`
	DeviceFingerprint endpoint.Object  `json:"device_fingerprint"`
	Attribution       endpoint.Strings `json:"attribution"`
}

func (r initiateSignupRequest) input() core.InitiateSignupInput {
	return core.InitiateSignupInput{
		Email: r.Email, Password: r.Password, Name: r.Name,
		Fingerprint: r.DeviceFingerprint, Attribution: r.Attribution,
	}
}

type initiatedSignupBody struct {
	Message          string `json:"message"`
	Email            string `json:"email"`
	ExpiresInMinutes int    `json:"expires_in_minutes"`
}

func newInitiatedSignupBody(p core.SignupPending) any {
	return initiatedSignupBody{
		Message: "Verification code sent", Email: p.Email,
		ExpiresInMinutes: int((p.ExpiresIn + time.Minute - 1) / time.Minute),
	}
}

// signupRequest is C29: C08 where email or password is given, else the documented request without parameters.
type signupRequest struct {
	Email             *string          `json:"email"`
	Password          *string          `json:"password"`
	Name              *string          `json:"name"`
	DeviceFingerprint endpoint.Object  `json:"device_fingerprint"`
	Attribution       endpoint.Strings `json:"attribution"`
}

// input is nil for the request that asks for nothing (contract X26).
func (r signupRequest) input() *core.InitiateSignupInput {
	if r.Email == nil && r.Password == nil {
		return nil
	}
	in := core.InitiateSignupInput{Name: r.Name, Fingerprint: r.DeviceFingerprint, Attribution: r.Attribution}
	if r.Email != nil {
		in.Email = *r.Email
	}
	if r.Password != nil {
		in.Password = *r.Password
	}
	return &in
}

func signupAlias(c Core) func(context.Context, account.Caller, *core.InitiateSignupInput) (*core.SignupPending, error) {
	return func(ctx context.Context, by account.Caller, in *core.InitiateSignupInput) (*core.SignupPending, error) {
		if in == nil {
			return nil, nil //nolint:nilnil // nothing asked for, nothing started
		}
		pending, err := c.InitiateSignup(ctx, by, *in)
		return &pending, err
	}
}

func newSignupBody(p *core.SignupPending) any {
	if p == nil {
		return statusBody{Status: "ok"}
	}
	return statusBody{Status: "ok", Message: "Verification code sent"}
}

type completeSignupRequest struct {
	Email             string           `json:"email"`
	Code              string           `json:"code"`
	DeviceFingerprint endpoint.Object  `json:"device_fingerprint"`
	Attribution       endpoint.Strings `json:"attribution"`
	AnonymousID       *string          `json:"anonymous_id"`
}

func (r completeSignupRequest) input() core.CompleteSignupInput {
	return core.CompleteSignupInput{
		Email: r.Email, Code: r.Code, Fingerprint: r.DeviceFingerprint, Attribution: r.Attribution,
		AnonymousID: r.AnonymousID,
	}
}

type completedSignupBody struct {
	Status string `json:"status"`
	loginBody
}

func newCompletedSignupBody(s core.SignIn) any {
	return completedSignupBody{Status: "ok", loginBody: loginBodyOf(s)}
}

type resendCodeRequest struct {
	Email string `json:"email"`
}

func (r resendCodeRequest) input() core.ResendCodeInput { return core.ResendCodeInput{Email: r.Email} }

func newResentCodeBody(core.None) any { return statusBody{Status: "ok"} }

type verifyCodeRequest struct {
	Email string `json:"email"`
	Code  string `json:"code"`
}

func (r verifyCodeRequest) input() core.VerifyCodeInput {
	return core.VerifyCodeInput{Email: r.Email, Code: r.Code}
}

type verifiedCodeBody struct {
	Success        bool   `json:"success"`
	Message        string `json:"message"`
	CreditsAwarded int64  `json:"credits_awarded"`
}

func newVerifiedCodeBody(v core.CodeVerified) any {
	return verifiedCodeBody{Success: true, Message: "Code verified", CreditsAwarded: v.CreditsAwarded}
}

// refusedCodeBody is the failure of C31, which keeps the members of its success.
type refusedCodeBody struct {
	endpoint.RawError
	Success        bool  `json:"success"`
	CreditsAwarded int64 `json:"credits_awarded"`
}

func newRefusedCodeBody(failure any) any {
	raw, _ := failure.(endpoint.RawError)
	return refusedCodeBody{RawError: raw}
}
