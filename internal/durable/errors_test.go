package durable_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

const marker = "marker-7f3a"

// leaky carries the marker everywhere an author may put text.
func leaky() error {
	return temporal.NewApplicationErrorWithOptions("message "+marker, "some_type", temporal.ApplicationErrorOptions{
		Cause:   fmt.Errorf("wrapped: %w", errors.New("cause "+marker)),
		Details: []any{"details " + marker, struct{ Email string }{marker}},
	})
}

func TestFailuresDoNotLeak(t *testing.T) {
	t.Parallel()
	keys := newKeyring(t)
	stored := func(c converter.FailureConverter) string {
		raw, err := proto.Marshal(c.ErrorToFailure(leaky()))
		require.NoError(t, err)
		return string(raw)
	}
	require.NotContains(t, stored(keys.FailureConverter()), marker)
	// The control is the snippet of the documentation: encoded, but not encrypted.
	require.Contains(t, stored(temporal.NewDefaultFailureConverter(
		temporal.DefaultFailureConverterOptions{EncodeCommonAttributes: true})), marker)

	failure := keys.FailureConverter().ErrorToFailure(leaky())
	back := keys.FailureConverter().FailureToError(failure)
	app, ok := errors.AsType[*temporal.ApplicationError](back)
	require.True(t, ok)
	require.Equal(t, "message "+marker, app.Message())
	require.ErrorContains(t, app.Unwrap(), "cause "+marker)

	// A worker reads the failure of a local activity back before it sends it.
	raw, err := proto.Marshal(failure)
	require.NoError(t, err)
	require.NotContains(t, string(raw), marker)
	again := keys.FailureConverter().ErrorToFailure(back)
	raw, err = proto.Marshal(again)
	require.NoError(t, err)
	require.NotContains(t, string(raw), marker)
}

// overTheWire is what the other side of Temporal makes of err.
func overTheWire(t *testing.T, err error) error {
	t.Helper()
	failures := newKeyring(t).FailureConverter()
	raw, marshalErr := proto.Marshal(failures.ErrorToFailure(err))
	require.NoError(t, marshalErr)
	var failure failurepb.Failure
	require.NoError(t, proto.Unmarshal(raw, &failure))
	return failures.FailureToError(&failure)
}

func TestEveryCodeSurvivesTemporal(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, account.Catalogue())
	for code, template := range account.Catalogue() {
		sent := template.Saying("another sentence").On("email", "is odd").After(90 * time.Second).Running("op-1").
			Because(errors.New("cause " + marker))
		app, ok := errors.AsType[*temporal.ApplicationError](durable.ToTemporal(fmt.Errorf("step: %w", sent)))
		require.True(t, ok, code)
		require.Equal(t, code, app.Type())
		retried := template.Kind == account.Unavailable || template.Kind == account.Internal
		require.Equal(t, !retried, app.NonRetryable(), code)
		require.Equal(t, !retried, app.Category() == temporal.ApplicationErrorCategoryBenign, code)

		for name, received := range map[string]error{
			"bare":    overTheWire(t, app),
			"wrapped": overTheWire(t, fmt.Errorf("flow: %w", app)),
			"activity": overTheWire(t, fmt.Errorf("flow: %w", temporal.NewApplicationErrorWithCause(
				"outer", "wrapError", app))),
		} {
			got := account.AsError(durable.FromTemporal(received))
			require.Equal(t, code, got.Code, name)
			require.Equal(t, sent.Kind, got.Kind, "%s %s", code, name)
			require.Equal(t, sent.Message, got.Message, "%s %s", code, name)
			require.Equal(t, sent.Fields, got.Fields, "%s %s", code, name)
			require.Equal(t, sent.RetryAfter, got.RetryAfter, "%s %s", code, name)
			require.Equal(t, sent.Operation, got.Operation, "%s %s", code, name)
			require.Error(t, got.Unwrap(), "the original is kept for the log")
		}
	}
}

func TestToTemporalLeavesTheRest(t *testing.T) {
	t.Parallel()
	require.NoError(t, durable.ToTemporal(nil))
	for _, err := range []error{
		errors.New("plain"), context.Canceled, temporal.NewCanceledError(),
		temporal.NewApplicationError("x", "y"), durable.ToTemporal(account.ErrInvalidCode),
	} {
		require.Equal(t, err, durable.ToTemporal(err))
	}
}

func TestOnlyAProvidersRetryAfterOverrulesThePolicy(t *testing.T) {
	t.Parallel()
	delay := func(err error) time.Duration {
		app, _ := errors.AsType[*temporal.ApplicationError](durable.ToTemporal(err))
		return app.NextRetryDelay()
	}
	require.Zero(t, delay(account.ErrUnavailable))
	require.Equal(t, 30*time.Second, delay(account.ErrUnavailable.After(30*time.Second)))
	require.Zero(t, delay(account.ErrTooManyRequests.After(30*time.Second)), "it is not retried")
}

func TestFromTemporal(t *testing.T) {
	t.Parallel()
	timeout := func(cause error) error { return client.NewWorkflowUpdateServiceTimeoutOrCanceledError(cause) }
	for name, tc := range map[string]struct{ in, want error }{
		"not found":                 {serviceerror.NewNotFound("x"), durable.ErrNoFlow},
		"time-out around not found": {timeout(serviceerror.NewNotFound("x")), durable.ErrNoFlow},
		"wrapped not found":         {fmt.Errorf("failed workflow update: %w", serviceerror.NewNotFound("x")), durable.ErrNoFlow},
		"again":                     {fmt.Errorf("core: %w", durable.ErrNoFlow), durable.ErrNoFlow},
		"started":                   {serviceerror.NewWorkflowExecutionAlreadyStarted("x", "", ""), durable.ErrFlowExists},
		"time-out":                  {timeout(context.DeadlineExceeded), account.ErrOutcomeUnknown},
		"time-out around refusals":  {timeout(serviceerror.NewUnavailable("x")), account.ErrOutcomeUnknown},
		"server's deadline":         {serviceerror.NewDeadlineExceeded("x"), account.ErrOutcomeUnknown},
		"caller's deadline":         {context.DeadlineExceeded, account.ErrOutcomeUnknown},
		"caller gone":               {serviceerror.NewCanceled("x"), account.ErrOutcomeUnknown},
		"cut off":                   {temporal.NewNonRetryableApplicationError("x", "AcceptedUpdateCompletedWorkflow", nil), account.ErrOutcomeUnknown},
		"activity time-out":         {temporal.NewTimeoutError(enums.TIMEOUT_TYPE_START_TO_CLOSE, nil), account.ErrOutcomeUnknown},
		"flow cancelled":            {temporal.NewCanceledError(), account.ErrOutcomeUnknown},
		"unreachable":               {fmt.Errorf("failed reaching server: %w", serviceerror.NewUnavailable("x")), account.ErrUnavailable},
		"exhausted":                 {serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, "x"), account.ErrUnavailable},
		"too many updates":          {serviceerror.NewFailedPrecondition("x"), account.ErrUnavailable},
		"flow takes no more":        {serviceerror.NewFailedPrecondition("x"), durable.ErrFlowRefuses},
		"flow has too many at once": {serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT, "x"), durable.ErrFlowRefuses},
		"unknown namespace":         {serviceerror.NewNamespaceNotFound("x"), account.ErrUnavailable},
		"not ready":                 {serviceerror.NewWorkflowNotReady("x"), account.ErrUnavailable},
		"time-out of a known failure": {
			temporal.NewTimeoutError(enums.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, durable.ToTemporal(account.ErrBusy)), account.ErrBusy,
		},
		"account error": {fmt.Errorf("x: %w", account.ErrInvalidCode), account.ErrInvalidCode},
		"unknown type":  {temporal.NewApplicationError("x", "no_such_code"), account.ErrInternal},
		"bad attribute": {serviceerror.NewInvalidArgument("x"), account.ErrInternal},
		"anything":      {errors.New("x"), account.ErrInternal},
	} {
		got := durable.FromTemporal(tc.in)
		require.ErrorIs(t, got, tc.want, name)
		require.ErrorIs(t, got, tc.in, "%s: the cause is kept", name)
	}
	require.NoError(t, durable.FromTemporal(nil))
}
