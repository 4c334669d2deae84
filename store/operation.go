package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// Standing is how a challenge of an account stands, by the database's clock.
type Standing struct {
	account.Challenge
	// Consumed means that what it allows is done, Over that nothing can prove it any more: its time is over, or a newer one
	// has taken its place.
	Consumed, Over bool
}

// ChallengeStanding returns how a challenge of an account stands, or account.ErrNotFound.
func (s *Store) ChallengeStanding(ctx context.Context, id, accountID uuid.UUID) (Standing, error) {
	var row challengeRow
	err := s.db.NewSelect().Model(&row).Where("id = ? AND account_id = ?", id, accountID).Scan(ctx)
	if err != nil {
		return Standing{}, translate(err)
	}
	var late bool
	err = s.db.NewRaw(`SELECT greatest(code_expires_at, link_expires_at) <= now() FROM challenges WHERE id = ?`, id).Scan(ctx, &late)
	return Standing{
		Challenge: row.challenge(), Consumed: row.ConsumedAt != nil, Over: row.ConsumedAt == nil && (late || row.SupersededAt != nil),
	}, translate(err)
}

// ClosureStanding is how a closure stands. EraseAt is when its term of grace ends, Due that it has ended.
type ClosureStanding struct {
	AccountID           uuid.UUID
	EraseAt             time.Time
	Undone, Erased, Due bool
}

// ClosureStanding returns how a closure stands, or account.ErrNotFound.
func (s *Store) ClosureStanding(ctx context.Context, id uuid.UUID) (ClosureStanding, error) {
	var c ClosureStanding
	err := s.db.NewRaw(`
		SELECT account_id, erase_at, undone_at IS NOT NULL AS undone, erased_at IS NOT NULL AS erased, erase_at <= now() AS due
		FROM closures WHERE id = ?`, id).Scan(ctx, &c.AccountID, &c.EraseAt, &c.Undone, &c.Erased, &c.Due)
	return c, translate(err)
}

// LinkStanding is how the link of an outside account stands.
type LinkStanding struct {
	ExpiresAt       time.Time
	Linked, Expired bool
}

// ProviderLinkStanding returns how a link that an account has begun stands, or account.ErrNotFound.
func (s *Store) ProviderLinkStanding(ctx context.Context, id, accountID uuid.UUID) (LinkStanding, error) {
	var l LinkStanding
	err := s.db.NewRaw(`SELECT expires_at, linked_at IS NOT NULL, expires_at <= now() FROM provider_links WHERE id = ? AND account_id = ?`,
		id, accountID).Scan(ctx, &l.ExpiresAt, &l.Linked, &l.Expired)
	return l, translate(err)
}

// FlowOfStep returns the flow in which an account was sent messages about something that may be gone by now, and whether one
// of them is of a template. It returns account.ErrNotFound when there was none.
func (s *Store) FlowOfStep(ctx context.Context, accountID, about uuid.UUID, template string) (flow string, sent bool, err error) {
	err = s.db.NewRaw(`
		SELECT flow, bool_or(template = ?) FROM messages WHERE account_id = ? AND strpos(step, ?) > 0 GROUP BY flow ORDER BY 2 DESC LIMIT 1`,
		template, accountID, about.String()).Scan(ctx, &flow, &sent)
	return flow, sent, translate(err)
}
