//go:build unix

package e2e_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
)

// script has the next charges of a subscription go wrong.
func (s *system) script(t *testing.T, id, kind string, delay time.Duration, times int) {
	t.Helper()
	s.db.change(t, `INSERT INTO sandbox_faults (kind, key_prefix, delay_ms, times) VALUES ($1, 'in_' || $2 || '_', $3, $4)`,
		kind, id, delay.Milliseconds(), times)
}

// payers are people with a subscription each, which renews every few seconds from now on.
func (s *system) payers(t *testing.T, n, seconds int) (tokens, ids []string) {
	t.Helper()
	plan := s.secondsPlan(t, seconds)
	for range n {
		token, _ := s.payer(t)
		tokens = append(tokens, token)
	}
	for _, token := range tokens {
		ids = append(ids, s.pays(t, token, plan))
	}
	return tokens, ids
}

// requireOneChargeEach checks I-09 in the provider's own ledger.
func (s *system) requireOneChargeEach(t *testing.T, id string) {
	t.Helper()
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM (
		SELECT i.period_start FROM sandbox_charges c JOIN invoices i ON i.id = c.invoice_id
		WHERE i.subscription_id = $1 AND i.reason <> 'subscription_update' AND c.decline_code = ''
		GROUP BY i.period_start HAVING count(*) > 1) twice`, id), "I-09: a period is charged once")
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM invoices i WHERE i.subscription_id = $1 AND (i.status = 'paid') <>
		EXISTS (SELECT 1 FROM sandbox_charges c WHERE c.invoice_id = i.id AND c.decline_code = '')`, id), "I-08")
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM invoices i WHERE i.subscription_id = $1 AND i.period_start > i.created_at
		AND i.reason <> 'subscription_update'`, id), "nobody pays ahead")
}

// stillPaying waits for one more paid period than there are, and then ends the subscription.
func (s *system) stillPaying(t *testing.T, token, id string, within time.Duration) {
	t.Helper()
	const paid = `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid' AND period_end > now()`
	testkit.Eventually(t, within, func() bool { return s.db.number(t, paid, id) == 1 }, id+" to have paid up to now")
	testkit.Eventually(t, patience, func() bool {
		return s.tolerant(t).send(t, put(token, id+"/cancel", fields{"immediately": true})).ok()
	}, "no charge to be under way")
	s.awaitStatus(t, id, "canceled")
	s.requireOneChargeEach(t, id)
}

// F-01, F-02: the worker dies before an attempt is written, before the provider is asked, after it has charged, and after the
// outcome is kept but before Temporal hears of it.
func TestFault_F01_F02_I09_WorkerKilledAtEveryStepOfARenewal(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	const beforeAttempt, beforeCharge, afterCharge, afterReport = 0, 1, 2, 3
	hang := 12 * time.Second
	s.db.define(t, `CREATE TABLE hangs (subscription_id text, op text)`)
	s.db.define(t, `CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT 1 FROM hangs h JOIN invoices i ON i.subscription_id = h.subscription_id
			WHERE i.id = NEW.invoice_id AND h.op = TG_OP) THEN PERFORM pg_sleep(12); END IF;
		RETURN NEW; END $$`)
	s.db.define(t, `CREATE TRIGGER hang_before BEFORE INSERT ON payment_attempts FOR EACH ROW EXECUTE FUNCTION hang()`)
	s.db.define(t, `CREATE CONSTRAINT TRIGGER hang_at_commit AFTER UPDATE ON payment_attempts DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION hang()`)
	tokens, ids := s.payers(t, 4, 8)
	s.db.change(t, `INSERT INTO hangs VALUES ($1, 'INSERT')`, ids[beforeAttempt])
	s.script(t, ids[beforeCharge], "wait", hang, 1)
	s.script(t, ids[afterCharge], "slow", hang, 1)
	s.db.change(t, `INSERT INTO hangs VALUES ($1, 'UPDATE')`, ids[afterReport])

	const charges = `SELECT count(*) FROM sandbox_charges c JOIN invoices i ON i.id = c.invoice_id WHERE i.subscription_id = $1`
	const pending = `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id WHERE i.subscription_id = $1 AND t.state = 'pending'`
	const asleep = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`
	s.db.eventually(t, 2, asleep)
	s.db.eventually(t, 1, pending, ids[beforeCharge])
	s.db.eventually(t, 2, charges, ids[afterCharge])
	s.db.eventually(t, 2, charges, ids[afterReport])
	require.Equal(t, 1, s.db.number(t, charges, ids[beforeAttempt]))
	require.Equal(t, 1, s.db.number(t, charges, ids[beforeCharge]))
	require.Equal(t, 1, s.db.number(t, pending, ids[afterCharge]))
	require.Equal(t, 2, s.db.number(t, asleep))
	s.worker.Kill()
	s.db.changeMany(t, `DELETE FROM hangs`)
	s.worker = s.stack.StartWorker(t, nil)

	for i, id := range ids {
		s.stillPaying(t, tokens[i], id, 2*repairPatience)
	}
	s.requireBooks(t)
}

// F-25 and F-26, and more of what a provider may do to a renewal.
func TestFault_Subscriptions(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"F-25_AnswersLost":             answersLost,
		"F-25_ChargedAndSilentForADay": silentForADay,
		"F-26_DownForADay":             downForADay,
		"F-26_FirstPaymentTooLate":     firstPaymentTooLate,
		"ClosureDuringACharge":         closureDuringACharge,
		"CancellationDuringACharge":    cancellationDuringACharge,
		"TwoWorkers":                   twoWorkers,
		"I-10_MixedRequests":           mixedRequests,
		"PAY-05_FreeRiding":            freeRiding,
		"PAY-07_FirstTimeOnce":         firstTimeOnce,
	})
}

func answersLost(t *testing.T, s *system) {
	tokens, ids := s.payers(t, 2, 6)
	s.script(t, ids[0], "lost", 0, 3)
	s.script(t, ids[1], "down", 0, 3)
	for i, id := range ids {
		s.db.eventually(t, 0, `SELECT count(*) FROM sandbox_faults WHERE key_prefix = 'in_' || $1 || '_' AND times > 0`, id)
		s.stillPaying(t, tokens[i], id, patience)
	}
	s.requireBooks(t)
}

// dayOld makes the charge without an outcome older than the provider's memory.
func (s *system) dayOld(t *testing.T, id string) {
	t.Helper()
	s.db.eventually(t, 1, `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE i.subscription_id = $1 AND t.state = 'pending'`, id)
	s.db.change(t, `UPDATE payment_attempts SET created_at = created_at - interval '26 hours' WHERE state = 'pending'
		AND invoice_id IN (SELECT id FROM invoices WHERE subscription_id = $1)`, id)
}

// The provider has charged, and never said so: a day later it is asked what it did, not to charge again.
func silentForADay(t *testing.T, s *system) {
	_, ids := s.payers(t, 1, 4)
	s.script(t, ids[0], "lost", 0, 2)
	s.dayOld(t, ids[0])
	// From now on a charge would be seen: every one is declined.
	s.db.change(t, `INSERT INTO sandbox_faults (kind, key_prefix, code, times) VALUES ('decline', 'in_' || $1 || '_3/', 'insufficient_funds', 1000)`, ids[0])
	s.db.eventually(t, 1, `SELECT (count(*) >= 2)::int FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, ids[0])
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM payment_attempts WHERE invoice_id = 'in_' || $1 || '_3'`, ids[0]))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM sandbox_charges WHERE invoice_id = 'in_' || $1 || '_3'`, ids[0]))
	s.requireOneChargeEach(t, ids[0])
}

func downForADay(t *testing.T, s *system) {
	tokens, ids := s.payers(t, 1, 4)
	s.script(t, ids[0], "down", 0, 2)
	s.dayOld(t, ids[0])
	s.stillPaying(t, tokens[0], ids[0], patience)
}

// A first payment that never got there is not taken a day later.
func firstPaymentTooLate(t *testing.T, s *system) {
	token, _ := s.payer(t)
	s.db.change(t, `INSERT INTO sandbox_faults (kind, test_id, times) VALUES ('down', 'pm_card_amex', 2)`)
	made := s.want(t, 200, subscribe(token, premiumPlan, "pm_card_amex")).object(t)
	require.Equal(t, "incomplete", made["status"])
	id := made["id"].(string)
	s.dayOld(t, id)
	s.db.eventually(t, 1, `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE i.subscription_id = $1 AND t.state = 'declined' AND t.decline_code = 'expired'`, id)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM sandbox_charges WHERE invoice_id LIKE 'in_' || $1 || '%'`, id))
	require.Equal(t, id, s.pays(t, token, premiumPlan), "another card still can")
	s.requireOneChargeEach(t, id)
}

func closureDuringACharge(t *testing.T, s *system) {
	tokens, ids := s.payers(t, 2, 4)
	s.script(t, ids[0], "slow", 4*time.Second, 1)
	s.script(t, ids[1], "down", 0, 3)
	for i, id := range ids {
		s.db.eventually(t, 1, `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
			WHERE i.subscription_id = $1 AND t.state = 'pending'`, id)
		s.want(t, 200, closeWith(tokens[i], fields{"password": password, "confirm": true}))
	}
	for _, id := range ids {
		s.awaitStatus(t, id, "canceled")
		require.Equal(t, 2, s.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, id))
		s.requireOneChargeEach(t, id)
	}
}

// A charge that was asked for is settled before anything ends; a cancellation for the end of the period waits for nothing.
func cancellationDuringACharge(t *testing.T, s *system) {
	tokens, ids := s.payers(t, 1, 10)
	s.script(t, ids[0], "slow", 5*time.Second, 1)
	s.db.eventually(t, 1, `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE i.subscription_id = $1 AND t.state = 'pending'`, ids[0])
	s.refused(t, 409, "invalid_state", put(tokens[0], ids[0]+"/cancel", fields{"immediately": true}))
	s.refused(t, 409, "invalid_state", put(tokens[0], ids[0], fields{"paymentMethodId": "pm_card_mastercard"}))
	s.refused(t, 409, "invalid_state", put(tokens[0], ids[0]+"/pause", nil))
	require.Equal(t, true, s.want(t, 200, put(tokens[0], ids[0]+"/cancel", nil)).object(t)["cancelAtPeriodEnd"])
	s.awaitStatus(t, ids[0], "canceled")
	require.Equal(t, 2, s.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, ids[0]))
	s.requireOneChargeEach(t, ids[0])
}

func twoWorkers(t *testing.T, s *system) {
	port, err := machine.FreePort()
	require.NoError(t, err)
	second := s.stack.StartWorker(t, map[string]string{"GATEHOUSE_WORKER_OPS_ADDR": machine.LoopbackAddress(port)})
	tokens, ids := s.payers(t, 10, 3)
	for _, id := range ids {
		s.db.eventually(t, 1, `SELECT (count(*) >= 3)::int FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, id)
	}
	second.Stop(t, patience)
	for i, id := range ids {
		s.stillPaying(t, tokens[i], id, repairPatience)
	}
	requireCleanLog(t, second)
}

// I-10: whatever comes at once, the subscription's versions are a series of changes of which each could follow the one before.
func mixedRequests(t *testing.T, s *system) {
	token, id := s.subscribed(t, starterPlan)
	changes := []call{
		put(token, id, fields{"planId": premiumPlan}), put(token, id, fields{"planId": starterPlan}), put(token, id+"/unpause", nil),
		put(token, id, fields{"paymentMethodId": "pm_card_mastercard"}), put(token, id, fields{"paymentMethodId": visa}), put(token, id+"/pause", nil),
	}
	s.mixed(t, id, changes)
	// To cancel what is paused is to end it at once, so this one may well end.
	s.mixed(t, id, append(changes, put(token, id+"/undo-cancel", nil), put(token, id+"/cancel", nil)))
	testkit.Eventually(t, patience, func() bool {
		s.tolerant(t).send(t, put(token, id+"/cancel", fields{"immediately": true}))
		return s.statusOf(t, id) == "canceled"
	}, "the last word")
	s.requireSerial(t, id)
	s.requireBooks(t)
	s.requireOneChargeEach(t, id)
}

// mixed sends a hundred requests at once, of every kind the same number.
func (s *system) mixed(t *testing.T, id string, kinds []call) {
	t.Helper()
	calls := make([]call, 100)
	for i := range calls {
		calls[i] = kinds[i%len(kinds)]
		calls[i].Key = uuid.NewString()
	}
	answers := burst(t, s.tolerant(t).client, calls)
	requireClean(t, answers)
	for status := range tally(answers) {
		require.Contains(t, []int{200, 202, 409, 503}, status)
	}
	require.NotEmpty(t, successes(answers), "%v", tally(answers))
	t.Logf("%v", tally(answers))
	s.requireSerial(t, id)
}

// requireSerial plays the events of a subscription in the order of their versions.
func (s *system) requireSerial(t *testing.T, id string) {
	t.Helper()
	events := s.db.texts(t, `SELECT event FROM subscription_events WHERE subscription_id = $1 ORDER BY version`, id)
	require.Len(t, events, s.db.number(t, `SELECT version FROM subscriptions WHERE id = $1`, id))
	require.Equal(t, len(events), s.db.number(t, `SELECT max(version) FROM subscription_events WHERE subscription_id = $1`, id))
	paused, leaving, changing, ended := false, false, false, false
	for i, event := range events {
		at := strconv.Itoa(i) + " " + event
		require.False(t, ended, at)
		switch event {
		case "created", "payment_declined":
		case "paid", "plan_change_scheduled":
			require.False(t, paused || changing, at)
		case "plan_change_undone": // to keep the plan is no change, paused or not
			require.False(t, changing, at)
		case "method_changed":
			require.False(t, changing, at)
		case "plan_change_started":
			require.False(t, paused || leaving || changing, at)
			changing = true
		case "plan_changed", "plan_change_declined":
			require.True(t, changing, at)
			changing = false
		case "paused":
			require.False(t, paused || leaving || changing, at)
			paused = true
		case "resumed":
			require.True(t, paused, at)
			paused = false
		case "cancellation_scheduled":
			require.False(t, paused || leaving, at)
			leaving = true
		case "cancellation_undone":
			require.True(t, leaving, at)
			leaving = false
		case "canceled":
			ended = true
		default:
			require.Fail(t, "an event that nobody asked for", at)
		}
	}
}

// PAY-05: no loop of requests brings service or credits that were not paid for.
func freeRiding(t *testing.T, s *system) {
	token, id := s.subscribed(t, starterPlan)
	began := time.Now()
	end := s.db.number(t, `SELECT extract(epoch FROM period_end)::int FROM subscriptions WHERE id = $1`, id)
	for range 5 {
		s.want(t, 200, put(token, id+"/pause", nil))
		s.want(t, 200, put(token, id+"/unpause", nil))
		s.want(t, 200, put(token, id, fields{"planId": premiumPlan}))
		s.want(t, 200, put(token, id, fields{"planId": starterPlan}))
		s.want(t, 200, put(token, id+"/cancel", nil))
		s.want(t, 200, put(token, id+"/undo-cancel", nil))
		s.want(t, 200, put(token, id, fields{"planId": premiumPlan}))
	}
	now := s.db.number(t, `SELECT extract(epoch FROM period_end)::int FROM subscriptions WHERE id = $1`, id)
	require.LessOrEqual(t, now-end, int(time.Since(began).Seconds())+1, "a pause gives no more than its own time")
	require.Equal(t, []string{"2000", "900"}, s.db.texts(t, `SELECT round(amount, -1)::text FROM invoices WHERE subscription_id = $1 ORDER BY created_at DESC`, id),
		"one upgrade is paid, once")
	account := s.db.texts(t, `SELECT account_id::text FROM subscriptions WHERE id = $1`, id)[0]
	require.LessOrEqual(t, s.db.number(t, `SELECT sum(amount)::int FROM credit_moves WHERE account_id = $1 AND kind = 'subscription'`, account), 10000)
	s.want(t, 200, put(token, id+"/cancel", fields{"immediately": true}))
	again := s.pays(t, token, starterPlan)
	require.Equal(t, 900, s.db.number(t, `SELECT amount FROM invoices WHERE subscription_id = $1`, again), "the same price as ever")
	require.LessOrEqual(t, s.db.number(t, `SELECT sum(amount)::int FROM credit_moves WHERE account_id = $1 AND kind = 'subscription'`, account), 12000)
	s.requireBooks(t)
}

// PAY-07: whoever has bought once is no first-time buyer again, and a trial is for one payer, whatever accounts the card has.
func firstTimeOnce(t *testing.T, s *system) {
	token, id := s.subscribed(t, premiumPlan)
	eligible := func(token string) any {
		return s.want(t, 200, call{Path: pathMe, Token: token}).object(t)["is_eligible_for_first_time_discount"]
	}
	require.Equal(t, false, eligible(token))
	s.want(t, 200, put(token, id+"/cancel", fields{"immediately": true}))
	require.Equal(t, false, eligible(token))
	s.pays(t, token, premiumPlan)
	require.Equal(t, false, eligible(token))

	trial := "trial_" + uuid.NewString()
	s.db.change(t, `INSERT INTO plans (id, code, name, family, amount, trial_days) VALUES ($1, 'trial', 'Trial', $1, 1900, 14)`, trial)
	first, _ := s.payer(t)
	made := s.want(t, 200, subscribe(first, trial, "pm_card_jcb")).object(t)
	require.Equal(t, "trialing", made["status"])
	s.want(t, 200, put(first, made["id"].(string)+"/cancel", fields{"immediately": true}))
	s.paysBy(t, "pm_card_jcb", first, trial) // no second trial
	second, _ := s.payer(t)
	s.paysBy(t, "pm_card_jcb", second, trial) // nor one for the same card
	third, _ := s.payer(t)
	require.Equal(t, "trialing", s.want(t, 200, subscribe(third, trial, "pm_card_diners")).object(t)["status"])
	s.requireBooks(t)
}
