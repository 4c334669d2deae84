package account

import "github.com/google/uuid"

// Notice is a message that tells an owner what became of their account.
type Notice struct {
	// ID is that of its flow, the same for the same change: one message is sent however often it is owed.
	ID        string
	AccountID uuid.UUID
	Template  string
	// EmailChange has the mail go to the address that the account had before that change; the zero id does not.
	EmailChange uuid.UUID
	// Challenge is what proved the change, where the mail tells more of it; the zero id otherwise.
	Challenge uuid.UUID
	// Channel is where it goes if not by mail.
	Channel Channel
}
