package durable

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"gatehouse/account"
)

// Describe names err for a log without its text, which may quote addresses, codes or tokens: the codes and types along
// its chain, SQL states, and the names of well-known causes. It is empty for nil.
func Describe(err error) string {
	var names []string
	collect(err, &names)
	return strings.Join(names, ": ")
}

func collect(err error, names *[]string) {
	if err == nil {
		return
	}
	if name := nameOf(err); name != "" {
		*names = append(*names, name)
	}
	switch e := any(err).(type) {
	case interface{ Unwrap() error }:
		collect(e.Unwrap(), names)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			collect(inner, names)
		}
	}
}

func nameOf(err error) string {
	switch e := any(err).(type) {
	case *account.Error:
		return e.Code
	case *temporal.ApplicationError:
		return "ApplicationError(" + e.Type() + ")"
	case interface{ SQLState() string }:
		return fmt.Sprintf("%T(%s)", e, e.SQLState())
	case syscall.Errno:
		return e.Error()
	case *MissingAttributesError:
		return e.Error()
	}
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, ErrNoFlow, ErrFlowExists, ErrAttributesUnknown,
	} {
		if known == err { //nolint:errorlint // This very link of the chain, not what it wraps.
			return known.Error()
		}
	}
	switch name := fmt.Sprintf("%T", err); name {
	case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError":
		return ""
	default:
		return strings.TrimPrefix(name, "*")
	}
}

// sdkLogger gives the Temporal SDK a logger that keeps the texts of errors, panics and results to itself.
func sdkLogger(logger *slog.Logger) log.Logger {
	return log.NewStructuredLogger(slog.New(redactor{logger.Handler()}))
}

const (
	// activityError is the SDK's record of a failed activity; Interceptor logs the same failure, local ones too.
	activityError = "Activity error."
	hidden        = "(hidden)"
)

// textKeys are the SDK's tags that hold the text of an error or a panic, or a value of a workflow.
var textKeys = []string{"error", "panicerror", "result"}

// redactor is a slog.Handler that names errors instead of quoting them.
type redactor struct{ next slog.Handler }

// Enabled implements slog.Handler.
func (r redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return r.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (r redactor) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == activityError {
		return nil
	}
	// The SDK appends the text of an error to some messages, always after a colon.
	message, _, _ := strings.Cut(record.Message, ": ")
	clean := slog.NewRecord(record.Time, record.Level, message, record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redact(a))
		return true
	})
	return r.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (r redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redact(a)
	}
	return redactor{r.next.WithAttrs(clean)}
}

// WithGroup implements slog.Handler.
func (r redactor) WithGroup(name string) slog.Handler { return redactor{r.next.WithGroup(name)} }

func redact(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		clean := slices.Clone(a.Value.Group())
		for i := range clean {
			clean[i] = redact(clean[i])
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)}
	}
	value := a.Value.Any()
	if err, ok := value.(error); ok {
		return slog.String(a.Key, Describe(err))
	}
	if _, ok := value.(proto.Message); ok || slices.Contains(textKeys, strings.ToLower(a.Key)) {
		return slog.String(a.Key, hidden)
	}
	return a
}
