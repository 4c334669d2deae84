package account

import (
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Purpose says what a code proves. A code of one purpose proves nothing for another.
type Purpose string

// The purposes. PurposeSignup opens an account that does not exist yet (C06), PurposeEmail proves the address of one
// that does (B08, C31), PurposePhone that a number is the account's (A04), PurposeReset lets the owner of a mailbox set a
// password anew (C21), PurposeEmailChange proves the address that an account is about to have (C20, by C31 or B08),
// PurposeEmailLink the same from within that account (D24),
// PurposePasswordChange that the owner of an account is at the keyboard of one of its sessions (D06), PurposeDevice finishes a
// login (D20).
const (
	PurposeSignup Purpose = "signup"
	PurposeEmail  Purpose = "email"
	PurposePhone  Purpose = "phone"
	PurposeReset  Purpose = "reset"

	PurposeEmailChange    Purpose = "email_change"
	PurposeEmailLink      Purpose = "email_link"
	PurposePasswordChange Purpose = "password_change"
	PurposeDevice         Purpose = "device"
)

// CodeLength is the number of digits of a one-time code.
const CodeLength = 6

// CodeFault returns why s cannot be a one-time code, or nothing. Only ASCII digits count (security.md OTP-11).
func CodeFault(s string) string {
	if s == "" {
		return "is required"
	}
	if len(s) != CodeLength {
		return "must be 6 digits"
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "must be 6 digits"
		}
	}
	return ""
}

// OTPFault returns why s cannot be what document D calls an OTP, or nothing: any 6 characters can be tried.
func OTPFault(s string) string {
	switch {
	case s == "":
		return "is required"
	case utf8.RuneCountInString(s) != CodeLength:
		return "must be exactly 6 characters"
	}
	return ""
}

// Challenge is one code that was or will be sent: made once, compared at most Policy.CodeTries times, consumed once.
type Challenge struct {
	ID        uuid.UUID
	Purpose   Purpose
	AccountID *uuid.UUID
	// SessionID is the session that a code counts for, nil where it counts for any.
	SessionID   *uuid.UUID
	Channel     Channel
	Destination string
	Attempts    int
	CreatedAt   time.Time
	// SendBy is when trying to deliver the code stops making sense.
	SendBy time.Time
	// CodeExpiresAt counts from the provider's acceptance, or from creation while the code is unsent.
	CodeExpiresAt time.Time
	// LinkExpiresAt is nil for a challenge without a link.
	LinkExpiresAt *time.Time
	SentAt        *time.Time
}

// Channel is a way to reach a person.
type Channel string

// The channels.
const (
	ChannelEmail    Channel = "email"
	ChannelSMS      Channel = "sms"
	ChannelWhatsApp Channel = "whatsapp"
	ChannelPush     Channel = "push"
)
