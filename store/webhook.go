package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

// Tell records an event for every receiver that wants it. In the transaction of what has happened, the two happen together
// or not at all. What nobody wants is not recorded.
func (s *Store) Tell(ctx context.Context, e account.WebhookEvent) error {
	return s.tell(ctx, e, `events && ?::text[]`, pgdialect.Array(account.WebhookPatterns(e.Type)))
}

// TellOne records an event for one receiver, whatever it wants. It returns account.ErrNotFound when there is no such receiver.
func (s *Store) TellOne(ctx context.Context, endpoint uuid.UUID, e account.WebhookEvent) error {
	if _, err := s.WebhookEndpoint(ctx, endpoint); err != nil {
		return err
	}
	return s.tell(ctx, e, `id = ?`, endpoint)
}

func (s *Store) tell(ctx context.Context, e account.WebhookEvent, where string, arg any) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("write the event %s: %w", e.Type, err)
	}
	id := e.ID
	if id == uuid.Nil {
		if id, err = uuid.NewV7(); err != nil {
			return fmt.Errorf("make the id of an event: %w", err)
		}
	}
	var owner *uuid.UUID
	if e.AccountID != uuid.Nil {
		owner = &e.AccountID
	}
	_, err = s.db.NewRaw(`
		WITH wanted AS (SELECT id FROM webhook_endpoints WHERE `+where+`),
			event AS (INSERT INTO webhook_events (id, type, account_id, data, occurred_at)
				SELECT ?::uuid, ?, ?::uuid, ?::jsonb, ? WHERE EXISTS (SELECT 1 FROM wanted) RETURNING id)
		INSERT INTO webhook_deliveries (event_id, endpoint_id) SELECT event.id, wanted.id FROM event, wanted`,
		arg, id, e.Type, owner, string(data), e.At).Exec(ctx)
	return translate(err)
}

// NewWebhookEndpoint is a receiver about to be added.
type NewWebhookEndpoint struct {
	ID          uuid.UUID
	URL         string
	Description string
	Events      []string
	// Secret is sealed.
	Secret []byte
}

// AddWebhookEndpoint adds a receiver. It is told what happens from now on.
func (s *Store) AddWebhookEndpoint(ctx context.Context, n NewWebhookEndpoint) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		_, err := tx.db.NewRaw(`INSERT INTO webhook_endpoints (id, url, description, events, secret) VALUES (?, ?, ?, ?, ?)`,
			n.ID, n.URL, n.Description, pgdialect.Array(n.Events), n.Secret).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.recordWebhook(ctx, account.EventWebhookAdded, n.ID, nil)
	})
}

// recordWebhook writes down what was done to a receiver.
func (s *Store) recordWebhook(ctx context.Context, name account.EventName, endpoint uuid.UUID, details map[string]any) error {
	all := map[string]any{"endpoint_id": endpoint}
	maps.Copy(all, details)
	return s.record(ctx, uuid.Nil, name, all)
}

const endpointColumns = `e.id, e.url, e.description, e.events, e.created_at, e.failing_since, e.disabled_at, e.disabled_reason`

func endpointTargets(e *account.WebhookEndpoint) []any {
	return []any{
		&e.ID, &e.URL, &e.Description, pgdialect.Array(&e.Events), &e.CreatedAt, &e.FailingSince, &e.DisabledAt, &e.Disabled,
	}
}

// WebhookEndpoint returns a receiver, or account.ErrNotFound.
func (s *Store) WebhookEndpoint(ctx context.Context, id uuid.UUID) (account.WebhookEndpoint, error) {
	var e account.WebhookEndpoint
	err := s.db.NewRaw(`SELECT `+endpointColumns+` FROM webhook_endpoints e WHERE e.id = ?`, id).Scan(ctx, endpointTargets(&e)...)
	return e, translate(err)
}

// EndpointReport is a receiver with the count of its deliveries that are kept, by state.
type EndpointReport struct {
	account.WebhookEndpoint
	Deliveries map[account.WebhookState]int
}

// WebhookEndpoints returns every receiver, oldest first. It reads all deliveries that are kept, for as long as that takes.
func (s *Store) WebhookEndpoints(ctx context.Context) (all []EndpointReport, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.takeTime(ctx); err != nil {
			return err
		}
		all, err = tx.endpointReports(ctx)
		return err
	})
	return all, err
}

func (s *Store) endpointReports(ctx context.Context) ([]EndpointReport, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT `+endpointColumns+`, coalesce((
			SELECT jsonb_object_agg(state, n) FROM (
				SELECT state, count(*) AS n FROM webhook_deliveries d WHERE d.endpoint_id = e.id GROUP BY state) AS counts), '{}')
		FROM webhook_endpoints e ORDER BY e.created_at, e.id`)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var all []EndpointReport
	for rows.Next() {
		var one EndpointReport
		var counts []byte
		if err := rows.Scan(append(endpointTargets(&one.WebhookEndpoint), &counts)...); err != nil {
			return nil, translate(err)
		}
		if err := json.Unmarshal(counts, &one.Deliveries); err != nil {
			return nil, fmt.Errorf("read the counts of deliveries: %w", err)
		}
		all = append(all, one)
	}
	return all, translate(rows.Err())
}

// RemoveWebhookEndpoint forgets a receiver, from then on it is told nothing, and then its deliveries, a batch at a time: what is
// under way to it ends by itself. It returns account.ErrNotFound when there is no such receiver; deliveries that an earlier removal
// has left when it died are gone then, too.
func (s *Store) RemoveWebhookEndpoint(ctx context.Context, id uuid.UUID) error {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`DELETE FROM webhook_endpoints WHERE id = ?`, id).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.recordWebhook(ctx, account.EventWebhookRemoved, id, nil)
	})
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return err
	}
	return cmp.Or(s.sweep(ctx, "webhook_deliveries", `endpoint_id = '`+id.String()+`'`), err)
}

// EnableWebhookEndpoint has a receiver told again, first of what has waited for it. It returns account.ErrNotFound when there
// is no such receiver; one that is enabled stays so.
func (s *Store) EnableWebhookEndpoint(ctx context.Context, id uuid.UUID) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		disabled, err := tx.isDisabled(ctx, id)
		if err != nil || !disabled {
			return err
		}
		_, err = tx.db.NewRaw(`
			UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = '', failing_since = NULL WHERE id = ?`, id).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.recordWebhook(ctx, account.EventWebhookEnabled, id, nil)
	})
}

// isDisabled locks a receiver and reports whether it is told nothing.
func (s *Store) isDisabled(ctx context.Context, id uuid.UUID) (disabled bool, err error) {
	err = s.db.NewRaw(`SELECT disabled_at IS NOT NULL FROM webhook_endpoints WHERE id = ? FOR NO KEY UPDATE`, id).Scan(ctx, &disabled)
	return disabled, translate(err)
}

// DisableWebhookEndpoint has a receiver told nothing until it is enabled; what happens meanwhile waits for it. It returns
// account.ErrNotFound when there is no such receiver. One that is disabled keeps its reason.
func (s *Store) DisableWebhookEndpoint(ctx context.Context, id uuid.UUID, why account.WebhookDisabled) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		disabled, err := tx.isDisabled(ctx, id)
		if err != nil || disabled {
			return err
		}
		if _, err = tx.db.NewRaw(`UPDATE webhook_endpoints SET disabled_reason = ?, disabled_at = now() WHERE id = ?`, why, id).Exec(ctx); err != nil {
			return err
		}
		return tx.recordWebhook(ctx, account.EventWebhookDisabled, id, map[string]any{"reason": why})
	})
}

// RotateWebhookSecret gives a receiver a new sealed secret; the former one signs beside it for overlap. It returns
// account.ErrNotFound when there is no such receiver.
func (s *Store) RotateWebhookSecret(ctx context.Context, id uuid.UUID, sealed []byte, overlap time.Duration) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`
			UPDATE webhook_endpoints SET former_secret = secret, former_until = now() + ? * interval '1 second', secret = ?
			WHERE id = ?`, seconds(overlap), sealed, id).Exec(ctx)
		if err := touched(res, err); err != nil {
			return err
		}
		return tx.recordWebhook(ctx, account.EventWebhookRotated, id, nil)
	})
}
