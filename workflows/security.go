package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// SecurityNoticeWorkflow is the name by which SecurityNotice is started.
const SecurityNoticeWorkflow = "SecurityNotice"

// SecurityNoticeInput names the account whose owner is to be told, the template that tells it, and the channel where it is
// not a mail but an SMS.
type SecurityNoticeInput struct {
	AccountID uuid.UUID
	Template  string
	// Challenge is what proved the change, where the mail tells more of it.
	Challenge uuid.UUID `json:",omitzero"`
	// EmailChange has the mail go to the address that the account had before that change, and tell of it.
	EmailChange uuid.UUID `json:",omitzero"`
	// Channel is where it goes if not by mail.
	Channel account.Channel `json:",omitempty"`
}

// SecurityNotice tells an owner by mail and on the devices that asked for it, or by SMS, of a change that no flow of its own made:
// a new password, a revoked key. The change has happened already; the notice is tried for a day.
//
//	sending -> completed, or failed when the mail was refused or could not be delivered in time
//
// One execution per change: core derives the id from it.
func SecurityNotice(ctx workflow.Context, in SecurityNoticeInput) error {
	in.show(ctx, stageSending, onItsWay, "")
	mail := in.send(withMessage(ctx, in.summary(), courtesyMail))
	var devices pushes
	if in.Channel == "" && in.EmailChange == uuid.Nil {
		devices = startPushes(ctx, in.AccountID, in.Template)
	}
	var sent activities.Delivered
	err := mail.Get(ctx, &sent)
	outcome, state := outcomeCompleted, string(sent.State)
	switch {
	case temporal.IsCanceledError(err):
		outcome, state = outcomeCanceled, "canceled"
	case err != nil:
		workflow.GetLogger(ctx).Warn("a notice was not sent", "template", in.Template, "error", durable.Describe(err))
		outcome, state = outcomeFailed, undelivered(err)
	case sent.State != activities.DeliverySent:
		outcome = outcomeFailed
	}
	if devices.targets > 0 {
		in.show(ctx, stageSending, state, onItsWay)
	}
	in.show(ctx, outcome, state, devices.wait(ctx, in.Template))
	noted := workflow.UpsertTypedSearchAttributes(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome))
	if temporal.IsCanceledError(err) {
		return err
	}
	return noted
}

const stageSending = "sending"

// channel is what the notice goes by, in the words of ops.
func (in SecurityNoticeInput) channel() string {
	if in.Channel == account.ChannelSMS {
		return "SMS"
	}
	return "Mail"
}

func (in SecurityNoticeInput) summary() string {
	if in.Channel == account.ChannelSMS {
		return "send the SMS: " + in.Template
	}
	return mailing(in.Template)
}

// show writes what ops read in the UI.
func (in SecurityNoticeInput) show(ctx workflow.Context, stage, state, push string) {
	var d details
	d.row("Stage", stage)
	d.row(in.channel(), in.Template+": "+state)
	d.row("Push", push)
	switch {
	case stage != stageSending: // ended
	case state == onItsWay:
		d.row("Next", "a provider accepts it, tried for a day")
	default:
		d.row("Next", "the devices are told, tried for an hour")
	}
	d.show(ctx)
}

func (in SecurityNoticeInput) send(ctx workflow.Context) workflow.Future {
	if in.EmailChange != uuid.Nil {
		former := activities.EmailChangeMailInput{ChangeID: in.EmailChange, Template: in.Template, Old: true}
		return workflow.ExecuteActivity(ctx, a.SendEmailChangeMail, former)
	}
	input := activities.SendMailInput{AccountID: in.AccountID, Step: "notice", Template: in.Template, Challenge: in.Challenge}
	if in.Channel == account.ChannelSMS {
		return workflow.ExecuteActivity(ctx, a.SendSMS, input)
	}
	return workflow.ExecuteActivity(ctx, a.SendMail, input)
}

// StartNotice is how a notice that is owed is started, from outside of any flow.
func StartNotice(n account.Notice) durable.Start {
	return durable.Start{
		WorkflowID: n.ID, Workflow: SecurityNoticeWorkflow, Queue: durable.QueueFlows,
		Input:   noticeInput(n),
		Summary: NoticeSummary(n.Template),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("notice"), durable.FlowStage.ValueSet(stageSending), durable.AccountID.ValueSet(n.AccountID.String()),
		},
		ExecutionTimeout: noticeLife,
	}
}

func noticeInput(n account.Notice) SecurityNoticeInput {
	return SecurityNoticeInput{
		AccountID: n.AccountID, Template: n.Template, Challenge: n.Challenge, EmailChange: n.EmailChange, Channel: n.Channel,
	}
}

// notify starts the notice of a change from within the flow that has made it, which the notice outlives. A worker may have
// started it already, and will where the flow cannot: it is owed. The error is that of a canceled flow.
func notify(ctx workflow.Context, n account.Notice) (started bool, err error) {
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: n.ID, ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON, WorkflowExecutionTimeout: noticeLife,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         NoticeSummary(n.Template),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			durable.FlowKind.ValueSet("notice"), durable.FlowStage.ValueSet(stageSending), durable.AccountID.ValueSet(n.AccountID.String()),
		),
	})
	err = workflow.ExecuteChildWorkflow(child, SecurityNotice, noticeInput(n)).GetChildWorkflowExecution().Get(ctx, nil)
	switch {
	case err == nil, temporal.IsWorkflowExecutionAlreadyStartedError(err):
		return true, nil
	case temporal.IsCanceledError(err):
		return false, err
	}
	workflow.GetLogger(ctx).Warn("a notice is left to the workers", "template", n.Template, "error", durable.Describe(err))
	return false, nil
}

// noticeLife is longer than a mail is tried.
const noticeLife = courtesyMail + time.Hour

// NoticeSummary is the line that ops read beside a notice.
func NoticeSummary(template string) string { return "Notice to the owner: " + template }
