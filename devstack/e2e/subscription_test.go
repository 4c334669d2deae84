//go:build unix

package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	pathSubscriptions = "/v1/users/subscriptions"
	starterPlan       = "price_1RG2s1CxLzg0ytJK5K3V7hz6"
	premiumPlan       = "premium_monthly"
	visa              = "pm_card_visa"
)

func subscribe(token, plan, method string) call {
	return call{Path: pathSubscriptions, Token: token, Body: fields{"planId": plan, "paymentMethodId": method}}
}

func put(token, path string, body fields) call {
	c := call{Method: "PUT", Path: pathSubscriptions + "/" + path, Token: token}
	if body != nil {
		c.Body = body
	}
	return c
}

// payer signs somebody up.
func (s *system) payer(t *testing.T) (token, email string) {
	t.Helper()
	email = newEmail()
	return s.signUp(t, email), email
}

// subscribed is somebody who has just paid for a plan.
func (s *system) subscribed(t *testing.T, plan string) (token, id string) {
	t.Helper()
	token, _ = s.payer(t)
	return token, s.pays(t, token, plan)
}

func (s *system) pays(t *testing.T, token, plan string) (id string) {
	t.Helper()
	return s.paysBy(t, visa, token, plan)
}

// paysBy subscribes and waits for the first charge, whose outcome the answer need not await on a busy machine.
func (s *system) paysBy(t *testing.T, method, token, plan string) (id string) {
	t.Helper()
	made := s.want(t, 200, subscribe(token, plan, method)).object(t)
	require.Contains(t, []any{"active", "incomplete"}, made["status"])
	id = made["id"].(string)
	testkit.Eventually(t, patience, func() bool { return s.statusOf(t, id) != "incomplete" }, id+" to be paid")
	require.Equal(t, "active", s.statusOf(t, id))
	return id
}

func (s *system) invoices(t *testing.T, token, id string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, i := range s.want(t, 200, call{Path: pathSubscriptions + "/" + id + "/invoices", Token: token}).object(t)["invoices"].([]any) {
		all = append(all, i.(map[string]any))
	}
	return all
}

func (s *system) statusOf(t *testing.T, id string) string {
	t.Helper()
	return s.db.texts(t, `SELECT status FROM subscriptions WHERE id = $1`, id)[0]
}

// awaitStatus waits until a subscription is what its flow is about to make it.
func (s *system) awaitStatus(t *testing.T, id, status string) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool { return s.statusOf(t, id) == status }, id+" to be "+status)
}

// awaitNews waits for a mail whose subject begins so.
func (s *system) awaitNews(t *testing.T, email, subject string) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool {
		for _, m := range s.inbox(t, email) {
			if strings.HasPrefix(m.Subject, subject) {
				return true
			}
		}
		return false
	}, subject)
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_SUBSCRIPTION_DUNNING", "1s,2s")
	playAll(t, s, map[string]func(*testing.T, *system){
		"B18_B19_Subscribe":         subscribeAndSee,
		"B20_PlanAndMethod":         changePlanAndMethod,
		"B21_CancelAndUndo":         cancelAndUndo,
		"B22_B23_PauseAndUnpause":   pauseAndUnpause,
		"PAY-03_OnlyOurPrices":      onlyOurPrices,
		"PAY-09_MethodsOfOthers":    methodsOfOthers,
		"DeclinedThenAnotherMethod": declinedThenAnotherMethod,
		"Renewals":                  renewals,
		"Dunning":                   dunning,
		"ClosedAccountsPayNothing":  closedAccountsPayNothing,
		"DeactivatedAccountsPause":  deactivatedAccountsPause,
	})
}

func subscribeAndSee(t *testing.T, s *system) {
	token, email := s.payer(t)
	require.Empty(t, s.want(t, 200, call{Path: pathSubscriptions, Token: token}).object(t)["subscriptions"])
	made := s.want(t, 200, subscribe(token, premiumPlan, visa)).object(t)
	id := made["id"].(string)
	s.awaitStatus(t, id, "active")
	listed := s.want(t, 200, call{Path: pathSubscriptions, Token: token}).object(t)["subscriptions"].([]any)
	require.Len(t, listed, 1)
	found := listed[0].(map[string]any)
	require.Equal(t, []any{id, "premium", "active"}, []any{found["id"], found["plan"], found["status"]})
	details := s.want(t, 200, call{Path: pathDetails, Token: token}).object(t)["subscription"].(map[string]any)
	require.Equal(t, "premium", details["plan"])
	require.Equal(t, made["currentPeriodEnd"], details["expiresAt"].(string)[:len(time.DateOnly)])
	me := s.want(t, 200, call{Path: pathMe, Token: token}).object(t)
	require.InDelta(t, 10000+100, me["credits"].(map[string]any)["credits_balance"], 0)
	require.Equal(t, false, me["is_eligible_for_first_time_discount"])
	invoices := s.want(t, 200, call{Path: pathSubscriptions + "/" + id + "/invoices", Token: token}).object(t)["invoices"].([]any)
	require.Len(t, invoices, 1)
	require.Equal(t, "paid", invoices[0].(map[string]any)["status"])
	s.refused(t, 409, "already_subscribed", subscribe(token, starterPlan, visa))
	s.awaitNews(t, email, "Your Premium plan is paid")
	s.requireBooks(t)
}

// requireBooks checks I-08, I-09 and I-11 over everything that has happened so far.
func (s *system) requireBooks(t *testing.T) {
	t.Helper()
	for _, offenders := range []string{
		// I-08: a charge without its invoice, or of another amount.
		`SELECT count(*) FROM sandbox_charges c WHERE c.decline_code = '' AND NOT EXISTS (
			SELECT 1 FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
			WHERE t.key = c.key AND t.state = 'succeeded' AND i.amount = c.amount AND i.currency = c.currency)`,
		// I-08: a paid invoice without its charge.
		`SELECT count(*) FROM invoices i WHERE i.status = 'paid' AND i.amount > 0 AND NOT EXISTS (
			SELECT 1 FROM payment_attempts t JOIN sandbox_charges c ON c.key = t.key WHERE t.invoice_id = i.id AND c.decline_code = '')`,
		// I-11: the moves of an account add up to its balance.
		`SELECT count(*) FROM credits c WHERE c.balance <>
			(SELECT coalesce(sum(amount), 0) FROM credit_moves m WHERE m.account_id = c.account_id)`,
	} {
		s.db.eventually(t, 0, offenders)
	}
}

func changePlanAndMethod(t *testing.T, s *system) {
	token, _ := s.payer(t)
	id := s.pays(t, token, starterPlan)
	method := func() string { return s.db.texts(t, `SELECT method_id FROM subscriptions WHERE id = $1`, id)[0] }
	kept := method()
	s.refused(t, 400, "payment_declined", put(token, id, fields{"planId": premiumPlan, "paymentMethodId": "pm_card_chargeCustomerFail"}))
	require.Equal(t, kept, method(), "nothing has changed")
	preview := s.want(t, 200, call{Path: pathSubscriptions + "/" + id + "/preview?planId=premium_monthly", Token: token}).object(t)
	require.Equal(t, true, preview["immediate"])
	require.InDelta(t, 2000, preview["amount"], 2)
	up := s.want(t, 200, put(token, id, fields{"planId": premiumPlan, "prorationTime": preview["prorationTime"]})).object(t)
	require.Equal(t, "premium", up["plan"])
	invoices := s.want(t, 200, call{Path: pathSubscriptions + "/" + id + "/invoices", Token: token}).object(t)["invoices"].([]any)
	require.Equal(t, preview["amount"], invoices[0].(map[string]any)["amount"], "the price that was shown")
	down := s.want(t, 200, put(token, id, fields{"planId": starterPlan, "paymentMethodId": "pm_card_mastercard"})).object(t)
	require.Equal(t, "premium", down["plan"], "until the period ends")
	s.refused(t, 400, "invalid_request", put(token, id, fields{}))
	s.refused(t, 400, "unknown_plan", put(token, id, fields{"planId": "nonsense"}))
	s.refused(t, 404, "not_found", put(token, "sub_nonsense", fields{"planId": premiumPlan}))
	stranger, _ := s.payer(t)
	s.refused(t, 404, "not_found", put(stranger, id, fields{"planId": premiumPlan}))
	s.requireBooks(t)
}

func cancelAndUndo(t *testing.T, s *system) {
	token, email := s.payer(t)
	id := s.pays(t, token, premiumPlan)
	canceled := s.want(t, 200, put(token, id+"/cancel", nil)).object(t)
	require.Equal(t, true, canceled["cancelAtPeriodEnd"])
	require.Equal(t, "active", canceled["status"])
	s.awaitNews(t, email, "Your Premium plan ends on")
	require.Equal(t, false, s.want(t, 200, put(token, id+"/undo-cancel", nil)).object(t)["cancelAtPeriodEnd"])
	require.Equal(t, "canceled", s.want(t, 200, put(token, id+"/cancel", fields{"immediately": true})).object(t)["status"])
	s.refused(t, 409, "invalid_state", put(token, id+"/cancel", nil))
	require.NotEqual(t, id, s.pays(t, token, premiumPlan), "a new one after the end of the old")
	require.Len(t, s.want(t, 200, call{Path: pathSubscriptions, Token: token}).object(t)["subscriptions"], 2)
}

func pauseAndUnpause(t *testing.T, s *system) {
	token, _ := s.payer(t)
	id := s.pays(t, token, premiumPlan)
	require.Equal(t, "invalid_state", s.refused(t, 409, "invalid_state", put(token, id+"/unpause", nil)).code())
	require.Equal(t, "paused", s.want(t, 200, put(token, id+"/pause", nil)).object(t)["status"])
	require.Equal(t, "active", s.want(t, 200, put(token, id+"/unpause", nil)).object(t)["status"])
	s.refused(t, 400, "invalid_request", put(token, id+"/pause", fields{"resumesAt": "yesterday"}))
	s.refused(t, 400, "invalid_request", put(token, id+"/pause", fields{"resumesAt": "2020-01-01T00:00:00Z"}))
}

func onlyOurPrices(t *testing.T, s *system) {
	token, _ := s.payer(t)
	s.refused(t, 400, "unknown_plan", subscribe(token, "premium_retired", visa))
	s.refused(t, 400, "unknown_plan", subscribe(token, "free", visa))
	s.refused(t, 400, "invalid_request", subscribe(token, "", ""))
	extra := subscribe(token, premiumPlan, visa)
	extra.Body = fields{"planId": premiumPlan, "paymentMethodId": visa, "amount": 1, "price": -1, "quantity": 1e18, "currency": "xxx"}
	made := s.want(t, 200, extra).object(t)
	invoices := s.want(t, 200, call{Path: pathSubscriptions + "/" + made["id"].(string) + "/invoices", Token: token}).object(t)["invoices"].([]any)
	require.InDelta(t, 2900, invoices[0].(map[string]any)["amount"], 0)
	unproven := s.register(t, "u"+uuid.NewString()[:8], uuid.NewString()+"@example.com")
	s.refused(t, 403, "email_not_verified", subscribe(unproven, premiumPlan, visa))
	s.refused(t, 400, "invalid_request", subscribe(unproven, "", ""))
}

func methodsOfOthers(t *testing.T, s *system) {
	_, id := s.subscribed(t, premiumPlan)
	theirs := s.db.texts(t, `SELECT method_id FROM subscriptions WHERE id = $1`, id)[0]
	thief, _ := s.payer(t)
	s.refused(t, 404, "not_found", subscribe(thief, premiumPlan, theirs))
	s.refused(t, 400, "invalid_request", subscribe(thief, premiumPlan, "pm_"+uuid.NewString()))
	own := s.want(t, 200, subscribe(thief, premiumPlan, visa)).text(t, "id")
	s.refused(t, 404, "not_found", put(thief, own, fields{"paymentMethodId": theirs}))
}

func declinedThenAnotherMethod(t *testing.T, s *system) {
	token, email := s.payer(t)
	made := s.want(t, 200, subscribe(token, premiumPlan, "pm_card_chargeCustomerFail")).object(t)
	require.Equal(t, "incomplete", made["status"])
	s.awaitNews(t, email, "Your payment for the Premium plan was declined")
	details := s.want(t, 200, call{Path: pathDetails, Token: token}).object(t)["subscription"].(map[string]any)
	require.Equal(t, "free", details["plan"], "nothing is had before it is paid")
	s.refused(t, 409, "already_subscribed", subscribe(token, starterPlan, visa))
	require.Equal(t, made["id"], s.pays(t, token, premiumPlan))

	needs := s.want(t, 200, subscribe(s.signUp(t, newEmail()), premiumPlan, "pm_card_authenticationRequired")).object(t)
	require.Equal(t, "incomplete", needs["status"])
	s.requireBooks(t)
}

// secondsPlan is a plan that renews every few seconds.
func (s *system) secondsPlan(t *testing.T, seconds int) string {
	t.Helper()
	id := "seconds_" + uuid.NewString()
	s.db.change(t, `INSERT INTO plans (id, code, name, amount, interval_unit, interval_count, credits_per_month)
		VALUES ($1, 'seconds', 'Seconds', 500, 'second', $2, 10)`, id, seconds)
	return id
}

func renewals(t *testing.T, s *system) {
	token, id := s.subscribed(t, s.secondsPlan(t, 2))
	s.db.eventually(t, 1, `SELECT (count(*) >= 3)::int FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, id)
	s.want(t, 200, put(token, id+"/cancel", nil))
	s.awaitStatus(t, id, "canceled")
	s.db.eventually(t, 0, `SELECT count(*) FROM (SELECT period_start FROM invoices WHERE subscription_id = $1 GROUP BY 1 HAVING count(*) > 1) x`, id)
	paid := s.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'`, id)
	require.Equal(t, 10*paid, s.db.number(t, `SELECT sum(amount)::int FROM credit_moves WHERE kind = 'subscription'
		AND account_id = (SELECT account_id FROM subscriptions WHERE id = $1)`, id))
	s.requireBooks(t)
}

func dunning(t *testing.T, s *system) {
	token, email := s.payer(t)
	id := s.pays(t, token, s.secondsPlan(t, 2))
	s.want(t, 200, put(token, id, fields{"paymentMethodId": "pm_card_chargeCustomerFail"}))
	s.awaitStatus(t, id, "past_due")
	s.want(t, 200, call{Path: pathDetails, Token: token})
	s.awaitStatus(t, id, "canceled")
	s.awaitNews(t, email, "Your Seconds plan has ended")
	require.Equal(t, "uncollectible", s.invoices(t, token, id)[0]["status"])
	s.db.eventually(t, 3, `SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE i.subscription_id = $1 AND t.state = 'declined'`, id)
	s.requireBooks(t)
}

func closedAccountsPayNothing(t *testing.T, s *system) {
	token, id := s.subscribed(t, premiumPlan)
	s.want(t, 200, closeWith(token, fields{"password": password, "confirm": true}))
	s.awaitStatus(t, id, "canceled")
}

func deactivatedAccountsPause(t *testing.T, s *system) {
	token, id := s.subscribed(t, premiumPlan)
	s.want(t, 200, call{Method: "DELETE", Path: "/api/v1/account/deactivate", Token: token, Body: fields{"password": password}})
	s.awaitStatus(t, id, "paused")
}
