package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
)

const (
	// runSize is how many bytes of history a run of a subscription may have and go on beyond its first period. A period adds 4 kB, a
	// new run begins with two: what the server keeps of a subscription that waits stays what it is after the first payment, on
	// average.
	runSize = 12 << 10
	// runLife is how old a run may be and go on beyond its first period: old keys, and old ways behind GetVersion, are needed for as
	// long as runs live.
	runLife = 90 * 24 * time.Hour
)

// spent reports whether the run has seen enough: it is in a later period than its first, and long or old; or it is very long. It
// waits for mails and requests.
func (s *subscription) spent(ctx workflow.Context) bool {
	if s.mails > 0 || s.charging || s.now.Action == account.ActionCharge {
		return false
	}
	info := workflow.GetInfo(ctx)
	enough := !s.shared || info.GetCurrentHistorySize() >= runSize || workflow.Now(ctx).Sub(info.WorkflowStartTime) >= runLife
	return s.now.Subscription.PeriodStart.After(s.period) && enough || info.GetContinueAsNewSuggested()
}

// leave waits for the last requests of a run that is spent. One that comes meanwhile may wait for a charge, which is not made here:
// it ends the wait, and so does the end of the account. Once the history is very long none is let in.
func (s *subscription) leave(ctx workflow.Context) error {
	defer func() { s.leaving = false }()
	return workflow.Await(ctx, func() bool {
		s.leaving = workflow.GetInfo(ctx).GetContinueAsNewSuggested()
		return workflow.AllHandlersFinished(ctx) || !s.spent(ctx) || s.doubted || s.shared && s.told(ctx)
	})
}

func (s *subscription) again(ctx workflow.Context) error {
	return workflow.NewContinueAsNewError(ctx, Subscription, SubscriptionFlow{SubscriptionID: s.flow.SubscriptionID})
}
