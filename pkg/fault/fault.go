// Package fault is the one coded error type that use cases return and transports translate.
//
// Packages below a use case keep ordinary sentinel errors; the use case turns them into a *[Error] with a
// [Code] (what class of failure), a Reason (the stable machine word clients match) and a Message (shown to
// the client). The wrapped Err is for the log only. Nothing here knows HTTP: each httpapi package holds the
// one table from Code to status.
package fault

import (
	"errors"
	"time"
)

// Code is the class of a failure. The empty Code is never meaningful and reads as [Internal].
type Code string

// The classes of failure.
const (
	Invalid          Code = "invalid"         // the request is malformed
	Unprocessable    Code = "unprocessable"   // well-formed, but a value is out of its limits
	Unauthenticated  Code = "unauthenticated" // no credential, or a bad one
	Forbidden        Code = "forbidden"       // known caller, not allowed
	NotFound         Code = "not_found"       // no such thing
	Gone             Code = "gone"            // it was there and has ended
	Conflict         Code = "conflict"        // the state forbids it
	MethodNotAllowed Code = "method_not_allowed"
	UnsupportedMedia Code = "unsupported_media" // the body is not of the expected content type
	TooLarge         Code = "too_large"         // the body or a field exceeds its limit
	RateLimited      Code = "rate_limited"      // try again after RetryAfter
	Unavailable      Code = "unavailable"       // a dependency is down; trying again may help
	NotImplemented   Code = "not_implemented"   // a documented route that this build does not serve
	Internal         Code = "internal"          // our fault; the message is fixed
)

// Codes lists every code, for tests that check a transport's table.
var Codes = []Code{
	Invalid, Unprocessable, Unauthenticated, Forbidden, NotFound, Gone, Conflict, MethodNotAllowed,
	UnsupportedMedia, TooLarge, RateLimited, Unavailable, NotImplemented, Internal,
}

// internalMessage is all that a client learns of an error that nobody classified.
const internalMessage = "internal server error"

// Error is a classified failure.
type Error struct {
	Code       Code
	Reason     string        // stable word for X-Auth-Error; empty when the class says enough
	Message    string        // for the client: lower case, no internals
	RetryAfter time.Duration // with RateLimited and Unavailable: when to try again, 0 if unknown
	Err        error         // for the log, never shown
}

// New returns an error of the given class with a message for the client.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Wrap returns an error of the given class that hides err from the client and keeps it for the log.
func Wrap(err error, code Code, message string) *Error {
	return &Error{Code: code, Message: message, Err: err}
}

// Because sets the stable reason word and returns the error.
func (e *Error) Because(reason string) *Error {
	e.Reason = reason
	return e
}

// Error returns message and cause, once where they are the same; for logs.
func (e *Error) Error() string {
	if e.Err == nil || e.Err.Error() == e.Message {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the class of err: "" for nil, [Internal] for an error nobody classified.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		return e.Code
	}
	return Internal
}

// ReasonOf returns the stable reason word of err, or "".
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// MessageOf returns what a client may read of err. An internal or unclassified error yields a fixed text.
func MessageOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != Internal && e.Code != "" && e.Message != "" {
		return e.Message
	}
	return internalMessage
}

// RetryAfterOf returns when to try again, 0 if err does not say.
func RetryAfterOf(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
