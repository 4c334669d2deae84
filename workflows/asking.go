package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
)

// asking is what flows have in common in which somebody asks for a code or a link, maybe more than once, and proves the newest
// one: which requests are settled, what the proof has brought, and when it is too late. The mutex guards every change that
// spans a wait. What is made and sent, and what a proof allows, is the flow's own.
type asking[Request, Done any] struct {
	// id names the challenge of a request. issue makes it and begins to send it, in place of the one before; apply makes the
	// change that a proof allows. Both are called with the mutex held.
	id    func(Request) uuid.UUID
	issue func(ctx workflow.Context, req Request, run runner) error
	apply func(ctx workflow.Context, proof activities.ChallengeInput) (Done, error)

	// owed is the newest request that no try has settled yet. The flow itself goes on with it.
	owed    *Request
	opened  map[uuid.UUID]error
	expires time.Time
	proof   activities.ChallengeInput
	done    *Done
	closed  bool
	// stopSend ends the sending of the newest challenge.
	stopSend workflow.CancelFunc
	mutex    workflow.Mutex
	log      log.Logger
}

func newAsking[Request, Done any](ctx workflow.Context, first Request) asking[Request, Done] {
	return asking[Request, Done]{
		owed: &first, opened: map[uuid.UUID]error{}, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx),
	}
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (f *asking[Request, Done]) settle(ctx workflow.Context) error {
	if f.owed == nil {
		return nil
	}
	req := *f.owed
	f.owed = nil
	return f.open(ctx, req, patiently)
}

func (f *asking[Request, Done]) until() time.Time { return f.expires }
func (f *asking[Request, Done]) proven() bool     { return f.done != nil }
func (f *asking[Request, Done]) owing() bool      { return f.owed != nil }
func (f *asking[Request, Done]) over() bool       { return f.closed }

// expire closes the flow, unless a proof or another challenge came while it waited.
func (f *asking[Request, Done]) expire(ctx workflow.Context) error {
	if err := f.mutex.Lock(ctx); err != nil {
		return err
	}
	defer f.mutex.Unlock()
	f.closed = f.done == nil && !workflow.Now(ctx).Before(f.expires)
	return nil
}

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (f *asking[Request, Done]) validateOpen(Request) error {
	if f.closed || f.done != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

// answerOpen tries once, briefly. What fails for a passing reason is still owed: the flow goes on with it, whether or not
// the caller asks again.
func (f *asking[Request, Done]) answerOpen(ctx workflow.Context, req Request) error {
	err := f.open(ctx, req, briefly)
	if err != nil && passing(err) {
		f.owed = &req
	}
	return err
}

func (f *asking[Request, Done]) open(ctx workflow.Context, req Request, run runner) error {
	if err := f.mutex.Lock(ctx); err != nil {
		return err
	}
	defer f.mutex.Unlock()
	id := f.id(req)
	if known, ok := f.opened[id]; ok {
		return known
	}
	if err := f.validateOpen(req); err != nil {
		return err
	}
	err := f.issue(ctx, req, run)
	if err == nil || !passing(err) {
		f.opened[id] = err
	}
	if err == nil {
		f.owed = nil // the newest one replaces whatever was asked for before
	}
	return err
}

// sendingOf is where the newest challenge is sent; the one before is no longer.
func (f *asking[Request, Done]) sendingOf(ctx workflow.Context) workflow.Context {
	f.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	f.stopSend = cancel
	return sending
}

func (f *asking[Request, Done]) stopSending() {
	if f.stopSend != nil {
		f.stopSend()
	}
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (f *asking[Request, Done]) validateProceed(proof activities.ChallengeInput) error {
	if f.closed && f.done == nil || f.done != nil && f.proof != proof {
		return account.ErrInvalidCode.Because(errEnding)
	}
	return nil
}

func (f *asking[Request, Done]) proceed(ctx workflow.Context, proof activities.ChallengeInput) (none Done, err error) {
	if err := f.mutex.Lock(ctx); err != nil {
		return none, err
	}
	defer f.mutex.Unlock()
	// While it waited, another proof or the end may have come.
	if err := f.validateProceed(proof); err != nil {
		return none, err
	}
	if f.done == nil {
		done, err := f.apply(ctx, proof)
		if err != nil {
			return none, err
		}
		f.done, f.proof = &done, proof
	}
	return *f.done, nil
}
