package providers

import (
	"errors"
	"strconv"
	"time"
)

// sendError is an error with the mark that one of the functions below gave it.
type sendError struct {
	cause     error
	permanent bool
	gone      bool
	// notTaken says that another try cannot do harm by sending a message twice, mostly since the vendor has certainly not taken it.
	notTaken bool
	after    time.Duration
}

func (f *sendError) Error() string { return f.cause.Error() }

func (f *sendError) Unwrap() error { return f.cause }

// Permanent marks err as final: sending the same message again can only fail again. The caller has made sure that
// err names neither recipient nor secret, for itself and all that it wraps.
func Permanent(err error) error { return &sendError{cause: err, permanent: true, notTaken: true} }

// Gone is Permanent for a recipient that nothing will ever reach again. The same promise holds.
func Gone(err error) error {
	return &sendError{cause: err, permanent: true, gone: true, notTaken: true}
}

// Temporary marks err as worth another try, no sooner than after (0 leaves that to the caller's own backoff). The vendor has
// not taken the message, or taking it twice would do no harm. The same promise as for Permanent holds.
func Temporary(err error, after time.Duration) error {
	return &sendError{cause: err, after: max(after, 0), notTaken: true}
}

// Unanswered marks err as worth another try, though the vendor may have taken the message and did not say so: another try may
// send it twice. The same promise holds.
func Unanswered(err error) error { return &sendError{cause: err} }

// IsUnanswered reports whether err leaves open if the vendor has taken the message, so that another try may send it twice. It
// does so for Unanswered, and for an error without a mark, of which nobody knows.
func IsUnanswered(err error) bool {
	var f *sendError
	return err != nil && (!errors.As(err, &f) || !f.notTaken)
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

// maxRetryAfter is the longest pause that a vendor may ask for.
const maxRetryAfter = time.Hour

// ParseRetryAfter reads a Retry-After header in seconds: at most an hour, and 0 when there is none, or one that cannot be read.
func ParseRetryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
}
