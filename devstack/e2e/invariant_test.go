//go:build unix

package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/workflows"
)

// rule is an invariant as a query that finds who breaks it.
type rule struct{ id, says, offenders string }

// rules hold at any moment, whatever has happened. Each offender is one line that says who, without secrets.
var rules = []rule{
	// One that was refused before it had a code has no flow that could close it: the sweep removes it after an hour.
	{"I-01", "an attempt is closed when its time is over", `
		SELECT id::text FROM signup_attempts sa WHERE closed_at IS NULL AND expires_at < now() - CASE
			WHEN EXISTS (SELECT 1 FROM challenges ch WHERE ch.id = sa.id) THEN interval '60 seconds' ELSE interval '2 hours' END`},
	{"I-01", "an account is whole", `
		SELECT a.id::text FROM accounts a LEFT JOIN credits c ON c.account_id = a.id LEFT JOIN settings s ON s.account_id = a.id
			LEFT JOIN welcomes w ON w.account_id = a.id
		WHERE a.deleted_at IS NULL AND (c.account_id IS NULL OR s.account_id IS NULL OR w.account_id IS NULL)`},
	{"I-01", "an account has the password that its sign-up brought", `
		SELECT a.id::text FROM signup_attempts p JOIN accounts a ON a.id = p.account_id
		WHERE p.kind = 'code' AND p.closed_at IS NOT NULL AND NOT p.contested AND p.password_hash <> ''
			AND a.deleted_at IS NULL AND a.password_hash IS NULL`},
	{"I-02", "a code that was sent has its message", `
		SELECT c.id::text FROM challenges c WHERE c.sent_at IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM messages m WHERE m.state = 'sent' AND m.created_at >= c.created_at)`},
	{"I-02", "no code is delivered after its time", `
		SELECT id::text FROM challenges WHERE sent_at > send_by + interval '1 second'`},
	{"I-03", "a code is compared five times at most", `SELECT id::text FROM challenges WHERE attempts > 5`},
	{"I-03", "only what was proven is consumed", `
		SELECT id::text FROM challenges WHERE consumed_at IS NOT NULL AND proven_at IS NULL AND purpose NOT LIKE '%link%'
			AND token_hash IS NULL`},
	{"I-04", "a family has one live leaf", `
		SELECT session_id::text FROM refresh_tokens WHERE rotated_at IS NULL GROUP BY session_id HAVING count(*) > 1`},
	{"I-06", "an active account has a way to sign in", `
		SELECT id::text FROM accounts a WHERE deleted_at IS NULL AND deactivated_at IS NULL AND email_verified_at IS NOT NULL
			AND email IS NULL AND NOT EXISTS (SELECT 1 FROM linked_providers l WHERE l.account_id = a.id)`},
	{"I-07", "an address is of one live account", `
		SELECT min(id::text) FROM accounts WHERE deleted_at IS NULL AND email IS NOT NULL GROUP BY lower(email) HAVING count(*) > 1`},
	{"I-07", "a username is of one live account", `
		SELECT min(id::text) FROM accounts WHERE deleted_at IS NULL AND username IS NOT NULL GROUP BY lower(username) HAVING count(*) > 1`},
	{"I-07", "an id at a provider is of one live account", `
		SELECT provider || ' ' || min(l.account_id::text) FROM linked_providers l JOIN accounts a ON a.id = l.account_id
		WHERE a.deleted_at IS NULL GROUP BY provider, provider_account_id HAVING count(*) > 1`},
	{"I-08", "a charge has its invoice, of the same amount", `
		SELECT c.id FROM sandbox_charges c WHERE c.decline_code = '' AND NOT EXISTS (
			SELECT 1 FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
			WHERE t.key = c.key AND t.created_at <= c.created_at AND i.amount = c.amount AND i.currency = c.currency)`},
	{"I-08", "a paid invoice has its charge", `
		SELECT i.id FROM invoices i WHERE i.status = 'paid' AND i.amount > 0 AND (
			SELECT count(*) FROM payment_attempts t JOIN sandbox_charges c ON c.key = t.key
			WHERE t.invoice_id = i.id AND t.state = 'succeeded' AND c.decline_code = '') <> 1
			AND EXISTS (SELECT 1 FROM payment_attempts t WHERE t.invoice_id = i.id AND t.provider = 'sandbox')`},
	{"I-09", "a period is charged once", `
		SELECT subscription_id FROM invoices WHERE reason <> 'subscription_update' AND status <> 'void'
		GROUP BY subscription_id, period_start HAVING count(*) > 1`},
	{"I-09", "an invoice is charged once", `
		SELECT t.invoice_id FROM payment_attempts t JOIN sandbox_charges c ON c.key = t.key AND c.decline_code = ''
		GROUP BY t.invoice_id HAVING count(*) > 1`},
	{"I-10", "versions are a line without gaps that ends where the subscription stands", `
		SELECT s.id FROM subscriptions s WHERE s.version <> (SELECT count(*) FROM subscription_events e WHERE e.subscription_id = s.id)
			OR s.version <> (SELECT max(version) FROM subscription_events e WHERE e.subscription_id = s.id)
			OR s.status <> (SELECT status FROM subscription_events e WHERE e.subscription_id = s.id ORDER BY version DESC LIMIT 1)`},
	{"I-11", "credits add up to the balance", `
		SELECT account_id::text FROM credits c WHERE balance < 0 OR balance <> (
			SELECT coalesce(sum(amount), 0) FROM credit_moves m WHERE m.account_id = c.account_id)`},
	{"I-11", "a welcome bonus is given once", `
		SELECT account_id::text FROM welcomes w WHERE received > full_bonus OR received <> (
			SELECT coalesce(sum(amount), 0) FROM credit_moves m WHERE m.account_id = w.account_id AND m.kind = 'welcome')`},
	{"I-12", "every change is in the log of its account, once, and no log has a gap", `SELECT account_id || ': ' || fault FROM audit_faults()`},
	{"I-13", "no row is of nobody", `
		SELECT id::text FROM sessions WHERE account_id NOT IN (SELECT id FROM accounts)
		UNION ALL SELECT account_id::text FROM credits WHERE account_id NOT IN (SELECT id FROM accounts)`},
}

// settled hold once what is under way has had its time.
var settled = []rule{
	{"I-13", "owed notices are on their way", `SELECT id FROM owed_notices WHERE created_at < now() - interval '5 seconds'`},
	{"I-13", "no message waits while nothing is broken", `
		SELECT id || ' ' || template || ' of ' || flow || ' ' || step || ', ' || attempts FROM messages
		WHERE state = 'queued' AND created_at < now() - interval '5 seconds'`},
	{"I-08", "no charge is open", `SELECT key FROM payment_attempts WHERE state = 'pending' AND created_at < now() - interval '5 seconds'`},
}

// settling is how long queues may take to drain after a fault (I-17).
const settling = 2 * patience * 3

// requireInvariants checks what must hold after anything, once what is under way has come to its end.
func (s *system) requireInvariants(t testing.TB) {
	t.Helper()
	for _, r := range settled {
		stacktest.Covers(t, r.id)
		s.requireSettled(t, r)
	}
	for _, r := range rules {
		stacktest.Covers(t, r.id)
		require.Empty(t, s.db.texts(t, r.offenders), "%s: %s", r.id, r.says)
	}
	s.requireFlows(t)
}

// requireSettled says who breaks a rule if it does not come to hold.
func (s *system) requireSettled(t testing.TB, r rule) {
	t.Helper()
	var offenders []string
	defer func() {
		if t.Failed() {
			t.Logf("%s: %v", r.id, offenders)
		}
	}()
	testkit.Eventually(t, settling, func() bool {
		offenders = s.db.texts(t, r.offenders)
		return len(offenders) == 0
	}, r.id+": "+r.says)
}

// requireFlows checks I-13 and I-18 where flows live: none ended wrongly or is stuck, and whatever waits for one has it.
func (s *system) requireFlows(t testing.TB) {
	t.Helper()
	c := readTemporal(t, s.stack)
	for question, query := range map[string]string{
		"ended wrongly": `ExecutionStatus IN ('Failed', 'TimedOut', 'Terminated')`,
		"cannot go on":  `TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'`,
	} {
		testkit.Eventually(t, settling, func() bool {
			got, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: s.stack.Namespace, Query: query})
			return err == nil && got.GetCount() == 0
		}, "no flow that "+question)
	}
	const live = `SELECT id FROM subscriptions WHERE status NOT IN ('canceled', 'incomplete_expired')`
	for _, id := range s.db.texts(t, live) {
		got, err := c.DescribeWorkflowExecution(t.Context(), workflows.SubscriptionWorkflowID(id), "")
		require.NoError(t, err, "%s has no flow", id)
		if status := got.GetWorkflowExecutionInfo().GetStatus(); status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			require.NotContains(t, s.db.texts(t, live), id, "its flow is %s", status) // it may have ended meanwhile
		}
	}
	stacktest.Covers(t, "I-18")
	said, err := s.stack.TryCommand(t, nil, "flows", "replay", "--limit", "100")
	require.NoError(t, err, "the build cannot go on with what is open: %s", said)
}
