package workflows

import (
	"errors"

	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// doubt has the loop read the books again after a request that failed: it may have been served all the same, its answer lost with
// the connection, or it was refused because they say something else than the flow knows. GetVersion is called only in this case, so
// other histories get no marker. A run that once took the old way keeps it, and never doubts.
func (s *subscription) doubt(ctx workflow.Context, err error) {
	if ctx.Err() != nil || !passing(err) && !errors.Is(durable.FromTemporal(err), account.ErrSubscriptionState) {
		return
	}
	s.distrust(ctx, ChangeDoubtReloads)
}

func (s *subscription) distrust(ctx workflow.Context, change string) {
	if workflow.GetVersion(ctx, change, workflow.DefaultVersion, 1) != workflow.DefaultVersion {
		s.doubted = true
	}
}

// reread reads the books again, for as long as it takes. Requests come in meanwhile: whatever they change is newer than what is
// read.
func (s *subscription) reread(ctx workflow.Context) error {
	s.doubted = false
	var state activities.SubscriptionState
	err := s.ask(ctx, a.LoadSubscription, activities.SubscriptionInput{SubscriptionID: s.flow.SubscriptionID}, &state)
	if err == nil {
		s.took(ctx, state, true)
	}
	return err
}

// reload reads the row again, after a wait: the flow is its only writer, so a difference is somebody's repair.
func (s *subscription) reload(ctx workflow.Context) error {
	if err := pause(ctx, leastWait, waitBooks); err != nil {
		return err
	}
	var state activities.SubscriptionState
	err := patiently(ctx, a.LoadSubscription, activities.SubscriptionInput{SubscriptionID: s.flow.SubscriptionID}).Get(ctx, &state)
	if err == nil {
		s.took(ctx, state, true)
	}
	return err
}
