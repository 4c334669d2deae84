//go:build unix

package e2e_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	temporalclient "go.temporal.io/sdk/client"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
	"gatehouse/workflows"
)

// realigned is how long it may take until a subscription is in line with its account again, once Temporal is back.
const realigned = 90 * time.Second

// reconcile runs a reconciliation to its end.
func (s *system) reconcile(t *testing.T) {
	t.Helper()
	before := s.db.number(t, `SELECT count(*) FROM reconciliations WHERE complete`)
	require.Contains(t, s.stack.Command(t, nil, "billing", "reconcile"), "started")
	testkit.Eventually(t, patience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM reconciliations WHERE complete`) > before
	}, "the reconciliation to end")
}

// findings are what the latest reconciliation has found.
func (s *system) findings(t *testing.T) []string {
	t.Helper()
	return s.db.texts(t, `SELECT kind || ' ' || subject || CASE WHEN repaired THEN ' repaired' ELSE '' END FROM billing_findings
		WHERE reconciliation_id = (SELECT id FROM reconciliations ORDER BY started_at DESC LIMIT 1) ORDER BY 1`)
}

func TestReconciliation_FindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	temporal := readTemporal(t, s.stack)
	_, sound := s.subscribed(t, premiumPlan)
	lostToken, lost := s.subscribed(t, premiumPlan)
	_, unpaid := s.subscribed(t, premiumPlan)
	keyOf := func(id string) string {
		return s.db.texts(t, `SELECT t.key FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id WHERE i.subscription_id = $1`, id)[0]
	}
	require.NoError(t, temporal.TerminateWorkflow(t.Context(), workflows.SubscriptionWorkflowID(lost), "", "a test broke it"))
	s.db.change(t, `INSERT INTO sandbox_charges (id, key, invoice_id, customer, method_id, amount, currency)
		VALUES ('ch_foreign', 'nobody/1', 'in_nobody', 'cus_nobody', 'pm_nobody', 700, 'usd')`)
	s.db.change(t, `DELETE FROM sandbox_charges WHERE key = $1`, keyOf(unpaid))
	s.db.changeMany(t, `UPDATE sandbox_charges SET created_at = created_at - interval '10 minutes'`)
	s.db.changeMany(t, `UPDATE payment_attempts SET created_at = created_at - interval '10 minutes', settled_at = settled_at - interval '10 minutes'`)

	s.reconcile(t)
	require.Equal(t, []string{"charge_missing " + keyOf(unpaid), "flow_lost " + lost + " repaired", "foreign_charge nobody/1"}, s.findings(t))
	require.Equal(t, 2, strings.Count(s.worker.Output(), `"billing_alarm"`))
	s.db.eventually(t, 1, `SELECT count(*) FROM payment_attempts WHERE key = $1 AND confirmed_at IS NOT NULL`, keyOf(sound))
	d, err := temporal.DescribeWorkflowExecution(t.Context(), workflows.SubscriptionWorkflowID(lost), "")
	require.NoError(t, err)
	require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_RUNNING, d.GetWorkflowExecutionInfo().GetStatus())
	s.want(t, http.StatusOK, put(lostToken, lost+"/cancel", nil))

	s.reconcile(t)
	require.NotContains(t, s.findings(t), "flow_lost "+lost+" repaired", "it runs again")
	require.Contains(t, s.findings(t), "foreign_charge nobody/1", "an alarm goes on until somebody has looked")
	listed := s.stack.Command(t, nil, "billing", "findings")
	require.Contains(t, listed, "ALARM\tforeign_charge\tnobody/1")
	require.Contains(t, listed, "repaired\tflow_lost\t"+lost)
}

// What a change of the account could not do to its subscriptions, because Temporal was away, is done once it is back.
func TestReconciliation_SubscriptionsFollowTheirAccounts(t *testing.T) {
	t.Parallel()
	s := &system{}
	s.stack, s.api, s.worker = stacktest.StartAll(t, stacktest.Options{Env: quick(), OwnTemporal: true})
	s.db, s.client = openDatabase(t, s.stack), newClient(s.stack.BaseURL)
	email := newEmail()
	token := s.signUp(t, email)
	id := s.pays(t, token, premiumPlan)
	deactivate := func(token string) {
		s.want(t, http.StatusOK, call{Method: "DELETE", Path: "/api/v1/account/deactivate", Token: token, Body: fields{"password": password}})
	}
	require.NoError(t, s.stack.Temporal.Stop())
	deactivate(token)
	require.Equal(t, "active", s.statusOf(t, id))
	s.stack.RestartTemporal(t)
	testkit.Eventually(t, realigned, func() bool { return s.statusOf(t, id) == "paused" }, "the pause of a deactivated account")

	require.NoError(t, s.stack.Temporal.Stop())
	s.stack.Command(t, nil, "accounts", "reactivate", email)
	require.Equal(t, "paused", s.statusOf(t, id))
	s.stack.RestartTemporal(t)
	testkit.Eventually(t, realigned, func() bool { return s.statusOf(t, id) == "active" }, "the end of the pause")

	// A closure whose flow was lost before it told the subscription.
	s.db.change(t, `UPDATE accounts SET deleted_at = now() WHERE id = (SELECT account_id FROM subscriptions WHERE id = $1)`, id)
	testkit.Eventually(t, realigned, func() bool { return s.statusOf(t, id) == "canceled" }, "the end with the account")
}

// Workers bring the schedule in line with their settings, and leave an operator's pause alone.
func TestReconciliation_TheScheduleFollowsTheSettings(t *testing.T) {
	t.Parallel()
	s := stacktest.Start(t, stacktest.Options{Env: quick()})
	keys, err := durable.NewKeyring(s.Setting("GATEHOUSE_CODEC_KEYS"))
	require.NoError(t, err)
	client, err := durable.Dial(durable.Options{
		Address: s.TemporalAddress, Namespace: s.Namespace, Keyring: keys, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	schedule := client.Temporal().ScheduleClient().GetHandle(t.Context(), workflows.ReconciliationSchedule)
	spec := func() (every, at time.Duration, paused bool) {
		d, err := schedule.Describe(t.Context())
		if err != nil || len(d.Schedule.Spec.Intervals) != 1 {
			return 0, 0, false
		}
		i := d.Schedule.Spec.Intervals[0]
		return i.Every, i.Offset, d.Schedule.State.Paused
	}
	first := s.StartWorker(t, nil)
	testkit.Eventually(t, patience, func() bool { every, at, _ := spec(); return every == 24*time.Hour && at == 3*time.Hour }, "the schedule")
	require.NoError(t, schedule.Pause(t.Context(), temporalclient.SchedulePauseOptions{Note: "by a test"}))
	first.Stop(t, patience)
	s.StartWorker(t, map[string]string{"GATEHOUSE_RECONCILE_EVERY": "1h", "GATEHOUSE_RECONCILE_AT": "90m"})
	testkit.Eventually(t, patience, func() bool { every, at, _ := spec(); return every == time.Hour && at == 30*time.Minute }, "the new schedule")
	_, _, paused := spec()
	require.True(t, paused)
}
