//go:build unix

package e2e_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	subscriptionsOf = `SELECT count(*) FROM subscriptions s JOIN accounts a ON a.id = s.account_id WHERE a.email = $1`
	invoicesOf      = `SELECT count(*) FROM invoices i JOIN accounts a ON a.id = i.account_id WHERE a.email = $1`
	chargesOf       = `SELECT count(*) FROM sandbox_charges c JOIN payment_attempts t ON t.key = c.key
		JOIN invoices i ON i.id = t.invoice_id JOIN accounts a ON a.id = i.account_id WHERE a.email = $1`
)

// Money, a hundred times at once over two APIs.
func TestRace_Payments(t *testing.T) { //nolint:paralleltest // one arena at a time
	race(t, map[string]func(*testing.T, *arena){
		"PAY-01_WithoutKey":                func(t *testing.T, a *arena) { subscribedOnce(t, a, "") },
		"PAY-01_WithOneKey":                func(t *testing.T, a *arena) { subscribedOnce(t, a, uuid.NewString()) },
		"PAY-01_EveryPlan":                 everyPlan,
		"PAY-01_OneUpgrade":                oneUpgrade,
		"PAY-07_OneTrialForOneCard":        oneTrial,
		"PAY-05_PauseAndCancelAtOnce_I-10": pausesAtOnce,
		"I-09_DeactivationAgainstRenewal":  deactivationAgainstRenewal,
		"I-09_ClosureAgainstRenewal":       closureAgainstRenewal,
	})
}

func subscribedOnce(t *testing.T, a *arena, key string) {
	token, email := a.payer(t)
	one := subscribe(token, premiumPlan, visa)
	one.Key = key
	answers := a.burst(t, filled(one)...)
	ids := map[any]bool{}
	for _, got := range successes(answers) {
		if got.Status == http.StatusOK {
			ids[got.object(t)["id"]] = true
		}
	}
	require.LessOrEqual(t, len(ids), 1, "%v", tally(answers))
	for status := range tally(answers) {
		require.Contains(t, []int{200, 202, 409, 503}, status)
	}
	a.see(t, effect{1, subscriptionsOf, []any{email}}, effect{1, invoicesOf, []any{email}}, effect{1, chargesOf, []any{email}})
}

// everyPlan asks for different plans and methods: one of them is had.
func everyPlan(t *testing.T, a *arena) {
	token, email := a.payer(t)
	answers := a.burst(t, filled(
		subscribe(token, premiumPlan, visa), subscribe(token, starterPlan, visa), subscribe(token, premiumPlan, "pm_card_mastercard"),
		subscribe(token, starterPlan, "pm_card_mastercard"))...)
	ids := map[any]bool{}
	for _, got := range successes(answers) {
		if got.Status == http.StatusOK {
			ids[got.object(t)["id"]] = true
		}
	}
	require.LessOrEqual(t, len(ids), 1, "%v", tally(answers))
	a.see(t, effect{1, subscriptionsOf, []any{email}}, effect{1, invoicesOf, []any{email}}, effect{1, chargesOf, []any{email}})
}

// oneUpgrade is paid once, whoever asks for it again at the same moment.
func oneUpgrade(t *testing.T, a *arena) {
	token, email := a.payer(t)
	id := a.pays(t, token, starterPlan)
	answers := a.burst(t, filled(put(token, id, fields{"planId": premiumPlan}))...)
	require.NotEmpty(t, successes(answers), "%v", tally(answers))
	for status := range tally(answers) {
		require.Contains(t, []int{200, 202, 409, 503}, status)
	}
	a.see(t, effect{2, invoicesOf, []any{email}}, effect{2, chargesOf, []any{email}})
	a.requireSerial(t, id)
}

// oneTrial is for one payer: of many accounts that ask at once with one card, one has it. Each takes its time between looking for
// the trials of others and having its own, so that all of them would look before any has one.
func oneTrial(t *testing.T, a *arena) {
	a.db.define(t, `CREATE OR REPLACE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$`)
	a.db.define(t, `CREATE OR REPLACE TRIGGER linger BEFORE INSERT ON subscriptions FOR EACH ROW
		WHEN (NEW.plan_id LIKE 'trial\_%') EXECUTE FUNCTION linger()`)
	trial := "trial_" + uuid.NewString()
	a.db.change(t, `INSERT INTO plans (id, code, name, family, amount, trial_days) VALUES ($1, 'trial', 'Trial', $1, 1900, 14)`, trial)
	var calls []call
	for range 10 {
		token, _ := a.payer(t)
		calls = append(calls, subscribe(token, trial, "pm_card_jcb"))
	}
	answers := a.burst(t, filled(calls...)...)
	for status := range tally(answers) {
		require.Contains(t, []int{200, 202, 409, 503}, status)
	}
	a.db.eventually(t, 0, `SELECT count(*) FROM subscriptions WHERE plan_id = $1 AND status NOT IN ('trialing', 'active')`, trial)
	a.see(t, effect{10, `SELECT count(*) FROM subscriptions WHERE plan_id = $1`, []any{trial}},
		effect{1, `SELECT count(*) FROM subscriptions WHERE plan_id = $1 AND trial_end IS NOT NULL`, []any{trial}})
}

// pausesAtOnce mixes what ends and holds a subscription: its versions are the order in which it happened.
func pausesAtOnce(t *testing.T, a *arena) {
	token, email := a.payer(t)
	id := a.pays(t, token, premiumPlan)
	answers := a.burst(t, filled(
		put(token, id+"/pause", nil), put(token, id+"/unpause", nil), put(token, id+"/cancel", nil), put(token, id+"/undo-cancel", nil))...)
	for status := range tally(answers) {
		require.Contains(t, []int{200, 202, 409, 503}, status)
	}
	testkit.Eventually(t, patience, func() bool {
		a.send(t, put(token, id+"/cancel", fields{"immediately": true}))
		return a.statusOf(t, id) == "canceled"
	}, "the last word")
	a.requireSerial(t, id)
	a.see(t, effect{1, invoicesOf, []any{email}}, effect{1, chargesOf, []any{email}})
}

// deactivationAgainstRenewal stops paying in the moment in which a period begins: the subscription is paused, unless its renewal
// came first and found an account that is charged no more; then it has ended.
func deactivationAgainstRenewal(t *testing.T, a *arena) {
	renewsNoMore(t, a, `'paused', 'canceled'`, func(token string) call { return deactivate(token, fields{"password": password}) })
}

func closureAgainstRenewal(t *testing.T, a *arena) {
	renewsNoMore(t, a, `'canceled'`, func(token string) call { return closeWith(token, fields{"password": password}) })
}

func renewsNoMore(t *testing.T, a *arena, ends string, end func(token string) call) {
	t.Helper()
	token, email := a.payer(t)
	id, account := a.pays(t, token, a.secondsPlan(t, 2)), a.accountID(t, email)
	const due = `SELECT (period_end - now() < interval '100 milliseconds')::int FROM subscriptions WHERE id = $1`
	testkit.Eventually(t, patience, func() bool { return a.db.number(t, due, id) == 1 }, "the end of a period")
	testkit.Eventually(t, patience, func() bool { return a.send(t, end(token)).ok() }, "the end")
	const underWay = `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id WHERE i.subscription_id = $1 AND t.state = 'pending'`
	testkit.Eventually(t, patience, func() bool { return a.db.number(t, underWay, id) == 0 }, "the charge that was under way to be in the books")
	a.requireOneChargeEach(t, id)
	// What did not get through at once a worker sees to within a minute; a charge that was under way may end meanwhile.
	a.expect(
		effect{1, `SELECT count(*) FROM subscriptions WHERE id = $1 AND status IN (` + ends + `)`, []any{id}},
		effect{
			0, `SELECT count(*) FROM sandbox_charges c JOIN payment_attempts t ON t.key = c.key JOIN invoices i ON i.id = t.invoice_id
			JOIN accounts a ON a.id = i.account_id WHERE a.id = $1 AND c.created_at > coalesce(a.deactivated_at, a.deleted_at) + interval '2 seconds'`,
			[]any{account},
		})
}
