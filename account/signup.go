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
	// SignupTaken is a sign-up with a taken address in hidden enumeration mode: its owner is told, nothing else happens.
	SignupTaken SignupKind = "taken"
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
	// Contested means that somebody who knows another password asked for the same address (security.md PRE-06).
	Contested bool
	// AccountID and SessionID are what the attempt made, nil before.
	AccountID *uuid.UUID
	SessionID *uuid.UUID
	CreatedAt time.Time
	ExpiresAt time.Time
	Closed    bool
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
