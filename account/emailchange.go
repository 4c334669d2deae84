package account

import (
	"time"

	"github.com/google/uuid"
)

// EmailChange is a change of email that waits for the new mailbox to prove itself, or has been made. Its id is that of its
// challenge. OldEmail is empty for an account that had none, NewEmail where the address was only taken away.
type EmailChange struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	OldEmail  string
	NewEmail  string
	// Taken is set in hidden enumeration mode when the new address has an account: the change goes nowhere.
	Taken bool
	// Linking is set when the proof is a code entered from within the account (D23); else it is a code or a link that
	// anybody may show who has it (C20).
	Linking   bool
	ExpiresAt time.Time
	// Left is how long an open one that was looked for is open still, by the clock that says so.
	Left   time.Duration
	Closed bool
}
