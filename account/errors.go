package account

import (
	"errors"
	"slices"
	"time"
)

// Kind classifies a failure. The set is closed: api/endpoint maps each kind to one HTTP status per dialect.
type Kind int

// The kinds of failure.
const (
	// Internal is a fault of ours; the client learns nothing but that it happened.
	Internal Kind = iota
	// Accepted is not a failure but an unfinished answer: the flow has been started and goes on without the caller.
	Accepted
	// Malformed input cannot be read at all.
	Malformed
	// Invalid input can be read, and names the fields at fault.
	Invalid
	// Rejected input is well-formed but refused by a rule or by the state it meets.
	Rejected
	// Unauthenticated callers showed no credential, or one that is not valid (any more).
	Unauthenticated
	// Forbidden callers are known, and may not do this (now).
	Forbidden
	// NotFound things do not exist for this caller.
	NotFound
	// NotAllowed methods do not exist on this path.
	NotAllowed
	// Conflict is a clash with something that exists already.
	Conflict
	// TooLarge bodies exceed the limit.
	TooLarge
	// Unsupported media types cannot be decoded.
	Unsupported
	// TooMany attempts were made; RetryAfter says when the next one is heard.
	TooMany
	// Unavailable means that the request could not be served now, and that the same request may be sent again after RetryAfter. It
	// usually changed nothing, but that is not certain: a database or flow that did not answer may have made the change, and under
	// ErrOutcomeUnknown it may still be made.
	Unavailable
)

// Field is one fault of one input field. Name is the canonical (snake_case) name; a dialect renders its own.
type Field struct {
	Name    string
	Message string
}

// Error is the one failure type of Gatehouse. Code and Message are safe for strangers; the cause is for the log only.
type Error struct {
	Code    string
	Kind    Kind
	Message string
	// Fields lists every faulty field; only Invalid errors have them.
	Fields []Field
	// RetryAfter is set on TooMany and Unavailable.
	RetryAfter time.Duration
	// Operation is the id of the running flow; only Accepted errors have one.
	Operation string

	cause error
}

// Error returns code and message, never the cause.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns the hidden cause, for logs and errors.Is.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an Error of the same code, whatever its fields and cause.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// Because returns a copy of e that carries cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// On returns a copy of e with one more field at fault.
func (e *Error) On(field, message string) *Error {
	c := *e
	c.Fields = append(slices.Clone(e.Fields), Field{Name: field, Message: message})
	return &c
}

// After returns a copy of e that tells the client when to come back (rounded up to a second when rendered).
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Running returns a copy of e that names the flow to look at.
func (e *Error) Running(operation string) *Error {
	c := *e
	c.Operation = operation
	return &c
}

// Saying returns a copy of e with another sentence; code and kind stay.
func (e *Error) Saying(message string) *Error {
	c := *e
	c.Message = message
	return &c
}

var catalogue = map[string]*Error{}

func define(code string, kind Kind, message string, after ...time.Duration) *Error {
	if _, twice := catalogue[code]; twice {
		panic("account: error code " + code + " is defined twice")
	}
	e := &Error{Code: code, Kind: kind, Message: message}
	for _, d := range after {
		e.RetryAfter = d
	}
	catalogue[code] = e
	return e
}

// Catalogue returns every error code with its template, for the tests that pin it and the files that document it.
func Catalogue() map[string]*Error {
	all := make(map[string]*Error, len(catalogue))
	for code, e := range catalogue {
		c := *e
		all[code] = &c
	}
	return all
}

// Lookup returns the template of a code, and false when the code is not in the catalogue.
func Lookup(code string) (*Error, bool) {
	e, ok := catalogue[code]
	if !ok {
		return nil, false
	}
	c := *e
	return &c, true
}

// AsError returns err as an Error. What is not one becomes ErrInternal with err as its cause; nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return ErrInternal.Because(err)
}

// The catalogue. A failure is coined here and nowhere else.
var (
	ErrInternal         = define("internal", Internal, "Something went wrong on our side.")
	ErrUnavailable      = define("unavailable", Unavailable, "The service cannot answer right now. Please try again shortly.", time.Second)
	ErrBusy             = define("busy", Unavailable, "Too many requests are being served right now. Please try again shortly.", time.Second)
	ErrPending          = define("pending", Accepted, "Your request was accepted and is still being worked on.")
	ErrOutcomeUnknown   = define("outcome_unknown", Unavailable, "The outcome is not known yet. Repeat the request with the same Idempotency-Key.", time.Second)
	ErrMalformed        = define("malformed_request", Malformed, "The request body could not be read.")
	ErrInvalid          = define("validation_error", Invalid, "Validation failed")
	ErrNotFound         = define("not_found", NotFound, "Not found")
	ErrMethodNotAllowed = define("method_not_allowed", NotAllowed, "This method is not allowed here.")
	ErrTooLarge         = define("body_too_large", TooLarge, "The request is too large.")
	ErrUnsupportedMedia = define("unsupported_media_type", Unsupported, "Send the body as application/json.")
	ErrTooManyRequests  = define("too_many_requests", TooMany, "Too many requests. Please try again later.")

	ErrUnauthorized             = define("unauthorized", Unauthenticated, "Missing, invalid or expired credentials")
	ErrAmbiguousCredentials     = define("ambiguous_credentials", Unauthenticated, "Send one credential, not two.")
	ErrInsufficientScope        = define("insufficient_scope", Forbidden, "This credential does not permit that.")
	ErrSecondStepRequired       = define("mfa_required", Forbidden, "Finish the second sign-in step first.")
	ErrEmailNotVerified         = define("email_not_verified", Forbidden, "Verify your email address first.")
	ErrReauthenticationRequired = define("reauthentication_required", Forbidden, "Sign in again to do this.")
	ErrInvalidCredentials       = define("invalid_credentials", Unauthenticated, "Invalid email or password")
	ErrIdentityAlreadyUsed      = define("identity_already_used", Rejected, "Username or email already exists")
	ErrEmailExists              = define("email_exists", Conflict, "Email already registered")
	ErrUsernameTaken            = define("username_taken", Rejected, "Username not available")
	ErrUsernameLimit            = define("username_change_limit", Rejected, "Username change limit reached")
	ErrInvalidCode              = define("invalid_code", Rejected, "Invalid or expired code")
	ErrInvalidOTP               = define("invalid_otp", Rejected, "Invalid or expired verification code")
	ErrInvalidToken             = define("invalid_token", Rejected, "Invalid or expired token")
	ErrInvalidPhone             = define("invalid_phone", Rejected, "Invalid phone number format")
	ErrInvalidPassword          = define("invalid_password", Rejected, "Current password is incorrect")
	ErrTwoFactorEnabled         = define("two_factor_enabled", Rejected, "Two-factor authentication is already enabled")
	ErrTwoFactorNotEnabled      = define("two_factor_not_enabled", Rejected, "Two-factor authentication is not enabled")
	ErrNoSecondFactor           = define("no_second_factor", Rejected, "Verify an email address, or set up an authenticator app first")
	ErrPasswordMismatch         = define("password_mismatch", Rejected, "Passwords do not match")
	ErrNoVerifiedPhone          = define("no_verified_phone", Rejected, "No verified phone number")
	ErrNoVerifiedEmail          = define("no_verified_email", Rejected, "No verified email")
	ErrSessionIDRequired        = define("session_id_required", Rejected, "X-Session-Id header is required")
	ErrPasswordExists           = define("password_exists", Conflict, "Password already set")
	ErrIdempotencyKeyReused     = define("idempotency_key_reused", Invalid, "This Idempotency-Key was used for a different request.")
	ErrIdempotencyKeyInUse      = define("idempotency_key_in_use", Conflict, "A request with this Idempotency-Key is still being served.", time.Second)
	ErrInvalidIdempotencyKey    = define("invalid_idempotency_key", Malformed, "Idempotency-Key must be 1 to 255 printable ASCII characters.")

	ErrConfirmationRequired  = define("confirmation_required", Rejected, "Confirmation required")
	ErrTooManyKeys           = define("too_many_api_keys", Conflict, "This account has as many API keys as it may have.")
	ErrProviderConnected     = define("provider_already_connected", Conflict, "OAuth provider already connected")
	ErrProviderNotConfigured = define("provider_not_configured", Rejected, "This provider is not set up here")
	ErrInvalidProviderToken  = define("invalid_provider_token", Rejected, "The provider does not accept this token for this account")
	ErrEmailConflict         = define("email_conflict", Conflict, "Email conflict with existing account")
	ErrUnsupportedProvider   = define("unsupported_provider", Rejected, "Unsupported provider")
	ErrInvalidState          = define("invalid_state", Rejected, "Invalid or expired state")
	ErrInvalidAssertion      = define("invalid_assertion", Unauthenticated, "The X-Assertion header is missing, invalid, expired or used")
	ErrForbidden             = define("forbidden", Forbidden, "API key may not sign users in")
	ErrAccountExists         = define("account_exists", Conflict, "Email belongs to an account without this provider")
	ErrLastProvider          = define("last_auth_provider", Rejected, "Cannot unlink last auth provider")
	ErrSubscriptionState     = define("invalid_subscription_state", Conflict, "The subscription is not in a state for this")
	ErrUnknownPlan           = define("unknown_plan", Rejected, "Unknown plan")
	ErrAlreadySubscribed     = define("already_subscribed", Conflict, "An active subscription already exists")
	ErrPaymentDeclined       = define("payment_declined", Rejected, "The payment method was declined")
	ErrPaymentActionRequired = define("payment_action_required", Rejected, "The payment needs the authentication of its owner")
)

// ErrPasswordRules is ErrInvalid for a new password that is at fault where one is changed, in the words of document A, whose
// apostrophe it is.
var ErrPasswordRules = ErrInvalid.Saying("Password doesn’t meet requirements")

// ErrUnsupportedCountry is ErrInvalidPhone for a number of a country that is not served.
var ErrUnsupportedCountry = ErrInvalidPhone.Saying("Unsupported country code")
