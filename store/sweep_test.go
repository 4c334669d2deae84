package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func TestSweepRemovesWhatExpiredAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fill := func(prefix string) {
		signed := w.newcomer(t, prefix+"-unverified@example.com")
		w.session(t, signed.AccountID)
		w.park(t, account.SignupByCode, prefix+"@example.com")
		w.sent(t, account.PurposeSignup, prefix+"@example.com", nil)
		_, err := w.claim(t, prefix, "body")
		require.NoError(t, err)
		require.NoError(t, w.TakeQuota(t.Context(), []byte(prefix), hourAndDay))
		require.NoError(t, w.CountRate(t.Context(), [][]byte{[]byte(prefix)}, []account.Quota{{Max: 1, Per: time.Minute}}))
		require.NoError(t, w.LoginFailed(t.Context(), failures(5, time.Minute, []byte(prefix))))
		m := welcome
		m.Flow = prefix
		_, _, err = w.BeginMessage(t.Context(), m)
		require.NoError(t, err)
		require.NoError(t, w.PutInbox(t.Context(), account.InboxMessage{ID: uuid.New(), Channel: account.ChannelEmail, To: prefix}))
	}
	fill("old")
	verified := w.member(t, "verified@example.com")
	// Just old enough.
	for table, set := range map[string]string{
		"accounts":         "created_at = now() - interval '8 days 1 second'",
		"signup_attempts":  "expires_at = now() - interval '1 hour 1 second', closed_at = closed_at - interval '25 hours'",
		"challenges":       "created_at = now() - interval '3 days 1 second', code_expires_at = now() - interval '25 hours', link_expires_at = NULL",
		"idempotency_keys": "expires_at = now() - interval '1 second'",
		"quotas":           "expires_at = now() - interval '1 second'",
		"rate_limits":      "ends_at = now() - interval '1 second'",
		"login_throttles":  "updated_at = now() - interval '49 hours'",
		"sessions":         "expires_at = now() - interval '90 days 1 second'",
		"refresh_tokens":   "expires_at = now() - interval '25 hours'",
		"login_history":    "created_at = now() - interval '90 days 1 second'",
		"messages":         "created_at = now() - interval '90 days 1 second'",
		"dev_inbox":        "created_at = now() - interval '7 days 1 second'",
	} {
		w.exec(t, `UPDATE `+table+` SET `+set)
	}
	fill("new")

	errs := race(8, func(int) error { return w.Sweep(t.Context(), unverifiedTTL) })
	require.Equal(t, 8, winners(t, errs), "several workers may sweep at once")

	for table, left := range map[string]int{
		"accounts": 2, "signup_attempts": 2, "challenges": 1, "idempotency_keys": 1, "quotas": 1, "rate_limits": 1,
		"login_throttles": 1, "sessions": 2, "refresh_tokens": 1, "login_history": 2, "messages": 1, "dev_inbox": 1,
	} {
		require.Equal(t, left, w.count(t, table), table)
	}
	require.Equal(t, 1, w.count(t, "accounts WHERE id = $1", verified.AccountID), "a proven account is for ever")
	w.requireInvariants(t)
}

func TestSweepTakesAnyBacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO quotas (key, hits, expires_at) SELECT decode(lpad(to_hex(n), 8, '0'), 'hex'), '{}', now() - interval '1 second'
		FROM generate_series(1, 2500) n`)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Zero(t, w.count(t, "quotas"))
}

func TestSweepSparesWhatIsStillOfUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada)
	w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.message(t, welcome)
	w.exec(t, `UPDATE accounts SET created_at = now() - interval '7 days 23 hours'`)
	w.exec(t, `UPDATE challenges SET created_at = now() - interval '4 days'`)
	w.exec(t, `UPDATE signup_attempts SET closed_at = now() - interval '6 days'`)

	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))

	require.Equal(t, 1, w.count(t, "accounts"), "its flow has another hour")
	require.Equal(t, 1, w.count(t, "challenges"), "its link lives")
	require.Equal(t, 1, w.count(t, "signup_attempts"), "its registration may be asked for again")
	require.Equal(t, 1, w.count(t, "messages"), "ops may look for it")
}

// A flow that ended while its message was tried, because the code had come nevertheless, leaves a row that nobody tries again.
func TestEndAbandonedMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(step string) uuid.UUID {
		m := welcome
		m.Step = step
		return w.message(t, m)
	}
	require.NoError(t, w.MessageSent(t.Context(), begin("sent"), "smtp", ""))
	abandoned, last := begin("abandoned"), begin("last try")
	require.NoError(t, w.MessageDelayed(t.Context(), abandoned, "421", 10*time.Second))
	require.NoError(t, w.MessageDelayed(t.Context(), last, "451", 0))
	require.NoError(t, w.MessageDelayed(t.Context(), begin("told to wait"), "450", time.Hour))
	begin("killed worker")
	w.exec(t, `UPDATE messages SET updated_at = now() - interval '50 seconds', next_retry_at = next_retry_at - interval '50 seconds'`)
	begin("under way")
	errs := race(8, func(int) error { return w.EndAbandonedMessages(t.Context()) })
	require.NoError(t, errors.Join(errs...))
	states := func() map[string]string {
		all := map[string]string{}
		messages, err := w.Messages(t.Context(), store.MessageFilter{Limit: 10})
		require.NoError(t, err)
		for _, m := range messages {
			all[m.Step] = m.State
		}
		return all
	}
	require.Equal(t, map[string]string{
		"sent": "sent", "abandoned": "queued", "last try": "expired", "told to wait": "queued", "killed worker": "expired", "under way": "queued",
	}, states(), "within the time that a busy worker may take to begin a try, nothing is given up")
	w.exec(t, `UPDATE messages SET updated_at = now() - interval '2 minutes', next_retry_at = now() - interval '46 seconds' WHERE step = 'abandoned'`)
	require.NoError(t, w.EndAbandonedMessages(t.Context()))
	require.Equal(t, "expired", states()["abandoned"])
	require.NoError(t, w.MessageDelayed(t.Context(), abandoned, "421", time.Hour), "who tried it all the same says so late")
	require.Equal(t, "expired", states()["abandoned"])
	begin("abandoned")
	require.Equal(t, "queued", states()["abandoned"], "a worker that was away goes on")
}

// A backlog of an outage is worked off in batches: one statement of all of it would run into its timeout each time.
func TestEndAbandonedMessages_InBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fewAtOnce(t, "messages", "UPDATE")
	w.exec(t, `INSERT INTO messages (id, flow, step, template, channel, masked_destination, state, attempts, updated_at)
		SELECT gen_random_uuid(), 'flow/' || n, 'code', 'signup_code', 'email', 'a***@example.com', 'queued', 1, now() - interval '1 hour'
		FROM generate_series(1, 2500) n`)
	require.NoError(t, w.EndAbandonedMessages(t.Context()))
	require.Equal(t, 2500, w.count(t, `messages WHERE state = 'expired'`))
}

func TestSweepGoesOnPastAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.claim(t, "key", "body")
	require.NoError(t, err)
	w.exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '1 second'`)
	_, err = w.sql.Exec(t.Context(), `ALTER TABLE challenges RENAME TO hidden`)
	require.NoError(t, err)
	require.ErrorContains(t, w.Sweep(t.Context(), unverifiedTTL), "challenges")
	require.Zero(t, w.count(t, "idempotency_keys"))
}

// A row that is renewed at the very moment when the sweep has found it stays. Some Postgres do not see by themselves that its place
// holds another version by then, so the statement must ask again: with nothing found first, nothing else keeps the rows.
func TestSweepAsksEachRowOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, key := range []string{"expired", "renewed"} {
		_, err := w.claim(t, key, "body")
		require.NoError(t, err)
	}
	w.exec(t, `UPDATE idempotency_keys SET expires_at = now() - interval '1 second' WHERE key = 'expired'`)
	const where = "expires_at < now()"
	// As if the renewal came between the search and the removal: the search finds both.
	found := strings.Replace(store.Swept("idempotency_keys", where), "WHERE "+where+" LIMIT", "LIMIT", 1)
	w.exec(t, found)
	require.Equal(t, "renewed", one[string](t, w, `SELECT string_agg(key, ', ') FROM idempotency_keys`))
}

// An older build ends closures without emptying what it does not know of.
func TestSweep_EmptiesClosuresThatAreOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fewAtOnce(t, "closures", "UPDATE")
	gone := w.member(t, ada).AccountID
	owner := w.member(t, oldMail).AccountID
	w.move(t, owner, newMail)
	open := w.close(t, owner)
	w.exec(t, `INSERT INTO closures (id, account_id, erase_at, undone_at, former_emails)
		SELECT gen_random_uuid(), $1, now(), now(), '{former@example.com}' FROM generate_series(1, 2500)`, gone)
	w.exec(t, `INSERT INTO closures (id, account_id, erase_at, erased_at, former_emails)
		VALUES (gen_random_uuid(), $1, now() - interval '1 year', now() - interval '1 year', '{former@example.com}')`, gone)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Equal(t, open, one[uuid.UUID](t, w, `SELECT id FROM closures WHERE former_emails IS NOT NULL`), "it can be undone")
	require.Equal(t, 2502, w.count(t, "closures"))

	w.exec(t, `INSERT INTO closures (id, account_id, erase_at, undone_at) SELECT gen_random_uuid(), $1, now(), now() FROM generate_series(1, 5000)`, gone)
	_, err := w.sql.Exec(t.Context(), `ANALYZE closures`)
	require.NoError(t, err)
	plan, err := w.Explain(t.Context(), `SELECT id FROM closures WHERE `+store.UndoneOrErased+` LIMIT 1000`)
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "closures_former_idx")
}
