package contexts

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The ways in which a call can be refused or fail, as clients tell them apart. Each is wrapped in a [*fault.Error].
var (
	// ErrNotFound: there is no such context.
	ErrNotFound = errors.New("no such context")
	// ErrUninitialized: the context has no state yet.
	ErrUninitialized = errors.New("the context has no state yet")
)

// UnauthorizedError refuses to act as an identity in a context: the node does not hold its key, or the caller may not.
type UnauthorizedError struct {
	Context, PublicKey id.ID
}

// Error implements error.
func (e *UnauthorizedError) Error() string {
	return fmt.Sprintf("may not act as %s in context %s", e.PublicKey, e.Context)
}

// NotInstalledError says that the application of a context is not on this node.
type NotInstalledError struct{ Application id.ID }

// Error implements error.
func (e *NotInstalledError) Error() string {
	return fmt.Sprintf("application %s is not installed", e.Application)
}

// CallError says what the application did wrong, in the words that clients get.
type CallError struct {
	Text string
	Err  error // of package runtime, nil if the application returned an error
}

// Error implements error.
func (e *CallError) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// OutputError says that an application returned what is not JSON.
type OutputError struct{ Problem string }

// Error implements error.
func (e *OutputError) Error() string { return e.Problem }

func notFound() error { return fault.Wrap(ErrNotFound, fault.NotFound, "Context not found") }

func unauthorized(context, identity id.ID) error {
	e := &UnauthorizedError{context, identity}
	return fault.Wrap(e, fault.Forbidden, e.Error())
}

func notInstalled(app id.ID) error {
	e := &NotInstalledError{app}
	return fault.Wrap(e, fault.NotFound, e.Error())
}

func callFailed(text string, err error) error {
	return fault.Wrap(&CallError{Text: text, Err: err}, fault.Invalid, text)
}

// runFailed translates an error of the runtime.
func runFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the call was given up: %w", errors.Join(context.Cause(ctx), err))
	case errors.Is(err, runtime.ErrClosed):
		return fault.Wrap(err, fault.Unavailable, "the node is stopping")
	case errors.Is(err, runtime.ErrHost):
		return fmt.Errorf("run a call: %w", err)
	}
	return callFailed(err.Error(), err)
}

// guestError is the text for an error that the application returned itself. The reference lists the bytes as numbers,
// which nobody can read; that remains for what is no text.
func guestError(returned []byte) error {
	text := string(returned)
	if !utf8.ValidString(text) {
		numbers := make([]string, len(returned))
		for i, b := range returned {
			numbers[i] = strconv.Itoa(int(b))
		}
		text = "[" + strings.Join(numbers, ", ") + "]"
	}
	return callFailed("the method call returned an error: "+text, nil)
}

// commitFailed translates an error of a change on its way to the disk.
func commitFailed(err error) error {
	switch {
	case errors.Is(err, store.ErrClosed):
		return fault.Wrap(err, fault.Unavailable, "the node is stopping")
	case errors.Is(err, errStale):
		return fault.Wrap(err, fault.Unavailable, "a change that this one was made upon could not be stored")
	}
	return err
}

// errStale refuses a change whose base is not what the database holds.
var errStale = errors.New("the state has changed meanwhile")
