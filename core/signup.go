package core

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// InitiateSignupInput begins a sign-up by code (C08, C29).
type InitiateSignupInput struct {
	Email       string
	Password    string
	Name        *string
	Fingerprint json.RawMessage
	Attribution map[string]string
}

// SignupPending tells where the code went and how long it lives.
type SignupPending struct {
	Email     string
	ExpiresIn time.Duration
}

// CompleteSignupInput ends a sign-up by code (C06).
type CompleteSignupInput struct {
	Email       string
	Code        string
	Fingerprint json.RawMessage
	Attribution map[string]string
	AnonymousID *string
}

// RegisterInput makes an unverified account at once (B02).
type RegisterInput struct {
	Username       string
	Email          string
	Password       string
	MarketingOptIn bool
}

// SignIn is a fresh session with its tokens. RefreshToken is empty where the document hands out none.
type SignIn struct {
	Principal    account.Principal
	AccessToken  string
	ExpiresAt    time.Time
	RefreshToken string
}

// Registered is the answer to RegisterInput. In hidden enumeration mode it may describe an account that does not exist.
type Registered struct {
	AccountID uuid.UUID
	Username  string
	Email     string
	Token     string
}

// ResendCodeInput asks for a new code for a pending sign-up or an unverified account (C23).
type ResendCodeInput struct {
	Email string
}

// VerifyCodeInput proves an address by code (C31).
type VerifyCodeInput struct {
	Email string
	Code  string
}

// CodeVerified tells what the proof of the address brought.
type CodeVerified struct {
	CreditsAwarded int64
}

// ConfirmEmailInput proves an address by the token of the mailed link (B08).
type ConfirmEmailInput struct {
	Token string
}

// None is the result of an operation that returns nothing, and the input of one that takes nothing.
type None struct{}

var _ = context.Background
