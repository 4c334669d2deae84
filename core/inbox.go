package core

import "time"

// DevInboxInput selects messages of the development inbox; an empty field selects all.
type DevInboxInput struct {
	To      string
	Channel string
}

// InboxMessage is one message that no provider took because none is set.
type InboxMessage struct {
	ID        string
	Channel   string
	To        string
	Subject   string
	Text      string
	Code      string
	CreatedAt time.Time
}
