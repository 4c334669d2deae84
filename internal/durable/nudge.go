package durable

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// Nudge sends a flow a signal, and starts it if it does not run; it may have run before. Errors are those of FromTemporal.
func (c *Client) Nudge(ctx context.Context, s Start, signal string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.temporal.SignalWithStartWorkflow(ctx, s.WorkflowID, signal, nil, client.StartWorkflowOptions{
		TaskQueue:                s.Queue,
		WorkflowExecutionTimeout: s.ExecutionTimeout,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes:    temporal.NewSearchAttributes(s.Attributes...),
		StaticSummary:            s.Summary,
	}, s.Workflow, arguments(s.Input)...)
	return FromTemporal(err)
}
