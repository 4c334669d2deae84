package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PutInbox puts a message into the development inbox, once per message id.
func (s *Store) PutInbox(ctx context.Context, m account.InboxMessage) error {
	_, err := s.db.NewRaw(`
		INSERT INTO dev_inbox (message_id, channel, recipient, subject, body, code) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (message_id) DO NOTHING`, m.ID, m.Channel, m.To, m.Subject, m.Text, m.Code).Exec(ctx)
	return translate(err)
}

const inboxPage = 200

// Inbox lists the development inbox, newest first, at most 200 messages. to matches in any case; empty filters match all.
func (s *Store) Inbox(ctx context.Context, to, channel string) ([]account.InboxMessage, error) {
	var rows []struct {
		MessageID uuid.UUID
		Channel   account.Channel
		Recipient string
		Subject   string
		Body      string
		Code      string
		CreatedAt time.Time
	}
	err := s.db.NewRaw(`
		SELECT message_id, channel, recipient, subject, body, code, created_at FROM dev_inbox
		WHERE (?0 = '' OR lower(recipient) = lower(?0)) AND (?1 = '' OR channel = ?1)
		ORDER BY created_at DESC, message_id LIMIT ?2`, to, channel, inboxPage).Scan(ctx, &rows)
	out := make([]account.InboxMessage, len(rows))
	for i, r := range rows {
		out[i] = account.InboxMessage{
			ID: r.MessageID, Channel: r.Channel, To: r.Recipient, Subject: r.Subject, Text: r.Body, Code: r.Code, CreatedAt: r.CreatedAt,
		}
	}
	return out, translate(err)
}
