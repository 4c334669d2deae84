package core

import (
	"context"
	"time"

	"gatehouse/account"
)

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

// DevInbox lists the development inbox, newest first. Where a real provider is set, or in production, there is none:
// account.ErrNotFound.
func (c *Core) DevInbox(ctx context.Context, _ account.Caller, in DevInboxInput) ([]InboxMessage, error) {
	if !c.ServeInbox {
		return nil, account.ErrNotFound
	}
	rows, err := c.Store.Inbox(ctx, in.To, in.Channel)
	out := make([]InboxMessage, len(rows))
	for i, m := range rows {
		out[i] = InboxMessage{
			ID: m.ID.String(), Channel: string(m.Channel), To: m.To, Subject: m.Subject, Text: m.Text, Code: m.Code, CreatedAt: m.CreatedAt,
		}
	}
	return out, err
}
