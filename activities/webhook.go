package activities

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/webhook"
	"gatehouse/store"
)

// WebhookInput names a delivery.
type WebhookInput struct {
	DeliveryID uuid.UUID
}

// WebhookTried is what became of an attempt to tell a receiver something.
type WebhookTried struct {
	// State is how the delivery stands now. It is empty where the delivery, its receiver or its event is gone, and owed where
	// the receiver is disabled.
	State account.WebhookState
	Try   int `json:",omitzero"`
	// Status is that of the receiver's answer, 0 without one; Reason says in words of ours what went wrong.
	Status int    `json:",omitzero"`
	Reason string `json:",omitempty"`
	// Wait is how long until the next attempt.
	Wait time.Duration `json:",omitzero"`
	// EventID, Type and EndpointID are for people to read.
	EventID    uuid.UUID `json:",omitzero"`
	Type       string    `json:",omitempty"`
	EndpointID uuid.UUID `json:",omitzero"`
}

// WebhookPoster hands events to receivers.
type WebhookPoster interface {
	Post(ctx context.Context, c webhook.Call) (webhook.Answer, error)
}

// SendWebhook makes one attempt to tell a receiver an event, and records what became of it. When it runs twice, the receiver
// may hear the event twice, under the same id. A failed attempt is no error: the flow waits for the next one.
func (a *Activities) SendWebhook(ctx context.Context, in WebhookInput) (WebhookTried, error) {
	attempt, err := a.Store.BeginWebhook(ctx, in.DeliveryID)
	if errors.Is(err, account.ErrNotFound) {
		return a.holdWebhook(ctx, in)
	}
	if err != nil {
		return WebhookTried{}, err
	}
	tried := WebhookTried{Try: attempt.Try, EventID: attempt.EventID, Type: attempt.Type, EndpointID: attempt.EndpointID}
	call, err := a.webhookCall(attempt)
	if err != nil {
		return WebhookTried{}, err // no fault of the receiver
	}
	answer, err := a.Webhooks.Post(ctx, call)
	if err == nil && answer.Took() {
		tried.State, tried.Status = account.WebhookDelivered, answer.Status
		return a.webhookTried(tried), a.Store.WebhookDelivered(ctx, attempt, answer.Status)
	}
	if ctx.Err() != nil {
		return WebhookTried{}, account.ErrUnavailable.Because(ctx.Err()) // our own time is over
	}
	failure := store.WebhookFailure{Status: answer.Status, Gone: answer.Status == statusGone}
	if err != nil {
		failure.Reason = err.Error()
	} else {
		failure.Reason = "webhook: answered " + strconv.Itoa(answer.Status)
	}
	wait, more := a.WebhookRules.NextTry(attempt.Try, answer.RetryAfter)
	failure.Wait, failure.Dead = wait+jitter(wait), !more
	state, disabled, err := a.Store.WebhookFailed(ctx, attempt, failure, a.WebhookRules.DisableAfter)
	if errors.Is(err, account.ErrNotFound) {
		return WebhookTried{}, nil // removed meanwhile
	}
	if err != nil {
		return WebhookTried{}, err
	}
	if disabled != "" {
		a.Log.WarnContext(ctx, "a receiver of webhooks is disabled", "alert", account.AlertWebhookDisabled, "endpoint", attempt.EndpointID, "reason", disabled)
		if a.Meter != nil {
			a.Meter.Alerted(account.AlertWebhookDisabled)
		}
	}
	tried.State, tried.Status, tried.Reason = state, failure.Status, failure.Reason
	if state == account.WebhookWaiting {
		tried.Wait = failure.Wait
	}
	return a.webhookTried(tried), nil
}

// statusGone is a receiver's wish to be told nothing any more (Standard Webhooks).
const statusGone = 410

// holdWebhook has a delivery that cannot be made wait for its receiver.
func (a *Activities) holdWebhook(ctx context.Context, in WebhookInput) (WebhookTried, error) {
	state, err := a.Store.HoldWebhook(ctx, in.DeliveryID)
	if errors.Is(err, account.ErrNotFound) {
		return WebhookTried{}, nil
	}
	return WebhookTried{State: state}, err
}

func (a *Activities) webhookCall(t store.WebhookAttempt) (webhook.Call, error) {
	call := webhook.Call{URL: t.URL, ID: account.WebhookID(t.EventID), At: a.Clock.Now()}
	for _, sealed := range [][]byte{t.Secret, t.Former} {
		if sealed == nil {
			continue
		}
		secret, err := a.Keys.OpenWebhookSecret(t.EndpointID, sealed)
		if err != nil {
			return call, err
		}
		call.Secrets = append(call.Secrets, secret)
	}
	var err error
	call.Body, err = webhook.Body(t.Type, t.At, t.Data)
	return call, err
}

// jitter keeps deliveries that failed together from coming back together.
func jitter(wait time.Duration) time.Duration {
	const tenth = 10
	return rand.N(wait/tenth + 1) //nolint:gosec // Spreads load; nothing is guessed from it.
}

func (a *Activities) webhookTried(t WebhookTried) WebhookTried {
	if a.Meter != nil {
		a.Meter.Hooked(t.State)
	}
	return t
}

// DropWebhook gives a delivery up whose flow an operator has canceled.
func (a *Activities) DropWebhook(ctx context.Context, in WebhookInput) error {
	return a.Store.DropWebhook(ctx, in.DeliveryID)
}
