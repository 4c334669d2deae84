package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// record writes a change into the audit log, in the transaction of the change and once per change: whoever makes it says so
// here, after it was made and only if it was. It comes last, because it holds up the other changes of the account until the
// transaction ends: that is why sequences have no gap. A code that was consumed in the transaction says who acts; else the
// context does. Receivers of webhooks are told of it, too.
func (s *Store) record(ctx context.Context, accountID uuid.UUID, name account.EventName, details map[string]any) error {
	r, err := s.recording(ctx, accountID, name, details)
	if err == nil {
		err = s.atOnce(ctx, r.step)
	}
	if err != nil {
		return err
	}
	return s.recorded(ctx, r)
}

// recording is record as a step among others, the last of them; recorded is to be called after it.
type recording struct {
	step   *step
	event  account.Event
	wanted bool
}

func (s *Store) recording(ctx context.Context, accountID uuid.UUID, name account.EventName, details map[string]any) (*recording, error) {
	by := account.ActingIn(ctx)
	if s.prover != nil {
		by = *s.prover
	}
	if details == nil {
		details = map[string]any{}
	}
	text, err := json.Marshal(details)
	if err != nil {
		return nil, err
	}
	r := &recording{event: account.Event{ID: uuid.New(), AccountID: accountID, Name: name, Details: details}}
	r.step = &step{
		query: eventRecorded,
		args: []any{
			accountID, r.event.ID, string(name), string(by.Kind), nullable(by.ID), nullable(by.Network), nullable(by.RequestID), string(text),
			account.WebhookPatterns(string(name)),
		},
		into: []any{&r.event.Sequence, &r.event.At, &r.wanted},
	}
	return r, nil
}

func (s *Store) recorded(ctx context.Context, r *recording) error {
	if r.event.AccountID == uuid.Nil || !r.wanted {
		return nil
	}
	return s.Tell(ctx, r.event.WebhookEvent())
}

// Most installations have no receiver of webhooks: whether there is one to be told is part of the answer.
const eventRecorded = `
	WITH head AS (
		INSERT INTO audit_heads AS h (account_id, last) VALUES ($1, 1)
		ON CONFLICT (account_id) DO UPDATE SET last = h.last + 1 RETURNING last)
	INSERT INTO audit_events (account_id, sequence, id, name, actor_kind, actor_id, network, request_id, details)
	SELECT $1, last, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text::jsonb FROM head
	RETURNING sequence, at, EXISTS (SELECT 1 FROM webhook_endpoints WHERE events && $9::text[])`

// EventPage asks for events, newest first.
type EventPage struct {
	AccountID uuid.UUID
	// Before is the sequence that the page ends before; 0 begins with the newest.
	Before int64
	Limit  int
}

// Events returns events of an account, newest first, and whether there are older ones.
func (s *Store) Events(ctx context.Context, p EventPage) (events []account.Event, more bool, err error) {
	var rows []eventRow
	err = s.db.NewRaw(`
		SELECT id, account_id, sequence, name, at, actor_kind, coalesce(actor_id, '') AS actor_id, coalesce(network, '') AS network,
			coalesce(request_id, '') AS request_id, details
		FROM audit_events WHERE account_id = ?0 AND (?1 = 0 OR sequence < ?1) ORDER BY sequence DESC LIMIT ?2`,
		p.AccountID, p.Before, p.Limit+1).Scan(ctx, &rows)
	if err != nil {
		return nil, false, translate(err)
	}
	if more = len(rows) > p.Limit; more {
		rows = rows[:p.Limit]
	}
	events = make([]account.Event, len(rows))
	for i, r := range rows {
		if events[i], err = r.event(); err != nil {
			return nil, false, err
		}
	}
	return events, more, nil
}

type eventRow struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Sequence  int64
	Name      string
	At        time.Time
	ActorKind string
	ActorID   string
	Network   string
	RequestID string
	Details   json.RawMessage
}

func (r eventRow) event() (account.Event, error) {
	e := account.Event{
		ID: r.ID, AccountID: r.AccountID, Sequence: r.Sequence, Name: account.EventName(r.Name), At: r.At,
		Acting: account.Acting{Kind: account.ActorKind(r.ActorKind), ID: r.ActorID, Network: r.Network, RequestID: r.RequestID},
	}
	return e, json.Unmarshal(r.Details, &e.Details)
}

// AuditedAccounts returns the accounts that a name has ever stood for: the live one of an email, and closed ones that have not
// been erased, or the account of an id, whatever became of it.
func (s *Store) AuditedAccounts(ctx context.Context, name string) ([]uuid.UUID, error) {
	var found []uuid.UUID
	if id, err := uuid.Parse(name); err == nil {
		err = s.db.NewRaw(`SELECT account_id FROM audit_heads WHERE account_id = ?`, id).Scan(ctx, &found)
		return found, translate(err)
	}
	// No index leads from an email to closed accounts: those that are not erased are few, and are looked through.
	err := s.db.NewRaw(`
		SELECT id FROM accounts WHERE email = ?0 AND deleted_at IS NULL
		UNION SELECT a.id FROM closures c JOIN accounts a ON a.id = c.account_id
		WHERE c.undone_at IS NULL AND c.erased_at IS NULL AND a.email = ?0`, name).Scan(ctx, &found)
	return found, translate(err)
}

// AuditFaults returns what is wrong with the audit log, at most limit lines: nothing, at any moment (security.md I-12). It reads
// the whole log, for as long as that takes.
func (s *Store) AuditFaults(ctx context.Context, limit int) (faults []string, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.takeTime(ctx); err != nil {
			return err
		}
		return tx.db.NewRaw(`SELECT account_id || ': ' || fault FROM audit_faults() LIMIT ?`, limit).Scan(ctx, &faults)
	})
	return faults, translate(err)
}

// takeTime lets the statements of a transaction run for as long as their context: no request waits for them.
func (s *Store) takeTime(ctx context.Context) error {
	_, err := s.db.NewRaw(`SELECT set_config('statement_timeout', '0', true)`).Exec(ctx)
	return err
}

// pruneBatch bounds one transaction of PruneEvents: how many accounts it shortens the log of.
const pruneBatch = 5000

// PruneEvents removes the events from before a moment, and records that it did: the only way in which anything leaves the audit
// log. Of each account a beginning goes, so that the rest has no gap. It goes through the accounts once, however many there are,
// and returns how many events it removed.
func (s *Store) PruneEvents(ctx context.Context, before time.Time) (removed int64, err error) {
	after := uuid.Nil
	for {
		n, last, err := s.pruneEvents(ctx, before, after)
		if removed += n; err != nil || last == nil {
			return removed, err
		}
		after = *last
	}
}

// pruneEvents shortens the log of the first accounts after one, and returns the last of them, nil when there was none.
func (s *Store) pruneEvents(ctx context.Context, before time.Time, after uuid.UUID) (removed int64, last *uuid.UUID, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.takeTime(ctx); err != nil {
			return err
		}
		// In this transaction alone the trigger lets rows go.
		if _, err := tx.db.NewRaw(`SELECT set_config('gatehouse.audit_retention', 'on', true)`).Exec(ctx); err != nil {
			return err
		}
		// Heads first, in one order, as record does: nobody waits in a circle. What the log says of itself, under the zero id, stays.
		err := tx.db.NewRaw(`
			WITH heads AS (
				SELECT h.account_id, h.pruned_to FROM audit_heads h
				WHERE h.account_id > ?2 AND EXISTS (
					SELECT 1 FROM audit_events e WHERE e.account_id = h.account_id AND e.sequence = h.pruned_to + 1 AND e.at < ?0)
				ORDER BY h.account_id LIMIT ?1 FOR UPDATE),
			ends AS (
				SELECT h.account_id, max(e.sequence) AS upto FROM heads h JOIN audit_events e ON e.account_id = h.account_id
				WHERE e.sequence < coalesce((SELECT min(k.sequence) FROM audit_events k WHERE k.account_id = h.account_id AND k.at >= ?0), e.sequence + 1)
				GROUP BY h.account_id),
			marked AS (
				UPDATE audit_heads h SET pruned_to = ends.upto, pruned_until = ?0 FROM ends WHERE h.account_id = ends.account_id),
			gone AS (
				DELETE FROM audit_events e USING ends WHERE e.account_id = ends.account_id AND e.sequence <= ends.upto RETURNING 1)
			SELECT (SELECT count(*) FROM gone), (SELECT account_id FROM heads ORDER BY account_id DESC LIMIT 1)`,
			before, pruneBatch, after).Scan(ctx, &removed, &last)
		if err != nil || removed == 0 {
			return err
		}
		return tx.record(ctx, uuid.Nil, account.EventAuditPruned, map[string]any{"before": before.UTC(), "events": removed})
	})
	return removed, last, translate(err)
}
