package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/providers"
)

// PutInbox puts a message into the development inbox, once per message id.
func (s *Store) PutInbox(ctx context.Context, m providers.Message) error {
	_, err := s.db.NewRaw(`
		INSERT INTO dev_inbox (id, message_id, channel, recipient, subject, body, code) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (message_id) DO NOTHING`, uuid.New(), m.ID, m.Channel, m.To, m.Subject, m.Text, m.Code).Exec(ctx)
	return translate(err)
}

// InboxMessage is a message in the development inbox.
type InboxMessage struct {
	ID        uuid.UUID
	Channel   string
	Recipient string
	Subject   string
	Body      string
	Code      string
	CreatedAt time.Time
}

const inboxPage = 200

// Inbox lists the development inbox, newest first, at most 200 messages. to matches in any case; empty filters match all.
func (s *Store) Inbox(ctx context.Context, to, channel string) ([]InboxMessage, error) {
	var rows []InboxMessage
	err := s.db.NewRaw(`
		SELECT id, channel, recipient, subject, body, code, created_at FROM dev_inbox
		WHERE (?0 = '' OR lower(recipient) = lower(?0)) AND (?1 = '' OR channel = ?1)
		ORDER BY created_at DESC, id LIMIT ?2`, to, channel, inboxPage).Scan(ctx, &rows)
	return rows, translate(err)
}
