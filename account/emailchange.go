package account

import (
	"time"

	"github.com/google/uuid"
)

// EmailChange is a change of email that waits for the new mailbox to prove itself. Its id is that of its challenge.
type EmailChange struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	OldEmail  string
	NewEmail  string
	// Taken is set in hidden enumeration mode when the new address has an account: the change goes nowhere.
	Taken     bool
	ExpiresAt time.Time
	Closed    bool
}
