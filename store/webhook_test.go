package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const disableAfter = 5 * 24 * time.Hour

func (w world) receiver(t *testing.T, patterns ...string) uuid.UUID {
	t.Helper()
	id := uuid.New()
	require.NoError(t, w.AddWebhookEndpoint(t.Context(), store.NewWebhookEndpoint{
		ID: id, URL: "https://hooks.example.com/" + id.String(), Events: patterns, Secret: []byte("sealed " + id.String()),
	}))
	return id
}

func (w world) told(t *testing.T, eventType string) account.WebhookEvent {
	t.Helper()
	e := account.WebhookEvent{
		ID: uuid.New(), Type: eventType, AccountID: uuid.New(), Data: map[string]any{"b": 1, "a": "x"}, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	require.NoError(t, w.Tell(t.Context(), e))
	return e
}

func (w world) claimed(t *testing.T) []account.WebhookDelivery {
	t.Helper()
	all, err := w.ClaimWebhooks(t.Context(), 50, 5)
	require.NoError(t, err)
	return all
}

// owed is one delivery to a new receiver.
func (w world) owedOne(t *testing.T) (delivery, endpoint uuid.UUID) {
	t.Helper()
	endpoint = w.receiver(t, "*")
	w.told(t, "subscription.renewed")
	due := w.claimed(t)
	require.Len(t, due, 1)
	return due[0].ID, endpoint
}

func (w world) begin(t *testing.T, delivery uuid.UUID) store.WebhookAttempt {
	t.Helper()
	attempt, err := w.BeginWebhook(t.Context(), delivery)
	require.NoError(t, err)
	return attempt
}

func (w world) stateOf(t *testing.T, delivery uuid.UUID) account.WebhookState {
	t.Helper()
	return one[account.WebhookState](t, w, `SELECT state FROM webhook_deliveries WHERE id = $1`, delivery)
}

func TestTell_ReachesWhoeverWantsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.told(t, "subscription.renewed")
	require.Zero(t, w.count(t, `webhook_events`), "nobody wants it")
	all, group, exact := w.receiver(t, "*"), w.receiver(t, "account.closed", "subscription.*"), w.receiver(t, "subscription.paid")
	e := w.told(t, "subscription.renewed")
	due := w.claimed(t)
	require.Len(t, due, 2)
	for _, d := range due {
		require.Contains(t, []uuid.UUID{all, group}, d.EndpointID)
		require.Equal(t, "subscription.renewed", d.Type)
		require.Equal(t, e.AccountID, d.AccountID)
		attempt := w.begin(t, d.ID)
		require.Equal(t, e.ID, attempt.EventID)
		require.Equal(t, e.At, attempt.At)
		require.JSONEq(t, `{"a":"x","b":1}`, string(attempt.Data))
		require.Equal(t, []byte("sealed "+d.EndpointID.String()), attempt.Secret)
		require.Nil(t, attempt.Former)
		require.Equal(t, 1, attempt.Try)
	}
	require.ErrorIs(t, w.TellOne(t.Context(), uuid.New(), e), account.ErrNotFound)
	require.NoError(t, w.TellOne(t.Context(), exact, account.WebhookEvent{Type: account.WebhookPing, At: e.At}))
	due = w.claimed(t)
	require.Len(t, due, 1)
	require.Equal(t, account.WebhookDelivery{ID: due[0].ID, EndpointID: exact, Type: account.WebhookPing}, due[0])
}

func TestTell_IsOneWithTheChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.receiver(t, "*")
	refused := errors.New("refused")
	err := w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		require.NoError(t, tx.Tell(ctx, account.WebhookEvent{Type: "subscription.renewed", At: time.Now()}))
		return refused
	})
	require.ErrorIs(t, err, refused)
	require.Zero(t, w.count(t, `webhook_events`))
	require.Zero(t, w.count(t, `webhook_deliveries`))
}

func TestClaimWebhooks_LeasesAndBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow, quick := w.receiver(t, "*"), w.receiver(t, "*")
	for range 4 {
		w.told(t, "subscription.renewed")
	}
	claim := func(atOnce int) map[uuid.UUID]int {
		due, err := w.ClaimWebhooks(t.Context(), atOnce, 1)
		require.NoError(t, err)
		counts := map[uuid.UUID]int{}
		for _, d := range due {
			counts[d.EndpointID]++
		}
		return counts
	}
	require.Equal(t, map[uuid.UUID]int{slow: 2, quick: 2}, claim(2))
	require.Empty(t, claim(2), "as many as may be are under way")
	for _, d := range w.deliveriesTo(t, quick) {
		if attempt, err := w.BeginWebhook(t.Context(), d); err == nil {
			require.NoError(t, w.WebhookDelivered(t.Context(), attempt, 200))
		}
	}
	require.Empty(t, claim(2), "the slow one still has two, the quick one got everything")
	w.exec(t, `UPDATE webhook_deliveries SET leased_until = now() - interval '1 second' WHERE state = 'owed' AND leased_until > now()`)
	require.Equal(t, map[uuid.UUID]int{slow: 2}, claim(2), "nobody started them in time")

	w.exec(t, `UPDATE webhook_deliveries SET leased_until = '-infinity' WHERE state = 'owed'`)
	w.exec(t, `UPDATE webhook_endpoints SET failing_since = now() WHERE id = $1`, slow)
	require.Equal(t, map[uuid.UUID]int{slow: 1}, claim(2), "one that fails gets fewer")
	require.NoError(t, w.DisableWebhookEndpoint(t.Context(), slow, account.WebhookByOperator))
	require.Empty(t, claim(50))
	require.NoError(t, w.EnableWebhookEndpoint(t.Context(), slow))
	require.Equal(t, map[uuid.UUID]int{slow: 3}, claim(50), "what has waited")
}

func (w world) deliveriesTo(t *testing.T, endpoint uuid.UUID) []uuid.UUID {
	t.Helper()
	all, err := w.WebhookDeliveries(t.Context(), endpoint, "", 100)
	require.NoError(t, err)
	ids := make([]uuid.UUID, len(all))
	for i, d := range all {
		ids[i] = d.ID
	}
	return ids
}

func TestClaimWebhooks_Race(t *testing.T) {
	t.Parallel()
	for range *rounds {
		w := newWorld(t)
		w.receiver(t, "*")
		for range 30 {
			w.told(t, "subscription.renewed")
		}
		var mu sync.Mutex
		taken := map[uuid.UUID]int{}
		require.Equal(t, crowd, winners(t, race(crowd, func(int) error {
			due, err := w.ClaimWebhooks(t.Context(), 50, 5)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range due {
				taken[d.ID]++
			}
			return err
		})))
		require.Len(t, taken, 30)
		for id, n := range taken {
			require.Equal(t, 1, n, id)
		}
	}
}

func TestWebhook_FailsAndIsDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delivery, endpoint := w.owedOne(t)
	attempt := w.begin(t, delivery)
	state, disabled, err := w.WebhookFailed(t.Context(), attempt, store.WebhookFailure{Status: 503, Reason: "503", Wait: time.Minute}, disableAfter)
	require.NoError(t, err)
	require.Equal(t, account.WebhookWaiting, state)
	require.Empty(t, disabled)
	e, err := w.WebhookEndpoint(t.Context(), endpoint)
	require.NoError(t, err)
	require.NotNil(t, e.FailingSince)
	require.Equal(t, 1, w.count(t, `webhook_deliveries WHERE next_try_at BETWEEN now() + interval '50 seconds' AND now() + interval '61 seconds'`))

	attempt = w.begin(t, delivery)
	require.Equal(t, 2, attempt.Try)
	require.NoError(t, w.WebhookDelivered(t.Context(), attempt, 204))
	e, err = w.WebhookEndpoint(t.Context(), endpoint)
	require.NoError(t, err)
	require.Nil(t, e.FailingSince)
	all, err := w.WebhookDeliveries(t.Context(), endpoint, account.WebhookDelivered, 10)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, 2, all[0].Attempts)
	require.Equal(t, 204, *all[0].Status)
	require.Nil(t, all[0].Reason)
	_, err = w.BeginWebhook(t.Context(), delivery)
	require.ErrorIs(t, err, account.ErrNotFound, "it has ended")
	state, err = w.HoldWebhook(t.Context(), delivery)
	require.NoError(t, err)
	require.Equal(t, account.WebhookDelivered, state)
}

func TestWebhookFailed_DisablesTheReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delivery, endpoint := w.owedOne(t)
	fail := func(f store.WebhookFailure) (account.WebhookState, account.WebhookDisabled) {
		state, disabled, err := w.WebhookFailed(t.Context(), w.begin(t, delivery), f, disableAfter)
		require.NoError(t, err)
		return state, disabled
	}
	for name, c := range map[string]struct {
		f   store.WebhookFailure
		why account.WebhookDisabled
	}{
		"for failing too long": {store.WebhookFailure{Reason: "refused", Wait: time.Minute}, account.WebhookFailing},
		"for being gone":       {store.WebhookFailure{Status: 410, Reason: "410", Wait: time.Minute, Gone: true}, account.WebhookGone},
	} {
		_, disabled := fail(store.WebhookFailure{Reason: "refused", Wait: time.Minute})
		require.Empty(t, disabled, name)
		if !c.f.Gone {
			w.exec(t, `UPDATE webhook_endpoints SET failing_since = now() - interval '5 days 1 second'`)
		}
		state, disabled := fail(c.f)
		require.Equal(t, c.why, disabled, name)
		require.Equal(t, account.WebhookOwed, state, name+": it waits for the receiver")
		require.Empty(t, w.claimed(t), name)
		_, err := w.BeginWebhook(t.Context(), delivery)
		require.ErrorIs(t, err, account.ErrNotFound, name)
		e, err := w.WebhookEndpoint(t.Context(), endpoint)
		require.NoError(t, err)
		require.Equal(t, c.why, e.Disabled, name)
		require.NoError(t, w.DisableWebhookEndpoint(t.Context(), endpoint, account.WebhookByOperator))
		require.Equal(t, c.why, one[account.WebhookDisabled](t, w, `SELECT disabled_reason FROM webhook_endpoints`), name+": the first reason stays")
		require.NoError(t, w.EnableWebhookEndpoint(t.Context(), endpoint))
		require.Len(t, w.claimed(t), 1, name)
	}
	attempt := w.begin(t, delivery)
	require.NoError(t, w.DisableWebhookEndpoint(t.Context(), endpoint, account.WebhookByOperator))
	state, disabled, err := w.WebhookFailed(t.Context(), attempt, store.WebhookFailure{Reason: "refused", Dead: true}, disableAfter)
	require.NoError(t, err)
	require.Equal(t, account.WebhookOwed, state, "an operator was faster")
	require.Empty(t, disabled)
}

// A receiver that fails in a hundred attempts at once is disabled once, and one that takes an event is not.
func TestWebhookFailed_Race(t *testing.T) {
	t.Parallel()
	for range *rounds {
		w := newWorld(t)
		w.receiver(t, "*")
		for range crowd {
			w.told(t, "subscription.renewed")
		}
		due, err := w.ClaimWebhooks(t.Context(), crowd, crowd)
		require.NoError(t, err)
		require.Len(t, due, crowd)
		w.exec(t, `UPDATE webhook_endpoints SET failing_since = now() - interval '6 days'`)
		attempts := make([]store.WebhookAttempt, crowd)
		for i, d := range due {
			attempts[i] = w.begin(t, d.ID)
		}
		var mu sync.Mutex
		var reasons []account.WebhookDisabled
		require.Equal(t, crowd, winners(t, race(crowd, func(i int) error {
			_, why, err := w.WebhookFailed(t.Context(), attempts[i], store.WebhookFailure{Reason: "refused", Wait: time.Minute}, disableAfter)
			mu.Lock()
			defer mu.Unlock()
			if why != "" {
				reasons = append(reasons, why)
			}
			return err
		})))
		require.Equal(t, []account.WebhookDisabled{account.WebhookFailing}, reasons)
		require.Equal(t, 1, w.count(t, `audit_events WHERE name = 'webhook.disabled' AND details ->> 'reason' = 'failing'`))
		require.Equal(t, crowd, w.count(t, `webhook_deliveries WHERE state = 'owed'`))
	}
}

func TestReplayWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := func(state account.WebhookState) uuid.UUID {
		due := w.claimed(t)
		require.Len(t, due, 1)
		attempt := w.begin(t, due[0].ID)
		switch state {
		case account.WebhookDelivered:
			require.NoError(t, w.WebhookDelivered(t.Context(), attempt, 200))
		case account.WebhookOwed, account.WebhookSending:
		case account.WebhookWaiting, account.WebhookDead:
			_, _, err := w.WebhookFailed(t.Context(), attempt, store.WebhookFailure{Reason: "500", Status: 500, Dead: state == account.WebhookDead}, disableAfter)
			require.NoError(t, err)
		}
		require.Equal(t, state, w.stateOf(t, due[0].ID))
		return due[0].ID
	}
	endpoint := w.receiver(t, "*")
	states := map[account.WebhookState]uuid.UUID{}
	for _, state := range []account.WebhookState{account.WebhookDelivered, account.WebhookDead, account.WebhookWaiting, account.WebhookSending} {
		w.told(t, "subscription.renewed")
		states[state] = end(state)
	}
	replay := func(r store.Replay) int {
		n, err := w.ReplayWebhooks(t.Context(), r)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, replay(store.Replay{ID: uuid.New()}))
	require.Zero(t, replay(store.Replay{ID: states[account.WebhookSending]}), "it is being sent")
	require.Zero(t, replay(store.Replay{ID: states[account.WebhookDead], Endpoint: uuid.New()}))
	require.Zero(t, replay(store.Replay{Endpoint: endpoint, Since: time.Now().Add(time.Hour)}))
	require.Zero(t, replay(store.Replay{Endpoint: uuid.New(), Since: time.Now().Add(-time.Hour), All: true}))
	require.Equal(t, 2, replay(store.Replay{Endpoint: endpoint, Since: time.Now().Add(-time.Hour)}), "dead and waiting")
	require.Zero(t, replay(store.Replay{Endpoint: endpoint, Since: time.Now().Add(-time.Hour)}), "they are owed already")
	require.Equal(t, 1, replay(store.Replay{Endpoint: endpoint, Since: time.Now().Add(-time.Hour), All: true}), "delivered")
	require.Len(t, w.claimed(t), 3)
	again := w.begin(t, states[account.WebhookDead])
	require.Equal(t, 1, again.Try, "the whole schedule again")
	require.NoError(t, w.WebhookDelivered(t.Context(), again, 200))
	require.Equal(t, 1, replay(store.Replay{ID: again.EventID}), "by the id that receivers know")
}

// A receiver that takes what it is told at once is told each event once more, not for ever.
func TestReplayWebhooks_WhileTheyAreDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	endpoint := w.receiver(t, "*")
	const batch = 1000 // of the store
	w.exec(t, `INSERT INTO webhook_events (id, type, data, occurred_at) SELECT gen_random_uuid(), 'a.b', '{}', now() FROM generate_series(1, $1)`, batch)
	w.exec(t, `INSERT INTO webhook_deliveries (event_id, endpoint_id, state) SELECT id, $1, 'delivered' FROM webhook_events`, endpoint)
	for _, statement := range []string{
		`CREATE FUNCTION deliver() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.state := ''delivered''; RETURN NEW; END'`,
		`CREATE TRIGGER at_once BEFORE UPDATE ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION deliver()`,
	} {
		_, err := w.sql.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := w.ReplayWebhooks(ctx, store.Replay{Endpoint: endpoint, Since: time.Now().Add(-time.Hour), All: true})
	require.NoError(t, err)
	require.Equal(t, batch, n)
}

func TestSweep_RevivesAndForgetsWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.receiver(t, "*")
	for range 3 {
		w.told(t, "subscription.renewed")
	}
	due := w.claimed(t)
	require.Len(t, due, 3)
	sending, waiting, dead := due[0].ID, due[1].ID, due[2].ID
	w.begin(t, sending)
	for id, isDead := range map[uuid.UUID]bool{waiting: false, dead: true} {
		_, _, err := w.WebhookFailed(t.Context(), w.begin(t, id), store.WebhookFailure{Reason: "500", Wait: 10 * time.Hour, Dead: isDead}, disableAfter)
		require.NoError(t, err)
	}
	w.exec(t, `UPDATE webhook_deliveries SET updated_at = now() - interval '2 hours'`)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Equal(t, account.WebhookOwed, w.stateOf(t, sending), "its flow is gone")
	require.Equal(t, account.WebhookWaiting, w.stateOf(t, waiting), "its time has not come")
	require.Equal(t, account.WebhookDead, w.stateOf(t, dead))
	w.exec(t, `UPDATE webhook_deliveries SET next_try_at = now() - interval '2 hours' WHERE id = $1`, waiting)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Equal(t, account.WebhookOwed, w.stateOf(t, waiting))

	w.exec(t, `UPDATE webhook_events SET created_at = now() - interval '31 days'`)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Zero(t, w.count(t, `webhook_deliveries`))
}

func TestWebhookEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delivery, endpoint := w.owedOne(t)
	unknown := uuid.New()
	for _, err := range []error{
		w.RemoveWebhookEndpoint(t.Context(), unknown), w.EnableWebhookEndpoint(t.Context(), unknown),
		w.DisableWebhookEndpoint(t.Context(), unknown, account.WebhookByOperator), w.RotateWebhookSecret(t.Context(), unknown, nil, time.Hour),
	} {
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	require.NoError(t, w.RotateWebhookSecret(t.Context(), endpoint, []byte("next"), time.Hour))
	attempt := w.begin(t, delivery)
	require.Equal(t, []byte("next"), attempt.Secret)
	require.Equal(t, []byte("sealed "+endpoint.String()), attempt.Former)
	w.exec(t, `UPDATE webhook_endpoints SET former_until = now()`)
	require.Nil(t, w.begin(t, delivery).Former)

	all, err := w.WebhookEndpoints(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []string{"*"}, all[0].Events)
	require.Equal(t, map[account.WebhookState]int{account.WebhookSending: 1}, all[0].Deliveries)

	for range 2 {
		require.NoError(t, w.DisableWebhookEndpoint(t.Context(), endpoint, account.WebhookByOperator))
	}
	for range 2 {
		require.NoError(t, w.EnableWebhookEndpoint(t.Context(), endpoint))
	}
	require.NoError(t, w.RemoveWebhookEndpoint(t.Context(), endpoint))
	log, _, err := w.Events(t.Context(), store.EventPage{Limit: 20})
	require.NoError(t, err)
	var names []account.EventName
	for _, e := range log {
		if e.Details["endpoint_id"] == endpoint.String() {
			names = append(names, e.Name)
		}
	}
	require.Equal(t, []account.EventName{
		account.EventWebhookRemoved, account.EventWebhookEnabled, account.EventWebhookDisabled, account.EventWebhookRotated, account.EventWebhookAdded,
	}, names, "newest first, each change once")
	_, err = w.BeginWebhook(t.Context(), delivery)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.HoldWebhook(t.Context(), delivery)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, _, err = w.WebhookFailed(t.Context(), attempt, store.WebhookFailure{Reason: "refused"}, disableAfter)
	require.ErrorIs(t, err, account.ErrNotFound)
	require.NoError(t, w.WebhookDelivered(t.Context(), attempt, 200))
}

// millions stands for a receiver with more deliveries than one statement ends.
func (w world) millions(t *testing.T) uuid.UUID {
	t.Helper()
	endpoint := w.receiver(t, "*")
	w.exec(t, `WITH e AS (INSERT INTO webhook_events (id, type, data, occurred_at)
		SELECT gen_random_uuid(), 'subscription.renewed', '{}', now() FROM generate_series(1, 2500) RETURNING id)
		INSERT INTO webhook_deliveries (event_id, endpoint_id) SELECT id, $1 FROM e`, endpoint)
	return endpoint
}

func TestRemoveWebhookEndpoint_InBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, _ := w.owedOne(t)
	endpoint := w.millions(t)
	w.fewAtOnce(t, "webhook_deliveries", "DELETE")
	require.NoError(t, w.RemoveWebhookEndpoint(t.Context(), endpoint))
	require.Zero(t, w.count(t, `webhook_deliveries WHERE endpoint_id = $1`, endpoint))
	require.Equal(t, 1, w.count(t, `webhook_deliveries WHERE id = $1`, other))
}

// A removal that dies half-way has removed the receiver: it is told nothing more, and a repetition ends the rest.
func TestRemoveWebhookEndpoint_DiesBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delivery, endpoint := w.owedOne(t)
	w.told(t, "subscription.renewed")
	_, err := w.sql.Exec(t.Context(), `CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'died'; END $$;
		CREATE TRIGGER die BEFORE DELETE ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION die()`)
	require.NoError(t, err)
	require.Error(t, w.RemoveWebhookEndpoint(t.Context(), endpoint))
	require.Zero(t, w.count(t, `webhook_endpoints`))
	require.Equal(t, 2, w.count(t, `webhook_deliveries`))
	require.Empty(t, w.claimed(t))
	_, err = w.BeginWebhook(t.Context(), delivery)
	require.ErrorIs(t, err, account.ErrNotFound)

	_, err = w.sql.Exec(t.Context(), `DROP TRIGGER die ON webhook_deliveries`)
	require.NoError(t, err)
	require.ErrorIs(t, w.RemoveWebhookEndpoint(t.Context(), endpoint), account.ErrNotFound)
	require.Zero(t, w.count(t, `webhook_deliveries`))
}

// What operators look at reads as much as there is: the timeout of requests is none for it.
func TestWebhookReports_TakeTheirTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.owedOne(t)
	hasty, err := store.Open(store.Options{URL: w.url, Pool: 2, Application: "store-test", StatementTimeout: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = hasty.Close() })
	for name, read := range map[string]func() error{
		"endpoints": func() error {
			_, err := hasty.WebhookEndpoints(t.Context())
			return err
		},
		"deliveries": func() error {
			_, err := hasty.WebhookDeliveries(t.Context(), uuid.Nil, "", 10)
			return err
		},
	} {
		slow, err := w.sql.Begin(t.Context())
		require.NoError(t, err)
		_, err = slow.Exec(t.Context(), `LOCK TABLE webhook_deliveries`)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- read() }()
		testkit.Eventually(t, 10*time.Second, func() bool {
			return len(done) > 0 || w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
				AND now() - query_start > interval '400 milliseconds'`) > 0
		}, "the read to take longer than a request may")
		require.NoError(t, slow.Rollback(t.Context()))
		require.NoError(t, <-done, name)
	}
}

// The removal of a receiver fails nobody who writes an event at that moment.
func TestTell_WhileReceiversComeAndGo_Race(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, crowd, winners(t, race(crowd, func(i int) error {
		if i%2 == 0 {
			return w.Tell(t.Context(), account.WebhookEvent{Type: "subscription.renewed", At: time.Now()})
		}
		id := uuid.New()
		if err := w.AddWebhookEndpoint(t.Context(), store.NewWebhookEndpoint{ID: id, URL: "https://a.example", Events: []string{"*"}, Secret: []byte("x")}); err != nil {
			return err
		}
		return w.RemoveWebhookEndpoint(t.Context(), id)
	})))
	require.Empty(t, w.claimed(t))
}

// A sign-up and a life of a subscription are told as they are written down.
func TestTell_ChangesOfAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.receiver(t, "account.*")
	signed := w.member(t, "ada@example.com")
	due := w.claimed(t)
	require.Len(t, due, 1)
	require.Equal(t, "account.created", due[0].Type)
	require.Equal(t, signed.AccountID, due[0].AccountID)
	attempt := w.begin(t, due[0].ID)
	require.Equal(t, one[uuid.UUID](t, w, `SELECT id FROM audit_events WHERE account_id = $1`, signed.AccountID), attempt.EventID)
	require.NotContains(t, string(attempt.Data), "ada")
	require.Contains(t, string(attempt.Data), `"sequence": 1`)
}
