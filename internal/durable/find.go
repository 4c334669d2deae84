package durable

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
)

// Flow is an execution as lists show it: by its ids and search attributes, without contents.
type Flow struct {
	ID       string     `json:"id"`
	RunID    string     `json:"run_id"`
	Workflow string     `json:"workflow"`
	Kind     string     `json:"kind"`
	State    string     `json:"state"`
	Stage    string     `json:"stage"`
	Began    time.Time  `json:"began_at"`
	Ended    *time.Time `json:"ended_at,omitzero"`
	// NextActionAt is when the flow wakes next by itself.
	NextActionAt *time.Time `json:"next_action_at,omitzero"`
	// Problem says that its tasks fail: it cannot go on.
	Problem bool `json:"problem,omitzero"`
}

// FlowsOf is the query, as in the filter of the Temporal UI, of the flows that have one of the ids or are of one of the accounts.
func FlowsOf(ids, accounts []string) string {
	var parts []string
	if len(ids) > 0 {
		parts = append(parts, "WorkflowId IN ("+quoted(ids)+")")
	}
	if len(accounts) > 0 {
		parts = append(parts, AccountID.GetName()+" IN ("+quoted(accounts)+")")
	}
	return strings.Join(parts, " OR ")
}

func quoted(values []string) string {
	var all []string
	for _, v := range values {
		all = append(all, "'"+strings.ReplaceAll(v, "'", "''")+"'")
	}
	return strings.Join(all, ", ")
}

// Find returns the flows that a query finds, closed ones included as long as they are kept, the newest first, at most so many.
// It lags behind by a moment. Errors are those of FromTemporal.
func (c *Client) Find(ctx context.Context, query string, most int32) ([]Flow, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: most})
	if err != nil {
		return nil, fmt.Errorf("find flows: %w", FromTemporal(err))
	}
	found := make([]Flow, 0, len(answer.GetExecutions()))
	for _, e := range answer.GetExecutions() {
		found = append(found, flowOf(e))
	}
	return found, nil
}

// Doing reports whether the running flow of an id waits for an activity of a name: that is queued, under way, or about to be tried
// again. Errors are those of FromTemporal.
func (c *Client) Doing(ctx context.Context, workflowID, activity string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		return false, FromTemporal(err)
	}
	return slices.ContainsFunc(answer.GetPendingActivities(), func(p *workflow.PendingActivityInfo) bool {
		return p.GetActivityType().GetName() == activity
	}), nil
}

func flowOf(e *workflow.WorkflowExecutionInfo) Flow {
	attributes := e.GetSearchAttributes().GetIndexedFields()
	f := Flow{
		ID: e.GetExecution().GetWorkflowId(), RunID: e.GetExecution().GetRunId(), Workflow: e.GetType().GetName(),
		State: words(e.GetStatus()), Began: e.GetStartTime().AsTime(),
		Kind: valueOf[string](attributes, FlowKind), Stage: valueOf[string](attributes, FlowStage),
		Problem: attributes["TemporalReportedProblems"] != nil,
	}
	if t := e.GetCloseTime(); t != nil {
		closed := t.AsTime()
		f.Ended = &closed
	}
	if next := valueOf[time.Time](attributes, NextActionAt); !next.IsZero() && f.Ended == nil {
		f.NextActionAt = &next
	}
	return f
}

// words is a status as people write it: continued as new, running.
func words(status enums.WorkflowExecutionStatus) string {
	var b strings.Builder
	for i, r := range status.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// valueOf is the value of a search attribute; zero where it is not set.
func valueOf[T any](all map[string]*common.Payload, key temporal.SearchAttributeKey) T {
	var value T
	if p := all[key.GetName()]; p != nil {
		// One that cannot be read is not ours: it is shown as missing.
		_ = converter.GetDefaultDataConverter().FromPayload(p, &value)
	}
	return value
}
