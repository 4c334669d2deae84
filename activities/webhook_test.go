package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/secret"
	"gatehouse/providers/webhook"
	"gatehouse/store"
)

// hooks are a receiver. Without an answer it takes everything.
type hooks struct {
	mutex  sync.Mutex
	calls  []webhook.Call
	answer func() (webhook.Answer, error)
}

func (h *hooks) Post(_ context.Context, c webhook.Call) (webhook.Answer, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.calls = append(h.calls, c)
	if h.answer != nil {
		return h.answer()
	}
	return webhook.Answer{Status: 204}, nil
}

// hookMeter keeps what is counted of webhooks.
type hookMeter struct {
	activities.Meter
	states []account.WebhookState
	alerts []string
}

func (m *hookMeter) Hooked(state account.WebhookState) { m.states = append(m.states, state) }

func (m *hookMeter) Alerted(alert string) { m.alerts = append(m.alerts, alert) }

var eventAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// webhookBench has a receiver with one event that is owed to it.
func webhookBench(t *testing.T) (b *bench, h *hooks, endpoint uuid.UUID, made string, owed activities.WebhookInput) {
	t.Helper()
	b, h = newBench(t), &hooks{}
	b.Webhooks, b.Clock = h, account.SystemClock{}
	b.WebhookRules = account.WebhookRules{Retries: []time.Duration{time.Minute, time.Hour}, DisableAfter: 24 * time.Hour}
	endpoint, made = uuid.New(), secret.NewWebhookSecret()
	require.NoError(t, b.Store.AddWebhookEndpoint(t.Context(), store.NewWebhookEndpoint{
		ID: endpoint, URL: "https://hooks.example.com/in", Events: []string{"*"}, Secret: b.Keys.SealWebhookSecret(endpoint, made),
	}))
	return b, h, endpoint, made, b.oweWebhook(t)
}

func (b *bench) oweWebhook(t *testing.T) activities.WebhookInput {
	t.Helper()
	require.NoError(t, b.Store.Tell(t.Context(), account.WebhookEvent{
		Type: "subscription.renewed", Data: map[string]any{"subscription_id": "sub_1"}, At: eventAt,
	}))
	due, err := b.Store.ClaimWebhooks(t.Context(), 50, 50)
	require.NoError(t, err)
	require.Len(t, due, 1)
	return activities.WebhookInput{DeliveryID: due[0].ID}
}

func TestSendWebhook_Delivers(t *testing.T) {
	t.Parallel()
	b, h, endpoint, made, owed := webhookBench(t)
	counted := &hookMeter{}
	b.Meter = counted
	next := secret.NewWebhookSecret()
	require.NoError(t, b.Store.RotateWebhookSecret(t.Context(), endpoint, b.Keys.SealWebhookSecret(endpoint, next), time.Hour))
	tried, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookDelivered, tried.State)
	require.Equal(t, 1, tried.Try)
	require.Len(t, h.calls, 1)
	call := h.calls[0]
	require.Equal(t, "https://hooks.example.com/in", call.URL)
	require.Equal(t, account.WebhookID(tried.EventID), call.ID)
	require.Equal(t, []string{next, made}, call.Secrets)
	require.JSONEq(t, `{"type":"subscription.renewed","timestamp":"2026-03-01T12:00:00Z","data":{"subscription_id":"sub_1"}}`, string(call.Body))
	require.WithinDuration(t, time.Now(), call.At, time.Minute)

	again, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, activities.WebhookTried{State: account.WebhookDelivered}, again)
	require.Len(t, h.calls, 1, "what was delivered is not sent again")
	require.Equal(t, []account.WebhookState{account.WebhookDelivered}, counted.states)
}

func TestSendWebhook_ScheduleAndEnd(t *testing.T) {
	t.Parallel()
	b, h, _, _, owed := webhookBench(t)
	h.answer = func() (webhook.Answer, error) { return webhook.Answer{Status: 503, RetryAfter: 10 * time.Minute}, nil }
	first, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookWaiting, first.State)
	require.Equal(t, "webhook: answered 503", first.Reason)
	require.GreaterOrEqual(t, first.Wait, 10*time.Minute, "Retry-After is longer than our own wait")
	require.LessOrEqual(t, first.Wait, 11*time.Minute, "and a tenth")
	h.answer = func() (webhook.Answer, error) { return webhook.Answer{}, errors.New("webhook: connection refused") }
	second, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, "webhook: connection refused", second.Reason)
	require.GreaterOrEqual(t, second.Wait, time.Hour)
	third, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookDead, third.State)
	require.Zero(t, third.Wait)
	require.Equal(t, h.calls[0].ID, h.calls[2].ID)
	require.Equal(t, h.calls[0].Body, h.calls[2].Body)
}

func TestSendWebhook_GoneDisables(t *testing.T) {
	t.Parallel()
	b, h, endpoint, _, owed := webhookBench(t)
	h.answer = func() (webhook.Answer, error) { return webhook.Answer{Status: 410}, nil }
	counted := &hookMeter{}
	b.Meter = counted
	tried, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookOwed, tried.State)
	held, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, activities.WebhookTried{State: account.WebhookOwed}, held)
	require.Len(t, h.calls, 1)
	require.Equal(t, []string{account.AlertWebhookDisabled}, counted.alerts, "once")
	require.NoError(t, b.Store.RemoveWebhookEndpoint(t.Context(), endpoint))
	gone, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, activities.WebhookTried{}, gone)
}

// Removed while the receiver is being asked.
func TestSendWebhook_RemovedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, status := range []int{204, 500} {
		b, h, endpoint, _, owed := webhookBench(t)
		h.answer = func() (webhook.Answer, error) {
			return webhook.Answer{Status: status}, b.Store.RemoveWebhookEndpoint(t.Context(), endpoint)
		}
		_, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
		require.NoError(t, err)
	}
}

// A secret that does not open is our fault: the receiver does not fail by it.
func TestSendWebhook_WrongKey(t *testing.T) {
	t.Parallel()
	b, h, endpoint, _, owed := webhookBench(t)
	right := b.Keys
	wrong, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	b.Keys = wrong
	_, err = run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.Error(t, err)
	require.Empty(t, h.calls)
	e, err := b.Store.WebhookEndpoint(t.Context(), endpoint)
	require.NoError(t, err)
	require.Nil(t, e.FailingSince)
	b.Keys = right
	tried, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookDelivered, tried.State)
	require.Equal(t, 1, tried.Try, "our fault uses up no try")
}

func TestDropWebhook(t *testing.T) {
	t.Parallel()
	b, h, _, _, owed := webhookBench(t)
	for range 2 {
		_, err := b.env.ExecuteActivity(b.DropWebhook, owed)
		require.NoError(t, err)
	}
	tried, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	require.Equal(t, account.WebhookDead, tried.State)
	require.Empty(t, h.calls)
}

// What a flow keeps of an attempt has no address, no secret and no data of the event.
func TestWebhookTried_HoldsIdsAlone(t *testing.T) {
	t.Parallel()
	b, h, _, made, owed := webhookBench(t)
	h.answer = func() (webhook.Answer, error) { return webhook.Answer{}, errors.New("webhook: connection refused") }
	tried, err := run[activities.WebhookTried](b, b.SendWebhook, owed)
	require.NoError(t, err)
	kept, err := json.Marshal(tried)
	require.NoError(t, err)
	for _, hidden := range []string{"hooks.example.com", made, "sub_1"} {
		require.NotContains(t, string(kept), hidden)
	}
}
