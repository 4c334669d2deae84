package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
)

// What FromTemporal returns when the state of the flow itself is the answer. They are no account errors: what a missing
// or doubled flow means is for the operation to say.
var (
	// ErrNoFlow means that no such flow runs (any more), or that it never heard of the update.
	ErrNoFlow = errors.New("no such running flow")
	// ErrFlowExists means that the flow's id is taken and its policies refuse to join or replace it.
	ErrFlowExists = errors.New("the flow exists already")
	// ErrFlowRefuses is the cause of an account.ErrUnavailable that is of one flow alone: its run has had as many updates as the
	// server lets it have, it has too many under way, or somebody has paused it. Another flow may answer.
	ErrFlowRefuses = errors.New("the flow takes no update")
)

// updateCutOff is the server's error type for an update whose flow ended before its handler did.
const updateCutOff = "AcceptedUpdateCompletedWorkflow"

// errorDetails is what an account.Error carries through Temporal beside code and sentence.
type errorDetails struct {
	Fields     []account.Field `json:"fields,omitempty"`
	RetryAfter time.Duration   `json:"retry_after,omitempty"`
	Operation  string          `json:"operation,omitempty"`
}

// ToTemporal turns an account.Error anywhere in err into an ApplicationError whose type is the code. It is
// non-retryable, and benign for logs and metrics, unless its kind is Unavailable or Internal. Other errors pass.
func ToTemporal(err error) error {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && error(app) == err { //nolint:errorlint // only the outermost error keeps its type on the wire
		return err
	}
	e, ok := errors.AsType[*account.Error](err)
	if !ok {
		return err
	}
	cause := e.Unwrap()
	if error(e) != err { //nolint:errorlint // whether e is wrapped is the question
		cause = err
	}
	options := temporal.ApplicationErrorOptions{
		Cause:   cause,
		Details: []any{errorDetails{Fields: e.Fields, RetryAfter: e.RetryAfter, Operation: e.Operation}},
	}
	if !transient(e) {
		options.NonRetryable = true
		options.Category = temporal.ApplicationErrorCategoryBenign
	} else if e.RetryAfter > time.Second {
		// A second is the catalogue's own word; only a provider's overrules the retry policy.
		options.NextRetryDelay = e.RetryAfter
	}
	return temporal.NewApplicationErrorWithOptions(e.Message, e.Code, options)
}

func transient(e *account.Error) bool {
	return e.Kind == account.Unavailable || e.Kind == account.Internal
}

// FromTemporal turns what a call to Temporal returned into the account.Error that a flow or activity meant, with
// fields, retry-after and operation. It returns ErrNoFlow or ErrFlowExists (wrapped) where the flow is the answer,
// account.ErrOutcomeUnknown when the call may yet take effect, account.ErrUnavailable when Temporal cannot serve it, and
// account.ErrInternal for the rest. The original is the hidden cause. Workflow code may use it on an activity's error.
func FromTemporal(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNoFlow), errors.Is(err, ErrFlowExists):
		return err
	// Before the time-out: asking about an unknown update times out around a NotFound.
	case is[*serviceerror.NotFound](err):
		return fmt.Errorf("%w: %w", ErrNoFlow, err)
	case is[*serviceerror.WorkflowExecutionAlreadyStarted](err):
		return fmt.Errorf("%w: %w", ErrFlowExists, err)
	// Before unavailability: an attempt that the last refusal hides may have got through.
	case is[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err),
		is[*serviceerror.DeadlineExceeded](err), is[*serviceerror.Canceled](err),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return account.ErrOutcomeUnknown.Because(err)
	case flowRefuses(err):
		return account.ErrUnavailable.Because(fmt.Errorf("%w: %w", ErrFlowRefuses, err))
	// A part of the server that has just started may not know the namespace yet.
	case is[*serviceerror.Unavailable](err), is[*serviceerror.ResourceExhausted](err), is[*serviceerror.WorkflowNotReady](err),
		is[*serviceerror.NamespaceUnavailable](err), is[*serviceerror.NamespaceNotFound](err):
		return account.ErrUnavailable.Because(err)
	}
	if e, ok := errors.AsType[*account.Error](err); ok {
		return e
	}
	return fromFailure(err)
}

// flowRefuses reports whether the server refused an update for the sake of its flow, and not of everybody.
func flowRefuses(err error) bool {
	if busy, ok := errors.AsType[*serviceerror.ResourceExhausted](err); ok {
		return busy.Cause == enums.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT || busy.Cause == enums.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
	}
	return is[*serviceerror.FailedPrecondition](err)
}

// fromFailure looks through the whole chain: an error wrapped on its way has its code further in.
func fromFailure(err error) error {
	for rest := err; rest != nil; {
		app, ok := errors.AsType[*temporal.ApplicationError](rest)
		if !ok {
			break
		}
		if app.Type() == updateCutOff {
			return account.ErrOutcomeUnknown.Because(err)
		}
		if e, ok := restore(app); ok {
			return e.Because(err)
		}
		rest = app.Unwrap()
	}
	if is[*temporal.TimeoutError](err) || is[*temporal.CanceledError](err) {
		return account.ErrOutcomeUnknown.Because(err)
	}
	return account.ErrInternal.Because(err)
}

func restore(app *temporal.ApplicationError) (*account.Error, bool) {
	e, ok := account.Lookup(app.Type())
	if !ok {
		return nil, false
	}
	var d errorDetails
	if app.HasDetails() && app.Details(&d) == nil {
		e.Message = app.Message()
		e.Fields, e.RetryAfter, e.Operation = d.Fields, d.RetryAfter, d.Operation
	}
	return e, true
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
