package account

import (
	"time"

	"github.com/google/uuid"
)

// LoginOutcome is how an attempt to sign in ended.
type LoginOutcome string

// The outcomes. Attempts that had to wait are recorded once a minute. LoginSecondStep is a login that still owes its second
// step, which is recorded as a success of its own.
const (
	LoginSucceeded     LoginOutcome = "succeeded"
	LoginSecondStep    LoginOutcome = "second_step"
	LoginWrongPassword LoginOutcome = "wrong_password"
	LoginThrottled     LoginOutcome = "throttled"
)

// LoginRecord is one attempt to sign in to an account.
type LoginRecord struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	// Method is how: password, signup, register, ...
	Method    string
	Outcome   LoginOutcome
	IP        string
	UserAgent string
	CreatedAt time.Time
}
