package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func (w world) backlog(t *testing.T) map[string]account.Backlog {
	t.Helper()
	all, err := w.Backlogs(t.Context())
	require.NoError(t, err)
	of := map[string]account.Backlog{}
	for _, b := range all {
		of[b.Of] = b
	}
	require.Len(t, of, len(all), "each kind once")
	return of
}

func TestBacklogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for of, b := range w.backlog(t) {
		require.Equal(t, account.Backlog{Of: of}, b, "an empty database owes nothing")
	}

	_, _, err := w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	sent := welcome
	sent.Step = "other"
	id, _, err := w.BeginMessage(t.Context(), sent)
	require.NoError(t, err)
	require.NoError(t, w.MessageSent(t.Context(), id, "smtp", ""))
	w.exec(t, `UPDATE messages SET created_at = now() - interval '20 minutes'`)

	owner := w.member(t, "ann@example.com").AccountID
	require.NoError(t, w.OweNotice(t.Context(), account.Notice{ID: "notice/1", AccountID: owner, Template: "password_changed"}))
	w.exec(t, `UPDATE owed_notices SET created_at = now() - interval '2 minutes'`)

	on, off, event := uuid.New(), uuid.New(), uuid.New()
	w.exec(t, `INSERT INTO webhook_endpoints (id, url, events, secret, disabled_at, disabled_reason)
		VALUES ($1, 'https://a.example', '{}', '', NULL, ''), ($2, 'https://b.example', '{}', '', now(), 'operator')`, on, off)
	w.exec(t, `INSERT INTO webhook_events (id, type, data, occurred_at) VALUES ($1, 'account.created', '{}', now())`, event)
	w.exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, updated_at) SELECT $1, e, now() - interval '6 minutes' FROM unnest($2::uuid[]) AS e`,
		event, []uuid.UUID{on, off})

	s := w.subscribed(t, "bob@example.com")
	_, err = w.BeginAttempt(t.Context(), "sandbox", s.Invoice.ID, 1, nil)
	require.NoError(t, err)
	w.exec(t, `UPDATE payment_attempts SET created_at = now() - interval '3 minutes'`)

	closing := w.member(t, "cat@example.com").AccountID
	w.due(t, w.close(t, closing), "4 minutes")
	w.exec(t, `INSERT INTO idempotency_keys (key, request_hash, expires_at) VALUES ('k', '\x00', now() - interval '5 minutes')`)

	now := w.backlog(t)
	for of, age := range map[string]time.Duration{
		"messages": 20 * time.Minute, "notices": 2 * time.Minute, "charges": 3 * time.Minute, "erasures": 4 * time.Minute, "expired": 5 * time.Minute,
		"deliveries": 6 * time.Minute, // of the two, one receiver is disabled
	} {
		require.Equal(t, int64(1), now[of].Count, of)
		require.InDelta(t, age, now[of].Oldest, float64(time.Minute), of)
	}
}

func TestBacklogs_Renewals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for email, change := range map[string]string{
		"late@example.com":   `status = 'active', period_start = now() - interval '1 month', period_end = now() - interval '6 minutes'`,
		"soon@example.com":   `status = 'trialing', period_start = now() - interval '1 month', period_end = now() + interval '6 minutes'`,
		"later@example.com":  `status = 'active', period_start = now(), period_end = now() + interval '2 hours'`,
		"retry@example.com":  `status = 'past_due', period_start = now() - interval '1 month', period_end = now() + interval '1 day', retry_at = now() - interval '1 minute'`,
		"hard@example.com":   `status = 'past_due', period_start = now() - interval '1 month', period_end = now() - interval '1 day', retry_at = NULL`,
		"paused@example.com": `status = 'paused', period_start = now() - interval '2 months', period_end = now() - interval '1 month'`,
		"over@example.com":   `status = 'canceled', ended_at = now(), period_start = now() - interval '2 months', period_end = now() - interval '1 month'`,
	} {
		w.exec(t, `UPDATE subscriptions SET `+change+` WHERE id = $1`, w.subscribed(t, email).ID)
	}
	now := w.backlog(t)
	require.Equal(t, int64(2), now["renewals"].Count, "the one that is late and the one whose retry is")
	require.InDelta(t, 6*time.Minute, now["renewals"].Oldest, float64(time.Minute))
	require.Equal(t, account.Backlog{Of: "renewals_soon", Count: 1}, now["renewals_soon"])

	counts, err := w.SubscriptionCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []account.SubscriptionCount{
		{Status: account.SubscriptionActive, Count: 2},
		{Status: account.SubscriptionPastDue, Count: 2},
		{Status: account.SubscriptionPaused, Count: 1},
		{Status: account.SubscriptionTrialing, Count: 1},
	}, counts)
}

func TestMessageCounts_ForgetWhatIsOldUnlessItWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for step, state := range map[string]store.MessageState{"a": store.MessageQueued, "b": store.MessageDead, "c": store.MessageDead} {
		m := welcome
		m.Step = step
		_, _, err := w.BeginMessage(t.Context(), m)
		require.NoError(t, err)
		require.NoError(t, w.MessageFailed(t.Context(), m.Flow, m.Step, state, "no"))
	}
	w.exec(t, `UPDATE messages SET created_at = now() - interval '2 hours' WHERE step IN ('a', 'b')`)
	counts, err := w.MessageCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []account.MessageCount{
		{Channel: account.ChannelEmail, State: "dead", Count: 1}, {Channel: account.ChannelEmail, State: "queued", Count: 1},
	}, counts)
}

func TestRace_TakeTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turns := make([]bool, 8)
	for _, err := range race(len(turns), func(i int) (err error) {
		turns[i], err = w.TakeTurn(t.Context(), "sample", time.Minute)
		return err
	}) {
		require.NoError(t, err)
	}
	var mine int
	for _, m := range turns {
		if m {
			mine++
		}
	}
	require.Equal(t, 1, mine)
	other, err := w.TakeTurn(t.Context(), "other", time.Minute)
	require.NoError(t, err)
	require.True(t, other, "turns at one thing are no turns at another")
	w.exec(t, `UPDATE quotas SET hits = ARRAY[now() - interval '61 seconds']`)
	again, err := w.TakeTurn(t.Context(), "sample", time.Minute)
	require.NoError(t, err)
	require.True(t, again)
}
