package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/log"

	"gatehouse/account"
)

const secret = "ada@example.com"

type sqlError struct{}

func (sqlError) Error() string    { return "duplicate key " + secret }
func (sqlError) SQLState() string { return "23505" }

func TestDescribeNamesErrors(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, err := range map[string]error{
		"":                                     nil,
		"errors.errorString":                   errors.New(secret),
		"invalid_code":                         account.ErrInvalidCode,
		"unavailable: durable.sqlError(23505)": fmt.Errorf("%s: %w", secret, account.ErrUnavailable.Because(sqlError{})),
		"ApplicationError(invalid_code)":       ToTemporal(account.ErrInvalidCode),
		"net.OpError: os.SyscallError: connection refused": refused,
		"context canceled: context deadline exceeded":      errors.Join(context.Canceled, context.DeadlineExceeded),
	} {
		require.Equal(t, want, Describe(err))
	}
}

func TestSDKLoggerKeepsTextsToItself(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := sdkLogger(slog.New(slog.NewJSONHandler(&out, nil)))
	failure := fmt.Errorf("mail to %s: %w", secret, account.ErrUnavailable.Because(errors.New(secret)))

	logger.Warn("Workflow task postprocess error: " + secret)
	logger.Error("Failed to poll for task.", "Error", failure)
	logger.Error("Activity panic.", "PanicError", secret, "PanicStack", "goroutine 1")
	logger.Info("Activity complete after timeout.", "Result", &commonpb.Payload{Data: []byte(secret)})
	logger.Info("grouped", slog.Group("g", "Error", secret, "cause", failure))
	log.With(logger, "Error", failure, "Attempt", 3).Info("with")
	require.NotContains(t, out.String(), secret)
	for _, kept := range []string{
		"Workflow task postprocess error", "unavailable", "goroutine 1", "Activity panic.", `"Attempt":3`, "with",
	} {
		require.Contains(t, out.String(), kept)
	}

	out.Reset()
	logger.Error("Activity error.", "Error", failure)
	require.Empty(t, out.String(), "the interceptor logs activities")
	logger.Debug("hidden by level")
	require.Empty(t, out.String())
}
