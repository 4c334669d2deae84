package core

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const (
	// noticeTimeout is how long an answer waits for its notice to be accepted, noticeLife how long the notice may take.
	noticeTimeout = time.Second
	noticeLife    = 25 * time.Hour
)

// notify tells the owner of an account by mail about a change that no flow of its own made, and that is committed already.
// key names the change: one mail is sent however often it is notified. The answer to the change does not depend on it; a
// notice that cannot be started is logged.
func (c *Core) notify(ctx context.Context, accountID uuid.UUID, template, key string) {
	// The change stands even if its client has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTimeout)
	defer cancel()
	err := c.Flows.Start(ctx, durable.Start{
		WorkflowID: c.Keys.FlowID("notice", template, accountID.String()+"/"+key),
		Workflow:   workflows.SecurityNoticeWorkflow, Queue: durable.QueueFlows,
		Input:   workflows.SecurityNoticeInput{AccountID: accountID, Template: template},
		Summary: "Notice to the owner: " + template,
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("notice"), durable.FlowStage.ValueSet("sending"), durable.AccountID.ValueSet(accountID.String()),
		},
		ExecutionTimeout: noticeLife,
	})
	if err != nil {
		c.Log.WarnContext(ctx, "a notice was not started", "account", accountID, "template", template, "error", err)
	}
}
