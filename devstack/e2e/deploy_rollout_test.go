//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
)

// blocked reads the history of every run, and returns how many there are and the ids of those in which a worker's code did not
// fit the history.
func blocked(t *testing.T, c *durable.Client) (runs int, ids []string) {
	t.Helper()
	list := &workflowservice.ListWorkflowExecutionsRequest{}
	for {
		var page *workflowservice.ListWorkflowExecutionsResponse
		testkit.Eventually(t, patience, func() bool { // a busy server may take longer than a call does
			var err error
			page, err = c.Temporal().ListWorkflow(t.Context(), list)
			return err == nil
		}, "a page of all runs")
		for _, run := range page.GetExecutions() {
			runs++
			id := run.GetExecution().GetWorkflowId()
			events := c.Temporal().GetWorkflowHistory(t.Context(), id, run.GetExecution().GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for events.HasNext() {
				event, err := events.Next()
				require.NoError(t, err)
				switch event.GetWorkflowTaskFailedEventAttributes().GetCause() {
				case enums.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR, enums.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE:
					ids = append(ids, id)
				}
			}
		}
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return runs, ids
		}
	}
}

// lateTask is when a task seems lost on its way to a worker or back.
const lateTask = 3 * time.Second

// tellLostTasks prints what happened to the flows of which a worker lost a task, which is what keeps those who ask waiting.
func tellLostTasks(t *testing.T, c *durable.Client) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // a clean-up
	page, err := c.Temporal().ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
	if err != nil {
		t.Logf("no flows to look at: %v", err)
		return
	}
	for _, run := range page.GetExecutions() {
		lost, lines, before := false, []string{}, (*history.HistoryEvent)(nil)
		events := c.Temporal().GetWorkflowHistory(ctx, run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId(), false,
			enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				break
			}
			kind := event.GetEventType()
			lost = lost || kind == enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT || kind == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED
			switch before.GetEventType() {
			case enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enums.EVENT_TYPE_WORKFLOW_TASK_STARTED,
				enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enums.EVENT_TYPE_ACTIVITY_TASK_STARTED:
				lost = lost || event.GetEventTime().AsTime().Sub(before.GetEventTime().AsTime()) > lateTask
			}
			before = event
			from := event.GetWorkflowTaskStartedEventAttributes().GetIdentity() + event.GetActivityTaskStartedEventAttributes().GetIdentity()
			lines = append(lines, strings.Join([]string{event.GetEventTime().AsTime().Format("05.000"), kind.String(), from}, " "))
		}
		if lost {
			t.Logf("%s:\n\t%s", run.GetExecution().GetWorkflowId(), strings.Join(lines, "\n\t"))
		}
	}
}

func count(t *testing.T, c *durable.Client, query string) int64 {
	t.Helper()
	answer, err := c.Temporal().CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	require.NoError(t, err)
	return answer.GetCount()
}

// rollout is people who sign up, subscribe and reset their password one after the other, payers whose subscriptions renew every
// few seconds, and the journal of what they were told.
type rollout struct {
	*load
	s           *system
	tokens, ids []string
	// bought are the subscriptions that were answered, renewed the addresses whose new password was.
	bought  []string
	renewed []string
	// others is how many accounts the test has made beside those of the load.
	others int
	stop   context.CancelFunc
}

func (s *system) underLoad(t *testing.T, c *client, users int) *rollout {
	t.Helper()
	r := &rollout{load: &load{c: c, db: s.db}, s: s}
	r.tokens, r.ids = s.payers(t, 3, 4)
	temporal := flows(t, s.stack)
	t.Cleanup(func() {
		if t.Failed() {
			tellLostTasks(t, temporal)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	r.stop = stop
	for range users {
		r.all.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				r.live(t.Context(), t)
			}
		})
	}
	return r
}

// live is what one person does.
func (r *rollout) live(ctx context.Context, t *testing.T) {
	before := r.signUp(ctx, t)
	if before == nil {
		return
	}
	order := subscribe(before.token, premiumPlan, visa)
	order.Key = rand.Text()
	bought := r.insist(ctx, t, order, http.StatusOK)
	asked := call{Path: pathForgotPassword, Key: rand.Text(), Body: fields{"email": before.email}}
	if bought == nil || r.insist(ctx, t, asked, http.StatusOK, http.StatusAccepted) == nil {
		return
	}
	token := r.mailed(ctx, t, before.email, `SELECT coalesce(max(substring(body FROM 'token=([A-Za-z0-9_-]+)')), '') FROM dev_inbox
		WHERE recipient = $1 AND subject = 'Choose a new password'`)
	body := fields{"token": token, "new_password": newPassword}
	if r.insist(ctx, t, call{Path: pathResetPassword, Key: rand.Text(), Body: body}, http.StatusOK) == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bought, r.renewed = append(r.bought, bought.text(t, "id")), append(r.renewed, before.email)
}

// end stops the load, and holds what is there to the journal.
func (r *rollout) end(t *testing.T) {
	t.Helper()
	r.stop()
	r.all.Wait()
	require.Empty(t, r.refused, "nobody was told of a fault")
	for _, m := range r.made {
		require.Equal(t, []string{m.id}, r.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, m.email))
	}
	require.Equal(t, len(r.made)+len(r.ids)+r.others, r.db.number(t, `SELECT count(*) FROM accounts`), "an account that nobody was told of")
	require.Zero(t, r.db.number(t, unbalanced))
	require.Zero(t, r.db.number(t, orphans))
	for i, id := range r.ids {
		r.s.stillPaying(t, r.tokens[i], id, repairPatience)
	}
	for _, id := range r.bought {
		r.s.awaitStatus(t, id, "active")
		r.s.requireOneChargeEach(t, id)
	}
	r.s.requireBooks(t)
	for _, email := range r.renewed {
		require.Equal(t, http.StatusOK, r.s.login(t, email, newPassword).Status, email)
	}
	t.Logf("%d accounts, %d subscriptions, %d resets; %d requests were sent again", len(r.made), len(r.bought), len(r.renewed), r.repeated)
}
