// Package workflows holds the durable stories of an account. Workflow code is deterministic: it does no I/O, reads no
// clock but the workflow's, and changes the world only through activities.
package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// a only names activities; it is never called here.
var a *activities.Activities

// Register registers every workflow under its function's name, and says what happens to its open runs when worker processes
// are versioned and another build is promoted (docs/decisions/0022-versions.md). Unversioned workers do not heed it.
func Register(r worker.Registry) {
	// Minutes: a run ends with the code that it began with, whose workers stay for so long.
	pinned := func(run any, name string) {
		r.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: name, VersioningBehavior: workflow.VersioningBehaviorPinned})
	}
	pinned(PasswordReset, PasswordResetWorkflow)
	pinned(PasswordChange, PasswordChangeWorkflow)
	pinned(PhoneVerification, PhoneVerificationWorkflow)
	pinned(ProviderLink, ProviderLinkWorkflow)
	pinned(EmailLink, EmailLinkWorkflow)
	pinned(DeviceVerification, DeviceVerificationWorkflow)
	// Seconds, as a rule. The child of a pinned flow begins with its parent's build; were it free to move, a build that gets a
	// share of the flows would lose it again to the one before.
	pinned(SecurityNotice, SecurityNoticeWorkflow)

	// Hours to years: an open run moves to the newest build, so a change of its steps goes behind workflow.GetVersion.
	moving := func(run any, name string) {
		r.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: name, VersioningBehavior: workflow.VersioningBehaviorAutoUpgrade})
	}
	moving(Signup, SignupWorkflow) // a registration waits for a week
	moving(EmailChange, EmailChangeWorkflow)
	moving(MessageRetry, MessageRetryWorkflow)
	moving(Subscription, SubscriptionWorkflow)
	moving(Reconciliation, ReconciliationWorkflow)
	moving(AccountClosure, AccountClosureWorkflow)
	moving(WebhookDelivery, WebhookDeliveryWorkflow)
}

// Changes are the ids of the changes of flows that GATEHOUSE_HELD_CHANGES may name, all that workflow.GetVersion is asked for.
func Changes() []string {
	return []string{
		"end-subscriptions", "push", "stages", "tell-declined-changes",
		ChangeSharedRuns, ChangeRecheckDue, ChangeDoubtReloads, ChangeLookReloads, ChangeCancelUncharged, ChangeLateOpening,
	}
}

// stagesVersion is 1 for flows whose search attributes follow every stage. Those that began before show in them, until their
// end, the stage of their wait.
func stagesVersion(ctx workflow.Context) workflow.Version {
	return workflow.GetVersion(ctx, "stages", workflow.DefaultVersion, 1)
}

const (
	storeAttempt = 2 * time.Second
	storeTotal   = 5 * time.Second
	sendAttempt  = 15 * time.Second
	courtesyMail = 24 * time.Hour
	// lostAfter is when an activity that says nothing is begun anew: its worker has died, or was stopped the moment it got it.
	lostAfter = 5 * time.Second
	// leastWait keeps a flow whose clock is ahead of the database's from asking it over and over.
	leastWait = 5 * time.Second
)

// A runner makes one change of our own database, under its summary.
type runner func(ctx workflow.Context, activity, in any) workflow.Future

// briefly is for a request that waits: seconds at most, and no hop to the server.
func briefly(ctx workflow.Context, activity, in any) workflow.Future {
	return workflow.ExecuteLocalActivity(withStore(ctx, summaryOf(activity)), activity, in)
}

// patiently takes as long as the database does.
func patiently(ctx workflow.Context, activity, in any) workflow.Future {
	return workflow.ExecuteActivity(withPatientStore(ctx, summaryOf(activity)), activity, in)
}

// enduring is briefly while somebody waits for the answer, and then patiently: what may have been done is never left without its
// flow. Whoever asked asks again.
func enduring(ctx workflow.Context, activity, in, out any) error {
	err := briefly(ctx, activity, in).Get(ctx, out)
	if err != nil && passing(err) {
		return patiently(ctx, activity, in).Get(ctx, out)
	}
	return err
}

// withStore is the preset for one short, idempotent change of our own database on a request's path.
func withStore(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    storeAttempt,
		ScheduleToCloseTimeout: storeTotal,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 500 * time.Millisecond,
		},
	})
}

// withPatientStore is the preset for the same off any request's path: it waits for the database as long as it takes.
func withPatientStore(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 2 * storeTotal,
		HeartbeatTimeout:    lostAfter,
		Summary:             summary,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	})
}

// withMessage is the preset for handing one message to a provider, tried again until within has passed. The summary says
// which one, to which masked destination. The flow sends it by itself, whoever asked for it: no audit event comes of it.
func withMessage(ctx workflow.Context, summary string, within time.Duration) workflow.Context {
	return workflow.WithActivityOptions(durable.OnBehalfOfNobody(ctx), workflow.ActivityOptions{
		TaskQueue:              durable.QueueNotify,
		StartToCloseTimeout:    sendAttempt,
		HeartbeatTimeout:       lostAfter,
		ScheduleToCloseTimeout: within,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second,
		},
	})
}
