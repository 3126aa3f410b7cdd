package runtime

import (
	"errors"
	"fmt"
)

// Why a call or a module was refused. Every error of this package is one of these (errors.Is). The texts of all but
// [ErrHost] and [ErrClosed] may be shown to whoever made the call.
var (
	// ErrBadModule: not a WebAssembly module, or not one that this node runs.
	ErrBadModule = errors.New("bad module")
	// ErrMethodNotFound: the module exports no method of this name.
	ErrMethodNotFound = errors.New("method not found")
	// ErrMethodName: not the name of a method.
	ErrMethodName = errors.New("bad method name")
	// ErrMethodType: the export takes arguments or returns values.
	ErrMethodType = errors.New("bad method type")
	// ErrPanic: the guest gave up with a message; the error is a [*PanicError].
	ErrPanic = errors.New("guest panicked")
	// ErrTrap: the guest did what WebAssembly forbids, or passed the host what is no memory of its own.
	ErrTrap = errors.New("trap")
	// ErrUnsupported: the guest called a function that this host does not have.
	ErrUnsupported = errors.New("unsupported host function")
	// ErrTimeLimit: the call took longer than [Limits].Time.
	ErrTimeLimit = errors.New("time limit")
	// ErrMemoryLimit: the guest gave up after it was refused more memory than [Limits].MemoryPages.
	ErrMemoryLimit = errors.New("memory limit")
	// ErrStackLimit: the guest's calls are nested deeper than [Limits].StackSize.
	ErrStackLimit = errors.New("stack limit")
	// ErrHostLimit: the guest asked the host for more than another of the [Limits] allows.
	ErrHostLimit = errors.New("host limit")
	// ErrHost: the node failed, not the guest: its storage did, or the caller's context ended. The cause is wrapped.
	ErrHost = errors.New("host failure")
	// ErrClosed: the engine is closed.
	ErrClosed = errors.New("the engine is closed")
)

// failure is an error with one of the reasons above, a text of its own, and perhaps a cause.
type failure struct {
	reason error
	text   string
	cause  error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.reason}
	}
	return []error{f.reason, f.cause}
}

// fail makes an error. The format may hold one %w, which becomes the cause.
func fail(reason error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{reason, err.Error(), errors.Unwrap(err)}
}

// PanicError is a panic of the guest.
type PanicError struct {
	Message string
	File    string
	Line    uint32
	Column  uint32
}

// Error says what the reference node says.
func (e *PanicError) Error() string {
	return fmt.Sprintf("guest panicked: %s at %s:%d:%d", e.Message, e.File, e.Line, e.Column)
}

// Unwrap returns [ErrPanic].
func (e *PanicError) Unwrap() error { return ErrPanic }
