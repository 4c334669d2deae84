package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func (w world) message(t *testing.T, m store.NewMessage) uuid.UUID {
	t.Helper()
	id, _, err := w.BeginMessage(t.Context(), m)
	require.NoError(t, err)
	return id
}

func TestADelayedMessageSaysWhenItIsTriedNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.message(t, welcome)
	next := func() *time.Time {
		d, err := w.Deliveries(t.Context(), welcome.Flow, "", time.Time{})
		require.NoError(t, err)
		require.Len(t, d, 1)
		return d[0].NextRetryAt
	}
	require.Nil(t, next(), "an attempt is under way")
	require.NoError(t, w.MessageDelayed(t.Context(), id, "451", 90*time.Second))
	require.InDelta(t, 90, one[float64](t, w, "SELECT extract(epoch FROM next_retry_at - now())::float8 FROM messages"), 30)
	require.NotNil(t, next())
	w.message(t, welcome)
	require.Nil(t, next(), "the next attempt has begun")
	require.NoError(t, w.MessageDelayed(t.Context(), id, "451", 0))
	require.Nil(t, next(), "no other follows")
	for name, end := range map[string]func() error{
		"sent": func() error { return w.MessageSent(t.Context(), id, "smtp", "<1>") },
		"dead": func() error {
			return w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, store.MessageDead, "550")
		},
		"dropped": func() error { return w.DropQueued(t.Context(), welcome.Flow, "wel") },
	} {
		w.exec(t, `UPDATE messages SET state = 'queued', next_retry_at = now()`)
		require.NoError(t, end())
		require.Nil(t, next(), name)
	}
}

func TestWhatWasGivenUpIsQueuedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range []store.MessageState{store.MessageDead, store.MessageExpired} {
		id := w.message(t, welcome)
		require.NoError(t, w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, state, "550"))
		again := welcome
		again.Again = true
		require.Equal(t, id, w.message(t, again), "the same row")
		require.Equal(t, "queued", one[string](t, w, "SELECT state FROM messages"))
	}
}

func TestMessagesAreFoundByAccountFlowStateAndTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := uuid.New()
	recipe := store.Recipe{Send: "mail", Input: json.RawMessage(`{"Step": "welcome"}`)}
	welcomed := welcome
	welcomed.AccountID, welcomed.Recipe = owner, recipe
	code := store.NewMessage{Flow: "signup/2", Step: "code/1", Template: "signup_code", Channel: account.ChannelEmail, Destination: ada}
	first, second := w.message(t, welcomed), w.message(t, code)
	require.NoError(t, w.MessageFailed(t.Context(), code.Flow, code.Step, store.MessageDead, "550"))
	w.exec(t, `UPDATE messages SET created_at = now() - interval '1 hour' WHERE flow = 'signup/1'`)

	list := func(f store.MessageFilter) (ids []uuid.UUID) {
		f.Limit = max(f.Limit, 1)
		found, err := w.Messages(t.Context(), f)
		require.NoError(t, err)
		for _, m := range found {
			ids = append(ids, m.ID)
		}
		return ids
	}
	require.Equal(t, []uuid.UUID{second, first}, list(store.MessageFilter{Limit: 10}), "the newest first")
	require.Equal(t, []uuid.UUID{second}, list(store.MessageFilter{Limit: 1}))
	require.Equal(t, []uuid.UUID{second}, list(store.MessageFilter{State: "dead", Limit: 9}))
	require.Equal(t, []uuid.UUID{first}, list(store.MessageFilter{Template: "welcome", Limit: 9}))
	require.Equal(t, []uuid.UUID{first}, list(store.MessageFilter{Account: &owner, Limit: 9}))
	require.Equal(t, []uuid.UUID{second}, list(store.MessageFilter{Flows: []string{"signup/2", "signup/3"}, Limit: 9}))
	require.Equal(t, []uuid.UUID{second, first}, list(store.MessageFilter{Account: &owner, Flows: []string{"signup/2"}, Limit: 9}))
	require.Equal(t, []uuid.UUID{second}, list(store.MessageFilter{Since: time.Now().Add(-time.Minute), Limit: 9}))
	stranger := uuid.New()
	require.Empty(t, list(store.MessageFilter{Account: &stranger, Limit: 9}))

	m, err := w.Message(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, owner, *m.AccountID)
	require.Equal(t, "a***@example.com", m.Masked)
	kept, err := m.Recipe()
	require.NoError(t, err)
	require.Equal(t, "mail", kept.Send)
	require.JSONEq(t, `{"Step": "welcome"}`, string(kept.Input))
	w.exec(t, `UPDATE messages SET recipe = NULL`)
	m, err = w.Message(t.Context(), first)
	require.NoError(t, err)
	_, err = m.Recipe()
	require.ErrorIs(t, err, account.ErrNotFound, "from before there were recipes")
	_, err = w.Message(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
}
