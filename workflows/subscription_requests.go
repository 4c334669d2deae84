package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
)

const (
	// chargeWait is how long a request waits for the charge that it has caused, so that most answers tell its outcome.
	chargeWait = 2 * time.Second
	// settleWait is how long a request waits for a charge that is under way.
	settleWait = time.Second
)

var errCharging = account.ErrSubscriptionState.Saying("Subscription is being charged")

var errLongHistory = errors.New("the run has seen enough, and ends with the requests that it has")

// admit is the validator of every request: validate, and nothing more while a run with a long history ends. Without a pause
// between requests it would never find the moment to continue as new.
func (s *subscription) admit(kind activities.SubscriptionCommandKind) error {
	if s.leaving {
		return account.ErrBusy.Because(errLongHistory)
	}
	return s.validate(kind)
}

// validate refuses, without a trace in the history, what is certain to fail. The transition itself has the last word.
func (s *subscription) validate(kind activities.SubscriptionCommandKind) error {
	switch {
	case s.refused != nil:
		return s.refused
	case s.closed:
		return account.ErrSubscriptionState.Saying("Subscription has ended").Because(errEnding)
	case !s.loaded:
		return nil
	}
	now := s.now.Subscription
	refuse := func(why string) error { return account.ErrSubscriptionState.Saying("Subscription " + why) }
	switch {
	case kind == activities.CommandPause && now.Status != account.SubscriptionActive && now.Status != account.SubscriptionPaused &&
		now.Status != account.SubscriptionTrialing:
		return refuse("is not active")
	case kind == activities.CommandResume && now.Status != account.SubscriptionPaused:
		return refuse("is not paused")
	}
	return nil
}

// answerOpen waits until the subscription is there, and a moment for its first charge.
func (s *subscription) answerOpen(ctx workflow.Context) (activities.SubscriptionState, error) {
	if err := workflow.Await(ctx, func() bool { return s.loaded || s.closed }); err != nil {
		return activities.SubscriptionState{}, err
	}
	if s.refused != nil {
		return activities.SubscriptionState{}, s.refused
	}
	if !s.loaded {
		return activities.SubscriptionState{}, account.ErrUnavailable.Because(errEnding)
	}
	return s.afterCharge(ctx)
}

// answerLook ends the wait between two attempts to learn the outcome of a charge. Asking twice at once does no harm: both have
// the same key. While no charge is under way, the books are looked at: only what they show has anybody ask.
func (s *subscription) answerLook(ctx workflow.Context) error {
	if s.look != nil {
		s.look()
		return nil
	}
	s.distrust(ctx, ChangeLookReloads)
	return nil
}

// answer does what a request asks for, and waits a moment for the charge that it causes.
func (s *subscription) answer(
	ctx workflow.Context, kind activities.SubscriptionCommandKind, r SubscriptionRequest,
) (activities.SubscriptionState, error) {
	if err := workflow.Await(ctx, func() bool { return s.loaded || s.closed }); err != nil {
		return activities.SubscriptionState{}, err
	}
	if s.busy(ctx) && !harmless(kind) {
		if err := awaitBriefly(ctx, settleWait, waitCharge, func() bool { return !s.busy(ctx) }); err != nil {
			return activities.SubscriptionState{}, err
		}
	}
	if err := s.change(ctx, kind, r); err != nil || harmless(kind) {
		return s.now, err
	}
	return s.afterCharge(ctx)
}

// harmless reports whether a request may come while a charge is under way: it does not touch what is charged.
func harmless(kind activities.SubscriptionCommandKind) bool {
	return kind == activities.CommandCancel || kind == activities.CommandUndoCancel
}

// busy reports whether a charge is under way or due: nothing else may happen to its invoice.
func (s *subscription) busy(ctx workflow.Context) bool {
	return s.charging || s.now.Action == account.ActionCharge && !s.now.DueAt.After(workflow.Now(ctx))
}

// mayEnd reports whether a request is to end the subscription at once, though a charge is under way or due: whether one was begun,
// the store knows, and then refuses. GetVersion is called only in this case, so other histories get no marker. A run that once took
// the old way keeps it.
func (s *subscription) mayEnd(ctx workflow.Context, kind activities.SubscriptionCommandKind) bool {
	return kind == activities.CommandCancelNow &&
		workflow.GetVersion(ctx, ChangeCancelUncharged, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

func (s *subscription) change(ctx workflow.Context, kind activities.SubscriptionCommandKind, r SubscriptionRequest) error {
	if err := s.mutex.Lock(ctx); err != nil {
		return err
	}
	defer s.mutex.Unlock()
	if err := s.validate(kind); err != nil {
		return err
	}
	method := r.MethodID
	if kind.NamesMethod() {
		var err error
		if method, err = s.attach(ctx, s.now.Subscription.AccountID, r.MethodID, changeWithin); err != nil {
			return err
		}
	}
	if s.busy(ctx) && !harmless(kind) && !s.mayEnd(ctx, kind) {
		return errCharging
	}
	var state activities.SubscriptionState
	err := briefly(ctx, a.ChangeSubscription, activities.SubscriptionCommand{
		SubscriptionID: s.flow.SubscriptionID, Kind: kind, Key: r.Key, At: workflow.Now(ctx),
		PlanID: r.PlanID, MethodID: method, ProrateAt: r.ProrateAt, ResumesAt: r.ResumesAt, Reason: r.Reason,
	}).Get(ctx, &state)
	if err != nil {
		s.doubt(ctx, err)
		return err
	}
	s.took(ctx, state, true)
	return nil
}

// afterCharge returns what the charge under way has left, or the present when that takes too long. A declined change of plan
// is the requester's error: nothing has changed.
func (s *subscription) afterCharge(ctx workflow.Context) (activities.SubscriptionState, error) {
	before := s.now.Subscription
	if s.busy(ctx) {
		charged := func() bool { return s.now.Subscription.Version != before.Version }
		if err := awaitBriefly(ctx, chargeWait, waitCaused, charged); err != nil {
			return activities.SubscriptionState{}, err
		}
	}
	if s.now.Event == planChangeDeclined && before.Upgrade != nil {
		return activities.SubscriptionState{}, account.ErrPaymentDeclined
	}
	return s.now, nil
}
