package runtime

import (
	"context"
	"io"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// Call is one call of a method of a [Module].
type Call struct {
	Method   string // [A-Za-z0-9_]{1,256}
	Input    []byte // what the guest reads with input(); the engine does not change it
	Context  id.ID
	Executor id.ID
	// Account is who is charged for the place that the call takes; calls of one share a part of all places.
	Account string

	// State is what the context's application has stored; nil is an empty state.
	State Reader
	// Private is what it has stored for this node alone. Without one, the guest reads nothing and cannot write.
	Private Reader
	// Blobs is this call's window on the node's blobs. Without one, the blob functions fail the call.
	Blobs Blobs
	// Directory answers questions about the context. Without one, there are no members and no aliases.
	Directory Directory
}

// Reader reads stored entries. Keys have at most [MaxStoredKey] bytes.
type Reader interface {
	// Get returns the value under key. The engine does not change the value, and it must not change before Run has
	// returned: values from a transaction that stays open during the call need not be copied.
	Get(ctx context.Context, key []byte) (value []byte, found bool, err error)
}

// MaxStoredKey is the length of the longest key, in bytes, that a [Reader] is asked for or that a [Write] carries.
//
// Guests built with the Rust SDK use keys of 32 bytes, which are kept as they are, as are shorter ones (also the empty
// one). A longer key is stored under 0xff and its SHA-256.
const MaxStoredKey = 33

// Blobs is one call's window on the node's blobs. The engine closes what the guest leaves open: every reader is
// closed, and every writer has seen Finish or Discard, when Run returns.
//
// What a call that failed has finished should not stay: whoever makes the window undoes it when Run says so.
type Blobs interface {
	// Open opens a blob, also one that was finished earlier in the same call. A blob that does not exist reads as
	// an empty one: ok is false.
	Open(ctx context.Context, blob id.ID) (r io.ReadCloser, ok bool, err error)
	// Create begins a blob.
	Create(ctx context.Context) (BlobWriter, error)
	// Announce tells the peers of a context about a blob. ok is false if this node does not have it.
	Announce(ctx context.Context, blob, to id.ID) (ok bool, err error)
}

// BlobWriter receives the content of one blob.
type BlobWriter interface {
	io.Writer
	// Finish ends the content and returns its id.
	Finish(ctx context.Context) (id.ID, error)
	// Discard gives the content up.
	Discard()
}

// Directory answers questions about the context of a call.
type Directory interface {
	Members(ctx context.Context) ([]id.ID, error)
	IsMember(ctx context.Context, member id.ID) (bool, error)
	// ResolveAlias looks up a name among the aliases of the context.
	ResolveAlias(ctx context.Context, name string) (target id.ID, found bool, err error)
}

// Outcome is what a call did. Nothing of it has been stored or sent.
//
// A call that failed (an error of Run, or Failed) has logs, times, and nothing else but Returned. A call that did not
// commit has neither writes nor proposals nor changes of contexts.
type Outcome struct {
	// Returned is what the guest returned, nil if it returned nothing: of several returns the last.
	Returned []byte
	// Failed says that the guest returned an error. Returned is that error.
	Failed bool
	// Committed says that the guest called commit; Root and Artifact are what it handed over.
	Committed bool
	Root      id.ID
	Artifact  []byte

	Logs   []string
	Events []Event
	XCalls []XCall

	// Writes and PrivateWrites are in the order of their keys, each key once.
	Writes        []Write
	PrivateWrites []Write
	Changes       []ContextChange
	Proposals     []Proposal
	Approvals     []id.ID

	Duration time.Duration
	// Told is the latest time that the guest was told, in Unix nanoseconds; 0 if it did not ask.
	Told int64
}

// Write is an entry to store, or to remove.
type Write struct {
	Key    []byte
	Value  []byte
	Remove bool
}

// Event is what the guest tells subscribers. Handler is the method to call with Data as its input afterwards, or empty.
type Event struct {
	Kind    string
	Data    []byte
	Handler string
}

// XCall is a call of another context's method, to be made after this call.
type XCall struct {
	Context  id.ID
	Function string
	Params   []byte
}

// ChangeKind says what a [ContextChange] does.
type ChangeKind int

// What a guest can ask for.
const (
	CreateContext ChangeKind = iota + 1
	DeleteContext
	AddMember
	RemoveMember
)

// ContextChange is a change that the guest asks the node for. The zero fields are those that the kind does not have.
type ContextChange struct {
	Kind ChangeKind

	Protocol    string // CreateContext
	Application id.ID
	Input       []byte
	Alias       string

	Context id.ID // DeleteContext
	Member  id.ID // AddMember, RemoveMember
}

// Proposal is a governance proposal. The engine chose its id.
type Proposal struct {
	ID      id.ID
	Actions []byte
}
