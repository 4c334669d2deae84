package account

import (
	"time"

	"github.com/google/uuid"
)

// SignupKind says which document began a sign-up.
type SignupKind string

// The ways to sign up (contract X26): document C creates the account once the code is proven, document B at once and
// unverified.
const (
	SignupByCode     SignupKind = "code"
	SignupByRegister SignupKind = "register"
)

// SignupAttempt is the write-ahead row of a sign-up: what the client gave, with the password hashed, parked before the
// flow starts because no secret may enter a history (design D3, D4).
type SignupAttempt struct {
	ID             uuid.UUID
	Kind           SignupKind
	Email          string
	Username       *string
	PasswordHash   string
	Name           *string
	MarketingOptIn bool
	Origin         Origin
	ExpiresAt      time.Time
}

// Origin is where a sign-up or sign-in came from. Fingerprint and Attribution are free JSON chosen by the client:
// they only ever lower trust.
type Origin struct {
	IP          string
	UserAgent   string
	Fingerprint []byte
	Attribution map[string]string
	AnonymousID *string
}
