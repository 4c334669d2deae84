package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

// Message is an outgoing message as operators see it: its destination is masked.
type Message struct {
	bun.BaseModel `bun:"table:messages,alias:m"`

	ID          uuid.UUID       `bun:"id,pk,type:uuid"`
	Flow        string          `bun:"flow,notnull"`
	Step        string          `bun:"step,notnull"`
	Template    string          `bun:"template,notnull"`
	Channel     account.Channel `bun:"channel,notnull"`
	Masked      string          `bun:"masked_destination,notnull"`
	State       string          `bun:"state,notnull"`
	Attempts    int             `bun:"attempts,notnull"`
	LastError   *string         `bun:"last_error"`
	AccountID   *uuid.UUID      `bun:"account_id,type:uuid"`
	NextRetryAt *time.Time      `bun:"next_retry_at"`
	CreatedAt   time.Time       `bun:"created_at,notnull"`
	UpdatedAt   time.Time       `bun:"updated_at,notnull"`
	Raw         json.RawMessage `bun:"recipe,type:jsonb"`
}

const messageColumns = `id, flow, step, template, channel, masked_destination, state, attempts, last_error, account_id,
	next_retry_at, created_at, updated_at, recipe`

// Recipe returns how m is sent once more. It returns account.ErrNotFound for a message from before there were recipes, and for
// one of an account that was erased.
func (m Message) Recipe() (Recipe, error) {
	var r Recipe
	if len(m.Raw) == 0 {
		return r, account.ErrNotFound
	}
	err := json.Unmarshal(m.Raw, &r)
	if err == nil && r.Send == "" {
		err = account.ErrNotFound
	}
	return r, err
}

// MessageFilter says which messages are listed: all that meet every field that is set.
type MessageFilter struct {
	// State is queued, sent, dead or expired.
	State    string
	Template string
	// Account and Flows select the messages of an account or of any of these flows.
	Account *uuid.UUID
	Flows   []string
	// Since leaves out what was made before.
	Since time.Time
	// Limit is how many are listed at most.
	Limit int64
}

// Messages lists messages, the newest first.
func (s *Store) Messages(ctx context.Context, f MessageFilter) ([]Message, error) {
	var rows []Message
	q := s.db.NewSelect().Model(&rows).ColumnExpr(messageColumns).Where("created_at >= ?", f.Since).
		OrderExpr("created_at DESC, id").Limit(f.Limit)
	if f.State != "" {
		q = q.Where("state = ?", f.State)
	}
	if f.Template != "" {
		q = q.Where("template = ?", f.Template)
	}
	if f.Account != nil || len(f.Flows) > 0 {
		q = q.Where("(account_id = ? OR flow IN (?))", f.Account, bun.List(append([]string{""}, f.Flows...)))
	}
	return rows, translate(q.Scan(ctx))
}

// Message returns a message, or account.ErrNotFound.
func (s *Store) Message(ctx context.Context, id uuid.UUID) (Message, error) {
	var m Message
	err := s.db.NewSelect().Model(&m).ColumnExpr(messageColumns).Where("id = ?", id).Scan(ctx)
	return m, translate(err)
}
