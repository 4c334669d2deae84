package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// OweNotice records that a notice must be sent. In the transaction of the change that it tells of, the two happen together or
// not at all. Owing it again changes nothing.
func (s *Store) OweNotice(ctx context.Context, n account.Notice) error {
	var change *uuid.UUID
	if n.EmailChange != uuid.Nil {
		change = &n.EmailChange
	}
	_, err := s.db.NewRaw(`
		INSERT INTO owed_notices (id, account_id, template, email_change) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		n.ID, n.AccountID, n.Template, change).Exec(ctx)
	return translate(err)
}

// NoticeStarted forgets a notice whose flow has been started.
func (s *Store) NoticeStarted(ctx context.Context, id string) error {
	_, err := s.db.NewRaw(`DELETE FROM owed_notices WHERE id = ?`, id).Exec(ctx)
	return translate(err)
}

// OwedNotices returns notices that have been owed for longer than since, oldest first, at most atMost.
func (s *Store) OwedNotices(ctx context.Context, since time.Duration, atMost int) ([]account.Notice, error) {
	var rows []struct {
		ID          string
		AccountID   uuid.UUID
		Template    string
		EmailChange *uuid.UUID
	}
	err := s.db.NewRaw(`
		SELECT id, account_id, template, email_change FROM owed_notices WHERE created_at <= now() - ? * interval '1 second'
		ORDER BY created_at LIMIT ?`, seconds(since), atMost).Scan(ctx, &rows)
	notices := make([]account.Notice, len(rows))
	for i, r := range rows {
		notices[i] = account.Notice{ID: r.ID, AccountID: r.AccountID, Template: r.Template}
		if r.EmailChange != nil {
			notices[i].EmailChange = *r.EmailChange
		}
	}
	return notices, translate(err)
}
