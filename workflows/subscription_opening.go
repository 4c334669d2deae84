package workflows

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

var errLate = errors.New("no worker took the opening up in time")

// open creates the subscription, or finds it. It is tried for as long as our database takes. A payment provider that is away
// refuses it: nothing was made, and whoever asked asks again.
func (s *subscription) open(ctx workflow.Context) error {
	if err := s.mutex.Lock(ctx); err != nil {
		return err
	}
	defer s.mutex.Unlock()
	s.shared = workflow.GetVersion(ctx, ChangeSharedRuns, workflow.DefaultVersion, 1) != workflow.DefaultVersion
	var state activities.SubscriptionState
	err := s.opening(ctx, &state)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.loaded, s.refused = true, err
	if err == nil {
		s.period = state.Subscription.PeriodStart
		s.took(ctx, state, s.flow.Opening != nil)
	}
	return nil
}

func (s *subscription) opening(ctx workflow.Context, state *activities.SubscriptionState) error {
	o := s.flow.Opening
	if o == nil {
		return s.ask(ctx, a.LoadSubscription, activities.SubscriptionInput{SubscriptionID: s.flow.SubscriptionID}, state)
	}
	if s.late(ctx) {
		return s.find(ctx, state)
	}
	method, err := s.attach(ctx, o.AccountID, o.MethodID, attachWithin)
	if err != nil {
		return err
	}
	return enduring(ctx, a.OpenSubscription, activities.OpenSubscriptionInput{
		SubscriptionID: s.flow.SubscriptionID, AccountID: o.AccountID, Generation: o.Generation, PlanID: o.PlanID,
		MethodID: method, At: workflow.Now(ctx),
	}, state)
}

// late reports whether the opening was asked for so long ago that nobody reckons with it any more: there was no worker. GetVersion is
// called only in this case, so other histories get no marker.
func (s *subscription) late(ctx workflow.Context) bool {
	return workflow.Now(ctx).Sub(workflow.GetInfo(ctx).WorkflowStartTime) >= attachWithin &&
		workflow.GetVersion(ctx, ChangeLateOpening, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// find goes on with a subscription that a task which came to no end has opened, or ops have reset to its beginning. What is not
// there is refused: whoever asked was told so long ago.
func (s *subscription) find(ctx workflow.Context, state *activities.SubscriptionState) error {
	err := s.ask(ctx, a.LoadSubscription, activities.SubscriptionInput{SubscriptionID: s.flow.SubscriptionID}, state)
	if errors.Is(durable.FromTemporal(err), account.ErrNotFound) {
		return account.ErrUnavailable.Because(errLate)
	}
	return err
}

func (s *subscription) attach(ctx workflow.Context, accountID uuid.UUID, method string, within time.Duration) (string, error) {
	var attached activities.AttachedMethod
	err := workflow.ExecuteActivity(withPayment(ctx, within), a.AttachMethod,
		activities.AttachMethodInput{AccountID: accountID, MethodID: method}).Get(ctx, &attached)
	return attached.MethodID, err
}
