package account

import (
	"time"

	"github.com/google/uuid"
)

// Scope is what an API key may do (design D12).
type Scope string

// The scopes. ScopeSecurity covers sign-in methods, passwords, keys and closure, and is given only when asked for.
const (
	ScopeRead     Scope = "account:read"
	ScopeWrite    Scope = "account:write"
	ScopeSecurity Scope = "account:security"
)

// Scopes lists every scope.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeWrite, ScopeSecurity} }

// APIKey is a stored key without its secret. Service keys belong to no account.
type APIKey struct {
	ID         uuid.UUID
	AccountID  *uuid.UUID
	Name       string
	Scopes     []Scope
	Service    bool
	CreatedAt  time.Time
	LastUsedAt *time.Time
}
