package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// NewMessage is one message of one step of a flow (design D17).
type NewMessage struct {
	Flow        string
	Step        string
	Template    string
	Channel     account.Channel
	Destination string
	// AccountID is the account that it is about, the zero id while there is none.
	AccountID uuid.UUID
	// Recipe is how it is sent once more: ids alone.
	Recipe Recipe
	// Notice is the id of the owed notice that it is, if that is not its flow's: from now on its flow sends it.
	Notice string
	// MostUnanswered is how often it is handed to a provider that does not say what became of it; 0 means as often as one likes.
	MostUnanswered int
	// Again has a message sent that was given up: an operator asks for it.
	Again bool
}

// ErrUnanswered means that a message was handed over as often as it may be without an answer, and was given up.
var ErrUnanswered = errors.New("store: no provider said what became of the message")

// ErrGivenUp means that a message had been given up before: refused for good, or never answered.
var ErrGivenUp = errors.New("store: the message was given up")

// Recipe names the step that sends a message, and holds its input.
type Recipe struct {
	Send  string          `json:"send"`
	Input json.RawMessage `json:"input"`
}

// BeginMessage writes the row of a message before it is handed to a provider and counts the attempt. The step of a flow
// has one row, so a repeated step gets the same id; sent is true when the provider has accepted it already. It returns
// ErrUnanswered, and gives the message up, when MostUnanswered attempts have had no answer: the provider may have sent each of
// them. For what was given up before it returns ErrGivenUp and changes nothing, unless Again is set.
func (s *Store) BeginMessage(ctx context.Context, m NewMessage) (id uuid.UUID, sent bool, err error) {
	recipe, err := json.Marshal(m.Recipe)
	if err != nil {
		return uuid.Nil, false, err
	}
	var dead bool
	err = s.only(ctx, `
		WITH owed AS (DELETE FROM owed_notices WHERE id = $11)
		INSERT INTO messages AS m (id, flow, step, template, channel, masked_destination, account_id, recipe, attempts, unanswered)
		VALUES ($2, $3, $4, $5, $6, $7, nullif($8::uuid, $9::uuid), $10::text::jsonb, 1, 1)
		ON CONFLICT (flow, step) DO UPDATE SET
			attempts = m.attempts + CASE WHEN m.state = 'sent' OR `+exhausted+` THEN 0 ELSE 1 END,
			unanswered = CASE WHEN m.state = 'dead' THEN 1 WHEN `+exhausted+` THEN m.unanswered ELSE m.unanswered + 1 END,
			state = CASE WHEN m.state = 'sent' THEN m.state WHEN `+exhausted+` THEN 'dead' ELSE 'queued' END,
			last_error = CASE WHEN `+exhausted+` THEN 'no answer, too often: each attempt may have arrived' ELSE m.last_error END,
			next_retry_at = NULL, account_id = coalesce(EXCLUDED.account_id, m.account_id), recipe = EXCLUDED.recipe, updated_at = now()
			WHERE m.state <> 'dead' OR $12::bool
		RETURNING id, state = 'sent', state = 'dead'`, []any{
		m.MostUnanswered, uuid.New(), m.Flow, m.Step, m.Template, string(m.Channel), account.Mask(m.Channel, m.Destination), m.AccountID, uuid.Nil,
		string(recipe), cmp.Or(m.Notice, m.Flow), m.Again,
	}, &id, &sent, &dead)
	switch {
	case errors.Is(err, account.ErrNotFound):
		return uuid.Nil, false, ErrGivenUp
	case err == nil && dead:
		return id, false, ErrUnanswered
	}
	return id, sent, err
}

// exhausted is true of a row m that was handed over $1 times, if that is any number, without an answer. That it has expired
// meanwhile changes nothing: the sweep takes a message for abandoned that its flow leaves alone for a while.
const exhausted = `($1::int > 0 AND m.state IN ('queued', 'expired') AND m.unanswered >= $1::int)`

// MessageSent records that a provider accepted a message.
func (s *Store) MessageSent(ctx context.Context, id uuid.UUID, provider, providerID string) error {
	return s.change(ctx, `
		UPDATE messages SET state = 'sent', provider = $1, provider_id = $2, last_error = NULL, next_retry_at = NULL, sent_at = now(),
			updated_at = now()
		WHERE id = $3`, provider, nullable(providerID), id)
}

// MessageState is how a message that was not accepted stands.
type MessageState string

// The states of a message that was not accepted: queued is tried again, dead and expired are not.
const (
	MessageQueued  MessageState = "queued"
	MessageDead    MessageState = "dead"
	MessageExpired MessageState = "expired"
)

// MessageFailed records why a message was not accepted; reason must hold no personal data. An accepted one stays so.
func (s *Store) MessageFailed(ctx context.Context, flow, step string, state MessageState, reason string) error {
	_, err := s.db.NewRaw(`
		UPDATE messages SET state = ?, last_error = ?, next_retry_at = NULL, updated_at = now()
		WHERE flow = ? AND step = ? AND state <> 'sent'`,
		state, reason, flow, step).Exec(ctx)
	return translate(err)
}

// MessageDelayed records that a message was not accepted for a passing reason, as MessageFailed does, and that it is tried
// again after wait; 0 means that it is not. What was ended meanwhile stays so.
func (s *Store) MessageDelayed(ctx context.Context, id uuid.UUID, reason string, wait time.Duration) error {
	return s.delayed(ctx, id, reason, wait, 1)
}

// MessageUnanswered is MessageDelayed where the provider did not say what became of the message.
func (s *Store) MessageUnanswered(ctx context.Context, id uuid.UUID, reason string, wait time.Duration) error {
	return s.delayed(ctx, id, reason, wait, 0)
}

func (s *Store) delayed(ctx context.Context, id uuid.UUID, reason string, wait time.Duration, answers int) error {
	_, err := s.db.NewRaw(`
		UPDATE messages SET last_error = ?, next_retry_at = now() + nullif(?::float8, 0) * interval '1 second',
			unanswered = greatest(unanswered - ?, 0), updated_at = now()
		WHERE id = ? AND state = 'queued'`, reason, seconds(wait), answers, id).Exec(ctx)
	return translate(err)
}

// DropQueued ends the waiting messages of the steps that begin with prefix: another one has brought what they would bring.
func (s *Store) DropQueued(ctx context.Context, flow, prefix string) error {
	_, err := s.db.NewRaw(`
		UPDATE messages SET state = 'expired', last_error = 'another channel was faster', next_retry_at = NULL, updated_at = now()
		WHERE flow = ? AND starts_with(step, ?) AND state = 'queued'`, flow, prefix).Exec(ctx)
	return translate(err)
}

// Delivery is how a message of a flow stands.
type Delivery struct {
	Channel  string
	State    string
	Attempts int
	// NextRetryAt is nil while an attempt is under way, and when no other will follow.
	NextRetryAt *time.Time
}

// deliveriesShown bounds Deliveries.
const deliveriesShown = 50

// Deliveries lists the newest messages of a flow that were made since a moment, oldest first, at most 50. Those of steps whose
// name does not contain part are left out.
func (s *Store) Deliveries(ctx context.Context, flow, part string, since time.Time) ([]Delivery, error) {
	var rows []Delivery
	err := s.db.NewRaw(`
		SELECT channel, state, attempts, next_retry_at FROM (
			SELECT * FROM messages WHERE flow = ? AND created_at >= ? AND strpos(step, ?) > 0 ORDER BY created_at DESC LIMIT ?) newest
		ORDER BY created_at`, flow, since, part, deliveriesShown).
		Scan(ctx, &rows)
	return rows, translate(err)
}

// Recipient is whom a message about an account goes to.
type Recipient struct {
	AccountID uuid.UUID
	Email     string
	Name      string
	Username  string
}

// RecipientOf returns where an account's mail goes. It returns account.ErrNotFound when the account or its email is gone.
func (s *Store) RecipientOf(ctx context.Context, accountID uuid.UUID) (Recipient, error) {
	r, err := s.PersonOf(ctx, accountID)
	if err == nil && r.Email == "" {
		err = account.ErrNotFound
	}
	return r, err
}

// PersonOf returns how the owner of an account is called. Email is empty for an account without one. It returns
// account.ErrNotFound when the account is gone.
func (s *Store) PersonOf(ctx context.Context, accountID uuid.UUID) (Recipient, error) {
	r := Recipient{AccountID: accountID}
	err := s.only(ctx, `
		SELECT coalesce(email, ''), coalesce(full_name, ''), coalesce(username, '') FROM accounts
		WHERE id = $1 AND deleted_at IS NULL`, []any{accountID}, &r.Email, &r.Name, &r.Username)
	return r, err
}
