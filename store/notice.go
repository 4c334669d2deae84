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
	return s.owe(ctx, n.AccountID, n)
}

// owe records the notice of a change to an account that the transaction has found.
func (s *Store) owe(ctx context.Context, owner uuid.UUID, n account.Notice) error {
	return s.atOnce(ctx, oweStep(owner, n))
}

// oweStep is owe among other steps.
func oweStep(owner uuid.UUID, n account.Notice) *step {
	return &step{
		query: `INSERT INTO owed_notices (id, account_id, template, email_change, challenge, channel)
			VALUES ($1, $2, $3, nullif($4::uuid, $6::uuid), nullif($5::uuid, $6::uuid), $7) ON CONFLICT (id) DO NOTHING`,
		args: []any{n.ID, owner, n.Template, n.EmailChange, n.Challenge, uuid.Nil, nullable(string(n.Channel))},
	}
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
		Challenge   *uuid.UUID
		Channel     *account.Channel
	}
	err := s.db.NewRaw(`
		SELECT id, account_id, template, email_change, challenge, channel FROM owed_notices WHERE created_at <= now() - ? * interval '1 second'
		ORDER BY created_at LIMIT ?`, seconds(since), atMost).Scan(ctx, &rows)
	notices := make([]account.Notice, len(rows))
	for i, r := range rows {
		notices[i] = account.Notice{ID: r.ID, AccountID: r.AccountID, Template: r.Template}
		if r.EmailChange != nil {
			notices[i].EmailChange = *r.EmailChange
		}
		if r.Challenge != nil {
			notices[i].Challenge = *r.Challenge
		}
		if r.Channel != nil {
			notices[i].Channel = *r.Channel
		}
	}
	return notices, translate(err)
}
