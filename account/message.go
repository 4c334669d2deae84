package account

import (
	"time"

	"github.com/google/uuid"
)

// InboxMessage is a message in the development inbox: what would have gone out if a provider were set.
type InboxMessage struct {
	// ID is the id of the message's row, the same however often it is put.
	ID        uuid.UUID
	Channel   Channel
	To        string
	Subject   string
	Text      string
	Code      string
	CreatedAt time.Time
}
