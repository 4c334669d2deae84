package authv1

import (
	"context"
	"net/http"
	"slices"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what this dialect asks of the operations.
type Core interface {
	providerCore
	closureCore
	eventCore
	InitiateSignup(context.Context, account.Caller, core.InitiateSignupInput) (core.SignupPending, error)
	CompleteSignup(context.Context, account.Caller, core.CompleteSignupInput) (core.SignIn, error)
	ResendCode(context.Context, account.Caller, core.ResendCodeInput) (core.None, error)
	VerifyCode(context.Context, account.Caller, core.VerifyCodeInput) (core.CodeVerified, error)
	Login(context.Context, account.Caller, core.LoginInput) (core.SignIn, error)
	Me(context.Context, account.Caller, core.None) (account.Principal, error)
	ValidateSession(context.Context, account.Caller, core.None) (core.SessionStatus, error)
	Sessions(context.Context, account.Caller, core.None) (core.SessionList, error)
	RevokeSessions(context.Context, account.Caller, core.RevokeSessionsInput) (core.Revoked, error)
	RevokeAllSessions(context.Context, account.Caller, core.None) (core.Revoked, error)
	EndSession(context.Context, account.Caller, core.SessionInput) (core.None, error)
	TouchSession(context.Context, account.Caller, core.SessionInput) (core.Activity, error)
	DescribeDevice(context.Context, account.Caller, core.DescribeDeviceInput) (core.Device, error)
	LoginHistory(context.Context, account.Caller, core.LoginHistoryInput) ([]core.LoginAttempt, error)
	SendPhoneCode(context.Context, account.Caller, core.SendPhoneCodeInput) (core.PhonePending, error)
	VerifyPhone(context.Context, account.Caller, core.VerifyPhoneInput) (core.None, error)
	CreateAPIKey(context.Context, account.Caller, core.CreateAPIKeyInput) (core.NewAPIKey, error)
	APIKeys(context.Context, account.Caller, core.None) ([]account.APIKey, error)
	RevokeAPIKey(context.Context, account.Caller, core.RevokeAPIKeyInput) (core.None, error)
	ChangeProfile(context.Context, account.Caller, core.ChangeProfileInput) (account.Principal, error)
	UpdateProfile(context.Context, account.Caller, core.UpdateProfileInput) (account.Principal, error)
	RecordOnboarding(context.Context, account.Caller, core.RecordOnboardingInput) (core.None, error)
	WelcomeStatus(context.Context, account.Caller, core.None) (account.Welcome, error)
	MarkWelcomeShown(context.Context, account.Caller, core.None) (core.None, error)
	UnlockWelcome(context.Context, account.Caller, core.None) (core.Unlocked, error)
	ChangePassword(context.Context, account.Caller, core.ChangePasswordInput) (core.None, error)
	AddPassword(context.Context, account.Caller, core.AddPasswordInput) (core.None, error)
	ForgotPassword(context.Context, account.Caller, core.ForgotPasswordInput) (core.None, error)
	ResetPassword(context.Context, account.Caller, core.ResetPasswordInput) (core.None, error)
	SecurityOverview(context.Context, account.Caller, core.None) (core.SecurityOverview, error)
	CheckEmail(context.Context, account.Caller, core.CheckEmailInput) (core.EmailChecked, error)
}

// Routes is the table of documents A and C.
func Routes(c Core) []endpoint.Route {
	return slices.Concat(accountRoutes(c), signupRoutes(c), passwordRoutes(c), phoneRoutes(c), providerRoutes(c), sessionRoutes(c), apiKeyRoutes(c), closureRoutes(c),
		eventRoutes(c))
}

// invalidFields is how document A says that fields are at fault.
var invalidFields = endpoint.Reworded(account.ErrInvalid, "Invalid field values")

func accountRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// A01, C16
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getMe", Method: "GET", Path: "/api/v1/auth/me",
			Policy: endpoint.Session, Scope: account.ScopeRead, Wallet: true, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newMeBody),
		// A02
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changeMe", Method: "PATCH", Path: "/api/v1/auth/me",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Wallet: true, Limit: account.LimitWrite, Idempotent: true,
		}, changeMeRequest.input, c.ChangeProfile, newMeBody,
			invalidFields, endpoint.RewordedAt(account.ErrInvalid, "user_type", "Invalid user type")),
		// C18
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "recordOnboarding", Method: "POST", Path: "/api/v1/auth/onboarding-event",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, onboardingRequest.input, c.RecordOnboarding, newDoneBody),
		// C19
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getProfile", Method: "GET", Path: "/api/v1/auth/profile",
			Policy: endpoint.Session, Scope: account.ScopeRead, Wallet: true, Limit: account.LimitRead,
		}, emptyRequest.none, c.Me, newProfileBody),
		// C20
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "updateProfile", Method: "PATCH", Path: "/api/v1/auth/profile",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Wallet: true, Limit: account.LimitWrite, Idempotent: true,
		}, updateProfileRequest.input, c.UpdateProfile, newProfileBody),
		// C30
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "unlockWelcomeBonus", Method: "POST", Path: "/api/v1/auth/unlock-welcome-bonus",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, emptyRequest.none, c.UnlockWelcome, newUnlockedBody),
		// C32
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "markWelcomeShown", Method: "POST", Path: "/api/v1/auth/welcome-shown",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, emptyRequest.none, c.MarkWelcomeShown, newDoneBody),
		// C33
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getWelcomeStatus", Method: "GET", Path: "/api/v1/auth/welcome-status",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.WelcomeStatus, newWelcomeBody),
	}
}

func signupRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// C06
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "completeSignup", Method: "POST", Path: "/api/v1/auth/complete-signup",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, completeSignupRequest.input, c.CompleteSignup, newCompletedSignupBody),
		// C08
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "initiateSignup", Method: "POST", Path: "/api/v1/auth/initiate-signup",
			Policy: endpoint.Public, Limit: account.LimitSignup, Idempotent: true,
		}, initiateSignupRequest.input, c.InitiateSignup, newInitiatedSignupBody),
		// C14
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "login", Method: "POST", Path: "/api/v1/auth/login",
			Policy: endpoint.Public, Limit: account.LimitLogin,
		}, loginRequest.input, c.Login, newLoginBody),
		// C23
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "sendVerificationCode", Method: "POST", Path: "/api/v1/auth/send-verification-code",
			Policy: endpoint.Public, Limit: account.LimitSend, Idempotent: true,
		}, resendCodeRequest.input, c.ResendCode, newResentCodeBody),
		// C29
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signup", Method: "POST", Path: "/api/v1/auth/signup",
			Policy: endpoint.Public, Limit: account.LimitSignup, Idempotent: true,
		}, signupRequest.input, signupAlias(c), newSignupBody),
		// C31
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "verifyCode", Method: "POST", Path: "/api/v1/auth/verify-code",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, verifyCodeRequest.input, c.VerifyCode, newVerifiedCodeBody,
			endpoint.Extended(account.ErrInvalidCode, newRefusedCodeBody)),
	}
}

func sessionRoutes(c Core) []endpoint.Route {
	unknown := endpoint.Reworded(account.ErrNotFound, "Session not found")
	return []endpoint.Route{
		// A09, C24
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listSessions", Method: "GET", Path: "/api/v1/auth/sessions",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, listSessions(c), newSessionsBody),
		// A10
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeSessions", Method: "POST", Path: "/api/v1/auth/sessions/revoke",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, revokeSessionsRequest.input, c.RevokeSessions, newRevokedSessionsBody, unknown),
		// A11
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "updateDeviceInfo", Method: "POST", Path: "/api/v1/auth/sessions/update-device-info",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, deviceInfoRequest.input, c.DescribeDevice, newDeviceInfoBody),
		// A12
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "validateSession", Method: "GET", Path: "/api/v1/auth/session/validate",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.ValidateSession, newSessionStatusBody),
		// C15
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "loginHistory", Method: "GET", Path: "/api/v1/auth/login-history",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, loginHistoryRequest.input, c.LoginHistory, newLoginHistoryBody),
		// C25
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeAllSessions", Method: "DELETE", Path: "/api/v1/auth/sessions",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, emptyRequest.none, c.RevokeAllSessions, newRevokedAllBody),
		// C26
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "validateSessionWithStatus", Method: "GET", Path: "/api/v1/auth/sessions/validate",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.ValidateSession, newSessionStatusOKBody),
		// C27
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeSession", Method: "DELETE", Path: "/api/v1/auth/sessions/:session_id",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, sessionRequest.input, c.EndSession, newOKBody, unknown),
		// C28
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "touchSession", Method: "PATCH", Path: "/api/v1/auth/sessions/:session_id/activity",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, sessionRequest.input, c.TouchSession, newActivityBody, unknown),
	}
}

// apiKeyRoutes are extensions (design D12).
func apiKeyRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "createApiKey", Method: "POST", Path: "/api/v1/auth/api-keys", Status: http.StatusCreated,
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite, Idempotent: true,
		}, createAPIKeyRequest.input, c.CreateAPIKey, newCreatedAPIKeyBody),
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listApiKeys", Method: "GET", Path: "/api/v1/auth/api-keys",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitRead,
		}, emptyRequest.none, c.APIKeys, newAPIKeysBody),
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeApiKey", Method: "DELETE", Path: "/api/v1/auth/api-keys/:id", Status: http.StatusNoContent,
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitWrite,
		}, revokeAPIKeyRequest.input, c.RevokeAPIKey, newNothing,
			endpoint.Reworded(account.ErrNotFound, "API key not found")),
	}
}

// passwordRoutes are the rows of documents A and C about passwords.
func passwordRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// A05, C03
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changePassword", Method: "POST", Path: "/api/v1/auth/change-password",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, changePasswordRequest.input, c.ChangePassword, newChangedPasswordBody,
			endpoint.RewordedAt(account.ErrInvalid, "new_password", account.ErrPasswordRules.Message)),
		// C02
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "addPassword", Method: "POST", Path: "/api/v1/auth/add-password",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, addPasswordRequest.input, c.AddPassword, newAddedPasswordBody),
		// C07
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "forgotPassword", Method: "POST", Path: "/api/v1/auth/forgot-password",
			Policy: endpoint.Public, Limit: account.LimitSend, Idempotent: true,
		}, forgotPasswordRequest.input, c.ForgotPassword, newForgotPasswordBody),
		// C21
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "resetPassword", Method: "POST", Path: "/api/v1/auth/reset-password",
			Policy: endpoint.Public, Limit: account.LimitVerify, Idempotent: true,
		}, resetPasswordRequest.input, c.ResetPassword, newResetPasswordBody),
		// C22
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "getSecurityOverview", Method: "GET", Path: "/api/v1/auth/security-overview",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.SecurityOverview, newSecurityOverviewBody),
		// C04
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "checkEmail", Method: "POST", Path: "/api/v1/auth/check-email",
			Policy: endpoint.Public, Limit: account.LimitCheck,
		}, checkEmailRequest.input, c.CheckEmail, newCheckedEmailBody),
		// C05
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "checkEmailExists", Method: "GET", Path: "/api/v1/auth/check-email-exists",
			Policy: endpoint.Public, Limit: account.LimitCheck,
		}, checkEmailExistsRequest.input, c.CheckEmail, newCheckedEmailExistsBody),
	}
}

func (emptyRequest) none() core.None { return core.None{} }
