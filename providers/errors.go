package providers

import (
	"errors"
	"time"
)

type sendError struct {
	cause     error
	permanent bool
	gone      bool
	answered  bool
	after     time.Duration
}

func (f *sendError) Error() string { return f.cause.Error() }

func (f *sendError) Unwrap() error { return f.cause }

// Permanent marks err as final: sending the same message again can only fail again. The caller has made sure that
// err names neither recipient nor secret, for itself and all that it wraps.
func Permanent(err error) error { return &sendError{cause: err, permanent: true, answered: true} }

// Gone is Permanent for a recipient that nothing will ever reach again. The same promise holds.
func Gone(err error) error {
	return &sendError{cause: err, permanent: true, gone: true, answered: true}
}

// Temporary marks err as worth another try, no sooner than after (0 leaves that to the caller's own backoff). The
// same promise as for Permanent holds.
func Temporary(err error, after time.Duration) error {
	return &sendError{cause: err, after: max(after, 0), answered: true}
}

// Unanswered is Temporary where the vendor may have taken the message and did not say so. The same promise holds.
func Unanswered(err error) error { return &sendError{cause: err} }

// IsAnswered reports whether err says for certain that the vendor did not take the message. Of an error without a mark nobody
// knows.
func IsAnswered(err error) bool {
	var f *sendError
	return errors.As(err, &f) && f.answered
}

// IsPermanent reports whether err is final. Any error not marked by Permanent is worth another try.
func IsPermanent(err error) bool {
	var f *sendError
	return errors.As(err, &f) && f.permanent
}

// IsGone reports whether err says that the recipient does not exist any more.
func IsGone(err error) bool {
	var f *sendError
	return errors.As(err, &f) && f.gone
}

// RetryAfter returns how long the vendor asked to be left alone, or 0 when it did not say.
func RetryAfter(err error) time.Duration {
	var f *sendError
	if errors.As(err, &f) && !f.permanent {
		return f.after
	}
	return 0
}
