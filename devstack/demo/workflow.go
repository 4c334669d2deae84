//go:build unix

package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

const (
	listPatience = 10 * time.Second
	listPage     = 1000
)

// newestSignup is the address in the Temporal UI of the sign-up that began last. The list lags behind by a moment.
func newestSignup(ctx context.Context, env map[string]string) (string, error) {
	c, err := client.NewLazyClient(client.Options{
		HostPort: env["TEMPORAL_ADDRESS"], Namespace: env["GATEHOUSE_TEMPORAL_NAMESPACE"],
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return "", fmt.Errorf("reach Temporal: %w", err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		answer, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: env["GATEHOUSE_TEMPORAL_NAMESPACE"], Query: "WorkflowType = 'Signup'", PageSize: listPage,
		})
		if err != nil {
			return "", fmt.Errorf("list workflows: %w", err)
		}
		if newest := newest(answer.GetExecutions()); newest != nil {
			return link(env, newest), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no workflow of type Signup is listed: %w", ctx.Err())
		case <-again.C:
		}
	}
}

func newest(runs []*workflow.WorkflowExecutionInfo) *workflow.WorkflowExecutionInfo {
	var last *workflow.WorkflowExecutionInfo
	for _, run := range runs {
		if last == nil || run.GetStartTime().AsTime().After(last.GetStartTime().AsTime()) {
			last = run
		}
	}
	return last
}

func link(env map[string]string, run *workflow.WorkflowExecutionInfo) string {
	return strings.Join([]string{
		strings.TrimSuffix(env["GATEHOUSE_TEMPORAL_UI_URL"], "/"), "namespaces", url.PathEscape(env["GATEHOUSE_TEMPORAL_NAMESPACE"]),
		"workflows", url.PathEscape(run.GetExecution().GetWorkflowId()), run.GetExecution().GetRunId(), "history",
	}, "/")
}
