package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// MessageRetryWorkflow is the name by which MessageRetry is started.
const MessageRetryWorkflow = "MessageRetry"

// MessageRetryInput names the message to send once more.
type MessageRetryInput struct {
	MessageID uuid.UUID
}

// retryLife is how long a message is tried once more. A code gives up by itself when its time is over.
const retryLife = courtesyMail

// MessageRetry sends a message once more that was given up, because an operator asks for it.
//
//	sending -> completed
//	        -> expired: the code's time is over, or its owner is gone
//	        -> failed: refused again, or not accepted for a day
//
// One execution per message at a time; whoever asks again meanwhile joins it.
func MessageRetry(ctx workflow.Context, in MessageRetryInput) error {
	show := func(stage, next string) {
		var d details
		d.row("Stage", stage)
		d.row("Message", in.MessageID.String())
		d.row("Next", next)
		d.show(ctx)
	}
	show(stageSending, "a provider accepts it, tried for a day, or as long as its code is good")
	var sent activities.Delivered
	err := workflow.ExecuteActivity(withMessage(ctx, summaryOf(a.ResendMessage), retryLife), a.ResendMessage,
		activities.ResendMessageInput(in)).Get(ctx, &sent)
	outcome := outcomeFailed
	switch {
	case temporal.IsCanceledError(err):
		outcome = outcomeCanceled
	case err != nil:
		workflow.GetLogger(ctx).Warn("a message was not sent", "message", in.MessageID, "error", durable.Describe(err))
	case sent.State == activities.DeliverySent:
		outcome = outcomeCompleted
	case sent.State == activities.DeliveryExpired:
		outcome = outcomeExpired
	}
	show(outcome, "")
	noted := workflow.UpsertTypedSearchAttributes(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome),
		durable.NextActionAt.ValueUnset())
	if temporal.IsCanceledError(err) {
		return err
	}
	return noted
}

// StartMessageRetry is how a message is sent once more. The id is the message's, so that two operators send it once; account
// is the zero id for a message that is about none.
func StartMessageRetry(id, account uuid.UUID, template string, now time.Time) durable.Start {
	attributes := []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet("message"), durable.FlowStage.ValueSet(stageSending), durable.NextActionAt.ValueSet(now.Add(retryLife)),
	}
	if account != uuid.Nil {
		attributes = append(attributes, durable.AccountID.ValueSet(account.String()))
	}
	return durable.Start{
		WorkflowID: "message/" + id.String(), Workflow: MessageRetryWorkflow, Queue: durable.QueueFlows,
		Input: MessageRetryInput{MessageID: id}, Summary: "Once more: " + template, Attributes: attributes,
		ExecutionTimeout: retryLife + time.Hour,
	}
}
