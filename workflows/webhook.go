package workflows

import (
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

// WebhookDeliveryInput names the delivery. Type and EndpointID are for people to read.
type WebhookDeliveryInput struct {
	DeliveryID uuid.UUID
	EndpointID uuid.UUID
	Type       string
}

// WebhookDelivery tells one receiver one event, again and again until it is taken or given up. The schedule is the activity's
// (account.WebhookRules). The signal "now" ends a wait: an operator replays.
//
//	sending <-> waiting -> completed, failed (given up), held (the receiver is disabled), refused (it is gone), canceled
//
// One execution per delivery at a time; a replay after its end starts another one.
func WebhookDelivery(ctx workflow.Context, in WebhookDeliveryInput) error {
	w := webhookDelivery{in: in}
	w.show(ctx, stageSending, "the receiver takes it")
	w.now = workflow.GetSignalChannelWithOptions(ctx, WebhookNow, workflow.SignalChannelOptions{Description: "end the wait: try again now"})
	for {
		for w.now.ReceiveAsync(nil) { // what was asked for before this attempt is done with it
		}
		err := workflow.ExecuteActivity(withWebhook(ctx), a.SendWebhook, activities.WebhookInput{DeliveryID: in.DeliveryID}).Get(ctx, &w.tried)
		if temporal.IsCanceledError(err) {
			return w.end(ctx, outcomeCanceled, err)
		}
		if err != nil {
			workflow.GetLogger(ctx).Error("a webhook cannot be sent", "error", durable.Describe(err))
			return w.end(ctx, outcomeFailed, nil)
		}
		if w.tried.State != account.WebhookWaiting {
			return w.end(ctx, webhookOutcome(w.tried.State), nil)
		}
		next := workflow.Now(ctx).Add(w.tried.Wait)
		w.show(ctx, stageWaiting, "attempt "+strconv.Itoa(w.tried.Try+1)+" at "+stamp(next)+"; sooner by `gatehouse webhooks replay "+in.DeliveryID.String()+"`")
		if err := upsert(ctx, durable.FlowStage.ValueSet(stageWaiting), durable.NextActionAt.ValueSet(next)); err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return w.end(ctx, outcomeCanceled, err)
		}
		w.show(ctx, stageSending, "the receiver takes it")
		if err := upsert(ctx, durable.FlowStage.ValueSet(stageSending), durable.NextActionAt.ValueUnset()); err != nil {
			return err
		}
	}
}

const stageWaiting = "waiting"

// webhookDelivery is one execution.
type webhookDelivery struct {
	in    WebhookDeliveryInput
	now   workflow.ReceiveChannel
	tried activities.WebhookTried
}

func upsert(ctx workflow.Context, attributes ...temporal.SearchAttributeUpdate) error {
	return workflow.UpsertTypedSearchAttributes(ctx, attributes...)
}

// wait returns when it is time for the next attempt, or somebody asks for it.
func (w *webhookDelivery) wait(ctx workflow.Context) error {
	waiting, stop := workflow.WithCancel(ctx)
	defer stop()
	timer := workflow.NewTimerWithOptions(waiting, w.tried.Wait, workflow.TimerOptions{
		Summary: "until attempt " + strconv.Itoa(w.tried.Try+1),
	})
	var err error
	workflow.NewSelector(ctx).
		AddFuture(timer, func(f workflow.Future) { err = f.Get(ctx, nil) }).
		AddReceive(w.now, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
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

// end notes how the flow ends. What an operator has canceled is not tried by another flow.
func (w *webhookDelivery) end(ctx workflow.Context, outcome string, cause error) error {
	if outcome == outcomeCanceled {
		ctx, _ = workflow.NewDisconnectedContext(ctx)
		w.show(ctx, stageSending, "it is given up, because an operator has canceled it")
		if err := patiently(ctx, a.DropWebhook, activities.WebhookInput{DeliveryID: w.in.DeliveryID}).Get(ctx, nil); err != nil {
			return err
		}
	}
	next := map[string]string{
		outcomeHeld:   "another flow, after `gatehouse webhooks enable " + w.in.EndpointID.String() + "`",
		outcomeFailed: "nothing, unless `gatehouse webhooks replay " + w.in.DeliveryID.String() + "`",
	}
	w.show(ctx, outcome, next[outcome])
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
		HeartbeatTimeout:    lostAfter,
		Summary:             stepDeliver,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	})
}

// webhookAttempt is more than a receiver may take, and the store before and after it.
const webhookAttempt = 40 * time.Second

// show writes what ops read in the UI.
func (w *webhookDelivery) show(ctx workflow.Context, stage, next string) {
	var d details
	d.row("Stage", stage)
	d.row("Event", w.in.Type)
	d.row("Receiver", w.in.EndpointID.String())
	if w.tried.EventID != uuid.Nil {
		d.row("Event id", account.WebhookID(w.tried.EventID))
		answer := w.tried.Reason
		if w.tried.State == account.WebhookDelivered {
			answer = "taken: " + strconv.Itoa(w.tried.Status)
		}
		d.row("Last attempt", strconv.Itoa(w.tried.Try)+", "+answer)
	}
	d.row("Next", next)
	d.show(ctx)
}

// StartWebhook is how a delivery that is owed is started, or told to go on now (WebhookNow).
func StartWebhook(d account.WebhookDelivery) durable.Start {
	attributes := []temporal.SearchAttributeUpdate{durable.FlowKind.ValueSet("webhook"), durable.FlowStage.ValueSet(stageSending)}
	if d.AccountID != uuid.Nil {
		attributes = append(attributes, durable.AccountID.ValueSet(d.AccountID.String()))
	}
	return durable.Start{
		WorkflowID: "webhook/" + d.ID.String(), Workflow: WebhookDeliveryWorkflow, Queue: durable.QueueFlows,
		Input:      WebhookDeliveryInput{DeliveryID: d.ID, EndpointID: d.EndpointID, Type: d.Type},
		Summary:    "Webhook " + d.Type + " to " + d.EndpointID.String(),
		Attributes: attributes, ExecutionTimeout: webhookLife,
	}
}
