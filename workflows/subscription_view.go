package workflows

import (
	"strconv"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// planChangeDeclined is the event of a dearer plan that could not be paid.
const planChangeDeclined = "plan_change_declined"

// mailOf is the template that tells the payer what has happened, empty where there is nothing to tell.
func mailOf(state activities.SubscriptionState) string {
	switch state.Event {
	case "paid":
		return "subscription_paid"
	case "payment_declined":
		return "subscription_declined"
	case planChangeDeclined:
		return "subscription_change_declined"
	case "trial_started":
		return "subscription_trial"
	case "plan_changed":
		return "subscription_plan_changed"
	case "plan_change_scheduled":
		return "subscription_plan_scheduled"
	case "paused":
		return "subscription_paused"
	case "resumed":
		return "subscription_resumed"
	case "cancellation_scheduled":
		return "subscription_cancellation"
	case "cancellation_undone":
		return "subscription_kept"
	case "canceled", "expired":
		return "subscription_ended"
	case "unpaid":
		return "subscription_unpaid"
	}
	return ""
}

// tell sends a mail that nobody waits for.
func (s *subscription) tell(ctx workflow.Context, template string, version int64) {
	s.mails++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { s.mails-- }()
		s.mail = template + ": " + onItsWay
		s.show(ctx)
		var sent activities.Delivered
		input := activities.SubscriptionMailInput{SubscriptionID: s.flow.SubscriptionID, Version: version, Template: template}
		mail := workflow.WithPriority(withMessage(ctx, mailing(template), courtesyMail), temporal.Priority{PriorityKey: afterPeople})
		err := workflow.ExecuteActivity(mail, a.SendSubscriptionMail, input).Get(ctx, &sent)
		if err != nil {
			s.log.Warn("a mail was not sent", "template", template, "error", durable.Describe(err))
			s.mail = template + ": " + undelivered(err)
		} else {
			s.mail = template + ": " + string(sent.State)
		}
		s.show(ctx)
	})
}

// actions say in words what a subscription does next by itself.
var actions = map[account.SubscriptionAction]string{
	account.ActionNone:   "wait for a request",
	account.ActionCharge: "charge the open invoice",
	account.ActionRenew:  "begin the next period",
	account.ActionExpire: "end it: its first payment did not come",
	account.ActionGiveUp: "give up the open invoice",
	account.ActionResume: "resume it",
	account.ActionEnd:    "end it: the pause is too long",
}

// noteState has the search attributes say what the subscription is.
func (s *subscription) noteState(ctx workflow.Context) {
	attributes := []temporal.SearchAttributeUpdate{
		durable.FlowStage.ValueSet(string(s.now.Subscription.Status)), durable.Plan.ValueSet(s.now.Subscription.Plan.Code),
		durable.NextActionAt.ValueUnset(),
	}
	if !s.now.DueAt.IsZero() {
		attributes[2] = durable.NextActionAt.ValueSet(s.now.DueAt)
	}
	note(ctx, attributes...)
}

// show writes what ops read in the UI.
func (s *subscription) show(ctx workflow.Context) {
	now := s.now.Subscription
	var d details
	row := d.row
	row("Subscription", s.flow.SubscriptionID)
	if !s.loaded {
		row("Status", "opening")
		row("Next", "the subscription is created or read")
		d.show(ctx)
		return
	}
	if s.refused != nil {
		row("Status", outcomeRefused+": "+durable.Describe(s.refused))
		d.show(ctx)
		return
	}
	row("Status", string(now.Status))
	row("Plan", now.Plan.Code)
	row("Period", stamp(now.PeriodStart)+" to "+stamp(now.PeriodEnd))
	if now.CancelAtPeriodEnd {
		row("Ends", stamp(now.PeriodEnd))
	}
	if i := now.Invoice; i != nil {
		row("Owes", account.FormatMoney(i.Amount)+", attempt "+strconv.Itoa(i.Attempt))
	}
	if s.charging {
		row("Charge", "under way")
	}
	switch {
	case s.now.Action != account.ActionNone:
		row("Next", string(s.now.Action)+" at "+stamp(s.now.DueAt)+": "+actions[s.now.Action])
	case now.Status.Ended() && (s.mails > 0 || !s.closed):
		row("Next", "the requests and mails under way are finished; mails are tried for a day")
	case !now.Status.Ended():
		row("Next", actions[account.ActionNone])
	}
	row("Mail", s.mail)
	d.show(ctx)
}

// withPayment is the preset for asking the payment provider on a request's path.
func withPayment(ctx workflow.Context, within time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: durable.QueuePayments, StartToCloseTimeout: paymentAttempt, HeartbeatTimeout: lostAfter, ScheduleToCloseTimeout: within,
		Summary: summaryOf(a.AttachMethod),
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute,
		},
	})
}

// afterPeople is the priority of tasks that nobody waits for, where the server's default is 3 of 5.
const afterPeople = 4

// withCharge is the preset for a charge, which is asked for anew when a day brought no outcome. All charges share the rate of the
// provider: the first of each renewal, which nobody waits for, comes after the others.
func withCharge(ctx workflow.Context, invoice account.Invoice) workflow.Context {
	var priority temporal.Priority
	if invoice.Reason == account.InvoiceCycle && invoice.Attempt == 1 {
		priority.PriorityKey = afterPeople
	}
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: durable.QueuePayments, StartToCloseTimeout: paymentAttempt, HeartbeatTimeout: lostAfter,
		ScheduleToCloseTimeout: 24 * time.Hour, Summary: "charge " + invoice.ID, Priority: priority,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Minute,
		},
	})
}

const (
	paymentAttempt = 30 * time.Second
	// attachWithin ends the opening of a subscription whose provider is away: its owner asks again.
	attachWithin = 10 * time.Minute
	// changeWithin ends a change of the payment method whose provider is away. Cancellations and the end of the account wait behind
	// it.
	changeWithin = 15 * time.Second
)
