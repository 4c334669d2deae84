package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

const (
	// webhookLease is how long whoever takes a delivery may take to start it.
	webhookLease = `interval '1 minute'`
	// webhookStuck is how long an attempt counts as under way, webhookLost after how long a delivery has no flow any more.
	webhookStuck = `interval '2 minutes'`
	webhookLost  = `interval '1 hour'`
)

// ClaimWebhooks takes deliveries that are owed to enabled receivers, oldest first, for the caller to start within a minute:
// as many as leave no more than atOnce under way to a receiver, and atOnceFailing to one that fails. Callers share the work;
// two at the same moment may exceed those bounds once.
func (s *Store) ClaimWebhooks(ctx context.Context, atOnce, atOnceFailing int) ([]account.WebhookDelivery, error) {
	var rows []struct {
		ID, EndpointID uuid.UUID
		Type           string
		AccountID      *uuid.UUID
	}
	err := s.db.NewRaw(`
		UPDATE webhook_deliveries d SET leased_until = now() + `+webhookLease+`
		FROM webhook_events v, (
			SELECT c.id FROM webhook_endpoints e CROSS JOIN LATERAL (
				SELECT w.id FROM webhook_deliveries w
				WHERE w.endpoint_id = e.id AND w.state = 'owed' AND w.leased_until <= now()
				ORDER BY w.created_at
				LIMIT greatest(0, CASE WHEN e.failing_since IS NULL THEN ? ELSE ? END - (
					SELECT count(*) FROM webhook_deliveries b WHERE b.endpoint_id = e.id AND (
						b.state = 'sending' AND b.updated_at > now() - `+webhookStuck+` OR b.state = 'owed' AND b.leased_until > now())))
				FOR UPDATE SKIP LOCKED) c
			WHERE e.disabled_at IS NULL) due
		WHERE d.id = due.id AND v.id = d.event_id
		RETURNING d.id, d.endpoint_id, v.type, v.account_id`, atOnce, atOnceFailing).Scan(ctx, &rows)
	all := make([]account.WebhookDelivery, len(rows))
	for i, r := range rows {
		all[i] = account.WebhookDelivery{ID: r.ID, EndpointID: r.EndpointID, Type: r.Type}
		if r.AccountID != nil {
			all[i].AccountID = *r.AccountID
		}
	}
	return all, translate(err)
}

// WebhookAttempt is one attempt to tell a receiver something.
type WebhookAttempt struct {
	DeliveryID uuid.UUID
	EndpointID uuid.UUID
	URL        string
	// Secret is sealed, and so is Former: nil unless the secret was changed lately.
	Secret, Former []byte
	EventID        uuid.UUID
	Type           string
	Data           json.RawMessage
	At             time.Time
	// Try counts the attempts since the delivery was owed that the receiver failed, this one included: from 1 on.
	Try int
}

// BeginWebhook notes an attempt before it is made. It is one of the schedule's tries once WebhookFailed has recorded its
// failure: what we could not finish ourselves uses none up. It returns account.ErrNotFound when there is none to make: the
// delivery has ended, or its receiver is disabled or gone.
func (s *Store) BeginWebhook(ctx context.Context, delivery uuid.UUID) (WebhookAttempt, error) {
	t := WebhookAttempt{DeliveryID: delivery}
	err := s.db.NewRaw(`
		UPDATE webhook_deliveries d SET state = 'sending', attempts = attempts + 1, next_try_at = NULL, updated_at = now()
		FROM webhook_endpoints e, webhook_events v
		WHERE d.id = ? AND d.state IN ('owed', 'sending', 'waiting') AND e.id = d.endpoint_id AND e.disabled_at IS NULL AND v.id = d.event_id
		RETURNING e.id, e.url, e.secret, CASE WHEN e.former_until > now() THEN e.former_secret END, v.id, v.type, v.data, v.occurred_at, d.tries + 1`,
		delivery).Scan(ctx, &t.EndpointID, &t.URL, &t.Secret, &t.Former, &t.EventID, &t.Type, &t.Data, &t.At, &t.Try)
	return t, translate(err)
}

// HoldWebhook has a delivery wait for its receiver to be enabled, unless it has ended, and returns how it stands. It returns
// account.ErrNotFound when it is gone.
func (s *Store) HoldWebhook(ctx context.Context, delivery uuid.UUID) (account.WebhookState, error) {
	var state account.WebhookState
	err := s.db.NewRaw(`
		UPDATE webhook_deliveries SET updated_at = now(),
			state = CASE WHEN state IN ('sending', 'waiting') THEN 'owed' ELSE state END,
			leased_until = CASE WHEN state IN ('sending', 'waiting') THEN '-infinity' ELSE leased_until END
		WHERE id = ? RETURNING state`, delivery).Scan(ctx, &state)
	return state, translate(err)
}

// WebhookDelivered records that a receiver took an event: it fails no more.
func (s *Store) WebhookDelivered(ctx context.Context, t WebhookAttempt, status int) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// The receiver first, as everywhere.
		_, err := tx.db.NewRaw(`UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL`, t.EndpointID).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			UPDATE webhook_deliveries SET state = 'delivered', delivered_at = now(), last_status = ?, last_error = NULL, updated_at = now()
			WHERE id = ?`, status, t.DeliveryID).Exec(ctx)
		return err
	})
}

// WebhookFailure is an attempt that failed.
type WebhookFailure struct {
	// Status is that of the answer, 0 without one. Reason says in words of ours what went wrong.
	Status int
	Reason string
	// Wait is how long until the next attempt; a dead delivery has none.
	Wait time.Duration
	Dead bool
	// Gone disables the receiver at once.
	Gone bool
}

// WebhookFailed records that an attempt failed, and when the next one is made. A receiver that has failed for disableAfter
// without one success is disabled; then, or when it was disabled before, the delivery waits for it. It returns how the
// delivery stands, and why this attempt has disabled the receiver, empty if it has not.
func (s *Store) WebhookFailed(ctx context.Context, t WebhookAttempt, f WebhookFailure, disableAfter time.Duration) (
	state account.WebhookState, disabled account.WebhookDisabled, err error,
) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		state, disabled = account.WebhookWaiting, ""
		if f.Dead {
			state = account.WebhookDead
		}
		var off bool
		if off, disabled, err = tx.noteFailing(ctx, t.EndpointID, f.Gone, disableAfter); err != nil {
			return err
		}
		if off {
			state = account.WebhookOwed
		}
		res, err := tx.db.NewRaw(`
			UPDATE webhook_deliveries SET state = ?0, tries = tries + 1, last_status = nullif(?1, 0), last_error = ?2, updated_at = now(),
				leased_until = '-infinity', next_try_at = CASE WHEN ?0 = 'waiting' THEN now() + ?3 * interval '1 second' END
			WHERE id = ?4 AND state = 'sending'`, state, f.Status, f.Reason, seconds(f.Wait), t.DeliveryID).Exec(ctx)
		return touched(res, err)
	})
	return state, disabled, translate(err)
}

// noteFailing notes that a receiver fails, and reports whether it is disabled, and why if that is new.
func (s *Store) noteFailing(ctx context.Context, endpoint uuid.UUID, gone bool, disableAfter time.Duration) (
	off bool, why account.WebhookDisabled, err error,
) {
	if off, err = s.isDisabled(ctx, endpoint); err != nil || off {
		return off, "", err
	}
	err = s.db.NewRaw(`
		UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, now()) WHERE id = ?
		RETURNING CASE WHEN ? THEN 'gone' WHEN failing_since < now() - ? * interval '1 second' THEN 'failing' ELSE '' END`,
		endpoint, gone, seconds(disableAfter)).Scan(ctx, &why)
	if err != nil || why == "" {
		return false, "", translate(err)
	}
	return true, why, s.DisableWebhookEndpoint(ctx, endpoint, why)
}

// DropWebhook gives a delivery up that has not ended, because an operator has canceled its flow.
func (s *Store) DropWebhook(ctx context.Context, delivery uuid.UUID) error {
	_, err := s.db.NewRaw(`
		UPDATE webhook_deliveries SET state = 'dead', last_error = 'canceled by an operator', next_try_at = NULL, updated_at = now()
		WHERE id = ? AND state IN ('owed', 'sending', 'waiting')`, delivery).Exec(ctx)
	return translate(err)
}

// reviveWebhooks has deliveries owed again whose flow is gone: it was terminated, or lost with Temporal's database.
func (s *Store) reviveWebhooks(ctx context.Context) error {
	// The condition once more outside: what is begun or ends while the statement waits for its row is left alone.
	const lost = `state IN ('sending', 'waiting') AND coalesce(next_try_at, updated_at) < now() - ` + webhookLost
	_, err := s.db.NewRaw(`
		UPDATE webhook_deliveries SET state = 'owed', leased_until = '-infinity', next_try_at = NULL, updated_at = now()
		WHERE id IN (SELECT id FROM webhook_deliveries WHERE `+lost+` LIMIT ?) AND `+lost, sweepBatch).Exec(ctx)
	return translate(err)
}

// Replay says which deliveries are owed again. Those of one event or one delivery, whatever has become of them; or those of a
// receiver since a moment that are not delivered, and with All those that are.
type Replay struct {
	// ID is that of an event or a delivery.
	ID       uuid.UUID
	Endpoint uuid.UUID
	Since    time.Time
	All      bool
}

// ReplayWebhooks has deliveries owed again, with the whole schedule of attempts, and returns how many. The receiver sees the
// same event ids. What is owed or being sent already is left alone, and what is sent meanwhile is not sent twice.
func (s *Store) ReplayWebhooks(ctx context.Context, r Replay) (int, error) {
	const again = `UPDATE webhook_deliveries SET state = 'owed', leased_until = '-infinity', tries = 0, next_try_at = NULL, updated_at = now()
		WHERE id IN (SELECT id FROM webhook_deliveries WHERE `
	var began time.Time
	if err := s.db.NewRaw(`SELECT now()`).Scan(ctx, &began); err != nil {
		return 0, translate(err)
	}
	total := 0
	for {
		query := s.db.NewRaw(again+`state IN ('delivered', 'dead', 'waiting') AND (id = ?0 OR event_id = ?0)
			AND (?1 = '00000000-0000-0000-0000-000000000000'::uuid OR endpoint_id = ?1) AND updated_at <= ?3 LIMIT ?2) AND updated_at <= ?3`,
			r.ID, r.Endpoint, sweepBatch, began)
		if r.ID == uuid.Nil {
			query = s.db.NewRaw(again+`endpoint_id = ? AND created_at >= ? AND (state IN ('dead', 'waiting') OR ? AND state = 'delivered')
				AND updated_at <= ? LIMIT ?) AND updated_at <= ?`, r.Endpoint, r.Since, r.All, began, sweepBatch, began)
		}
		res, err := query.Exec(ctx)
		if err != nil {
			return total, translate(err)
		}
		n, err := res.RowsAffected()
		total += int(n)
		if err != nil || n < sweepBatch {
			return total, translate(err)
		}
	}
}

// WebhookReport is a delivery as operators see it.
type WebhookReport struct {
	ID, EventID, EndpointID uuid.UUID
	Type                    string
	State                   account.WebhookState
	Attempts                int
	Status                  *int
	Reason                  *string
	NextTryAt, DeliveredAt  *time.Time
	CreatedAt               time.Time
}

// WebhookDeliveries returns the newest deliveries of a receiver (the zero id: of all) in a state (empty: in any), at most
// atMost. No index leads to the newest of all, nor to those in a state: it takes its time.
func (s *Store) WebhookDeliveries(ctx context.Context, endpoint uuid.UUID, state account.WebhookState, atMost int) ([]WebhookReport, error) {
	var all []WebhookReport
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.takeTime(ctx); err != nil {
			return err
		}
		return tx.db.NewRaw(`
			SELECT d.id, d.event_id, d.endpoint_id, v.type, d.state, d.attempts, d.last_status AS status, d.last_error AS reason,
				d.next_try_at, d.delivered_at, d.created_at
			FROM webhook_deliveries d JOIN webhook_events v ON v.id = d.event_id
			WHERE (?0 = '00000000-0000-0000-0000-000000000000'::uuid OR d.endpoint_id = ?0) AND (?1 = '' OR d.state = ?1)
			ORDER BY d.created_at DESC, d.id LIMIT ?2`, endpoint, state, atMost).Scan(ctx, &all)
	})
	return all, translate(err)
}
