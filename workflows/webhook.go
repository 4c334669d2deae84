package workflows

import (
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// WebhookDeliveryWorkflow is the name by which WebhookDelivery is started, WebhookNow the signal that ends its wait.
const (
	WebhookDeliveryWorkflow = "WebhookDelivery"
	WebhookNow              = "now"
)

// webhookLife is longer than an event is kept.
const webhookLife = 31 * 24 * time.Hour

// outcomeHeld is the end of a flow whose receiver is disabled: another one delivers once it is enabled.
const outcomeHeld = "held"

// WebhookDeliveryInput names the delivery.
type WebhookDeliveryInput struct {
	DeliveryID uuid.UUID
}

// WebhookDelivery tells one receiver one event, again and again until it is taken or given up. The schedule is the activity's
// (account.WebhookRules). The signal "now" ends a wait: an operator replays.
//
//	sending <-> waiting -> completed, failed (given up), held (the receiver is disabled), refused (it is gone), canceled
//
// One execution per delivery at a time; a replay after its end starts another one.
func WebhookDelivery(ctx workflow.Context, in WebhookDeliveryInput) error {
	now := workflow.GetSignalChannel(ctx, WebhookNow)
	for {
		for now.ReceiveAsync(nil) { // what was asked for before this attempt is done with it
		}
		var tried activities.WebhookTried
		err := workflow.ExecuteActivity(withWebhook(ctx), a.SendWebhook, activities.WebhookInput(in)).Get(ctx, &tried)
		if temporal.IsCanceledError(err) {
			return endWebhook(ctx, in, outcomeCanceled, err)
		}
		if err != nil {
			workflow.GetLogger(ctx).Error("a webhook cannot be sent", "error", durable.Describe(err))
			return endWebhook(ctx, in, outcomeFailed, nil)
		}
		workflow.SetCurrentDetails(ctx, webhookDetails(ctx, tried))
		if tried.State != account.WebhookWaiting {
			return endWebhook(ctx, in, webhookOutcome(tried.State), nil)
		}
		next := workflow.Now(ctx).Add(tried.Wait)
		if err := upsert(ctx, durable.FlowStage.ValueSet("waiting"), durable.NextActionAt.ValueSet(next)); err != nil {
			return err
		}
		if err := waitOrNow(ctx, now, tried); err != nil {
			return endWebhook(ctx, in, outcomeCanceled, err)
		}
		if err := upsert(ctx, durable.FlowStage.ValueSet("sending"), durable.NextActionAt.ValueUnset()); err != nil {
			return err
		}
	}
}

func upsert(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) error {
	return workflow.UpsertTypedSearchAttributes(ctx, attributes...)
}

// waitOrNow returns when it is time for the next attempt, or somebody asks for it.
func waitOrNow(ctx workflow.Context, now workflow.ReceiveChannel, tried activities.WebhookTried) error {
	waiting, stop := workflow.WithCancel(ctx)
	defer stop()
	timer := workflow.NewTimerWithOptions(waiting, tried.Wait, workflow.TimerOptions{
		Summary: "until attempt " + strconv.Itoa(tried.Try+1),
	})
	var err error
	workflow.NewSelector(ctx).
		AddFuture(timer, func(f workflow.Future) { err = f.Get(ctx, nil) }).
		AddReceive(now, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
		Select(ctx)
	return err
}

func webhookOutcome(state account.WebhookState) string {
	switch state {
	case account.WebhookDelivered:
		return outcomeCompleted
	case account.WebhookDead:
		return outcomeFailed
	case account.WebhookOwed:
		return outcomeHeld
	case account.WebhookSending, account.WebhookWaiting:
	}
	return outcomeRefused
}

// endWebhook notes how the flow ends. What an operator has canceled is not tried by another flow.
func endWebhook(ctx workflow.Context, in WebhookDeliveryInput, outcome string, cause error) error {
	if outcome == outcomeCanceled {
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		if err := patiently(ctx, a.DropWebhook, activities.WebhookInput(in)).Get(ctx, nil); err != nil {
			return err
		}
	}
	err := upsert(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome), durable.NextActionAt.ValueUnset())
	if cause != nil {
		return cause
	}
	return err
}

// withWebhook is the preset for one attempt. What the receiver says is a result; only our own faults are tried again here,
// for as long as they last.
func withWebhook(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           durable.QueueWebhooks,
		StartToCloseTimeout: webhookAttempt,
		Summary:             "tell the receiver",
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	})
}

// webhookAttempt is more than a receiver may take, and the store before and after it.
const webhookAttempt = time.Minute

// webhookDetails are what operators read.
func webhookDetails(ctx workflow.Context, t activities.WebhookTried) string {
	row := func(name, value string) string { return "| " + name + " | " + value + " |\n" }
	details := "| | |\n|---|---|\n"
	if t.EventID == uuid.Nil {
		return details + row("Delivery", "ended before this attempt, or its receiver is disabled or gone")
	}
	details += row("Event", account.WebhookID(t.EventID)+" "+t.Type) + row("Receiver", t.EndpointID.String())
	answer := t.Reason
	if t.State == account.WebhookDelivered {
		answer = "took it: " + strconv.Itoa(t.Status)
	}
	details += row("Attempt", fmt.Sprintf("%d: %s", t.Try, answer))
	switch t.State {
	case account.WebhookWaiting:
		return details + row("Next", "attempt "+strconv.Itoa(t.Try+1)+" at "+workflow.Now(ctx).Add(t.Wait).UTC().Format(time.RFC3339)+
			"; sooner by `gatehouse webhooks replay "+account.WebhookID(t.EventID)+"`")
	case account.WebhookDead:
		return details + row("Next", "nothing: given up. `gatehouse webhooks replay "+account.WebhookID(t.EventID)+"` tries again")
	case account.WebhookOwed:
		return details + row("Next", "waits until `gatehouse webhooks enable "+t.EndpointID.String()+"`")
	case account.WebhookDelivered, account.WebhookSending:
	}
	return details
}

// StartWebhook is how a delivery that is owed is started, or told to go on now (WebhookNow).
func StartWebhook(d account.WebhookDelivery) durable.Start {
	attributes := []temporal.SearchAttributeUpdate{durable.FlowKind.ValueSet("webhook"), durable.FlowStage.ValueSet("sending")}
	if d.AccountID != uuid.Nil {
		attributes = append(attributes, durable.AccountID.ValueSet(d.AccountID.String()))
	}
	return durable.Start{
		WorkflowID: "webhook/" + d.ID.String(), Workflow: WebhookDeliveryWorkflow, Queue: durable.QueueFlows,
		Input:      WebhookDeliveryInput{DeliveryID: d.ID},
		Summary:    "Webhook " + d.Type + " to " + d.EndpointID.String(),
		Attributes: attributes, ExecutionTimeout: webhookLife,
	}
}
