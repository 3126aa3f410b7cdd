package runtime

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/calimero-network/mero-go/services/node/internal/id"
)

// invocation is one call that runs, and the context that its host functions get. Only its own goroutine uses it.
type invocation struct {
	context.Context // ends at the time limit
	caller          context.Context
	engine          *Engine
	call            Call

	held    int64 // of the engine's memory
	memory  *memory
	guest   api.Memory // nil while no instance has called the host, or if it has no memory
	failure error      // why the host ended the call
	effects
}

// effects are what a call did so far.
type effects struct {
	registers registers
	blobs     blobs

	returned  []byte
	failed    bool
	commits   int // of the guest's calls of commit
	committed bool
	root      id.ID
	artifact  []byte

	logs   []string
	events []Event
	xcalls []XCall

	state, private overlay
	written        int // bytes in both

	told      int64 // the latest time
	changes   []ContextChange
	proposals []Proposal
	approvals []id.ID
	action    []byte // what persist_root_state has done and flush_delta has not yet committed
}

// invocationKey finds the invocation where the compiler has wrapped the context.
type invocationKey struct{}

// Value implements [context.Context].
func (v *invocation) Value(key any) any {
	if key == (invocationKey{}) {
		return v
	}
	return v.Context.Value(key)
}

func invocationOf(ctx context.Context) *invocation {
	if v, ok := ctx.(*invocation); ok {
		return v
	}
	return ctx.Value(invocationKey{}).(*invocation)
}

// try calls a function of the guest.
func (v *invocation) try(fn api.Function) error {
	if err := v.expired(); err != nil {
		return err
	}
	if err := fn.CallWithStack(v, nil); err != nil {
		return v.explain(err)
	}
	return nil
}

// reset forgets what the call did.
func (v *invocation) reset() {
	v.closeBlobs()
	v.guest, v.failure, v.effects = nil, nil, effects{}
}

// enter begins every host function: the call ends here if it is over its time.
func (v *invocation) enter(mod api.Module) {
	if err := v.expired(); err != nil {
		v.abort(err)
	}
	if v.guest == nil {
		v.guest = mod.Memory()
	}
}

// expired says why the call has no time left.
func (v *invocation) expired() error {
	err := v.Err()
	switch {
	case v.engine.closed.Load():
		return errClosed
	case err == nil:
		return nil
	case v.caller.Err() != nil:
		return fail(ErrHost, "the call was given up: %w", v.caller.Err())
	default:
		return fail(ErrTimeLimit, "the method ran longer than %s", v.engine.limits.Time)
	}
}

// abort ends the call. It does not return.
func (v *invocation) abort(err error) {
	v.failure = err
	panic(err)
}

// hostFailed ends the call because the node could not do what the guest asked for.
func (v *invocation) hostFailed(what string, err error) {
	if expired := v.expired(); expired != nil {
		v.abort(expired)
	}
	v.abort(fail(ErrHost, "%s: %w", what, err))
}

// hold takes n bytes more of the engine's memory, or gives some back if n is negative. It reports false if there are
// not that many.
func (v *invocation) hold(n int64) bool {
	if v.engine.held.Add(n) > v.engine.memory && n > 0 {
		v.engine.held.Add(-n)
		return false
	}
	v.held += n
	return true
}

// mustHold ends the call if there is no memory for n bytes more.
func (v *invocation) mustHold(n int) {
	if !v.hold(int64(n)) {
		v.abort(errNoMemory)
	}
}

var errNoMemory = fail(ErrHostLimit, "the node has no more memory for calls now")

// releaseMemory gives back all.
func (v *invocation) releaseMemory() {
	v.engine.held.Add(-v.held)
	v.held = 0
}

// limit ends the call if n is above limit.
func (v *invocation) limit(what string, n, limit uint64) {
	if n > limit {
		v.abort(fail(ErrHostLimit, "the limit of %s is %d, and the guest asked for %d", what, limit, n))
	}
}

// room ends the call if there is no room for one more.
func (v *invocation) room(what string, have, limit int) {
	if have >= limit {
		v.abort(fail(ErrHostLimit, "a call has at most %d %s", limit, what))
	}
}

var errMemory = fail(ErrTrap, "invalid memory access")

// view returns n bytes of the guest's memory at p, not a copy. An empty buffer may be anywhere.
func (v *invocation) view(p, n uint64) []byte {
	if n == 0 {
		return nil
	}
	if p > math.MaxUint32 || n > math.MaxUint32 || v.guest == nil {
		v.abort(errMemory)
	}
	b, ok := v.guest.Read(uint32(p), uint32(n))
	if !ok {
		v.abort(errMemory)
	}
	return b
}

// buffer is a descriptor of guest memory.
type buffer struct{ at, size uint64 }

const bufferSize = 16

// buffer reads the descriptor at p: address and length, 8 bytes each, little-endian.
func (v *invocation) buffer(p uint64) buffer {
	b := v.view(p, bufferSize)
	return buffer{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// bytes returns what the descriptor at p names, not a copy: it changes with the guest's memory.
func (v *invocation) bytes(p uint64) []byte {
	b := v.buffer(p)
	return v.view(b.at, b.size)
}

// bounded is bytes with a limit.
func (v *invocation) bounded(what string, p uint64, limit int) []byte {
	b := v.buffer(p)
	v.limit(what, b.size, uint64(limit)) //nolint:gosec // limits are not negative
	return v.view(b.at, b.size)
}

// text returns a copy of a text.
func (v *invocation) text(what string, p uint64, limit int) string {
	b := v.bounded(what, p, limit)
	if !utf8.Valid(b) {
		v.abort(fail(ErrTrap, "invalid UTF-8 string"))
	}
	return string(b)
}

// id returns 32 bytes.
func (v *invocation) id(p uint64) id.ID {
	b := v.buffer(p)
	if b.size != id.Size {
		v.abort(errMemory)
	}
	return id.ID(v.view(b.at, b.size))
}

// outcome is what the call leaves behind, when it ended with err.
func (v *invocation) outcome(err error) Outcome {
	out := Outcome{Logs: v.logs, Told: v.told}
	if err != nil {
		return out
	}
	out.Returned, out.Failed = v.returned, v.failed
	if v.failed {
		return out
	}
	out.Events, out.XCalls = v.events, v.xcalls
	if !v.committed {
		return out
	}
	out.Committed, out.Root, out.Artifact = true, v.root, v.artifact
	out.Writes, out.PrivateWrites = v.state.writes(), v.private.writes()
	out.Changes, out.Proposals, out.Approvals = v.changes, v.proposals, v.approvals
	return out
}

// registers are byte strings that the guest names by number.
type registers struct {
	content map[uint64][]byte
	total   int
}

// set puts a value into a register. The value is not copied, and must not change any more.
func (v *invocation) set(register uint64, value []byte) {
	r, l := &v.registers, &v.engine.limits
	v.limit("the size of a register", uint64(len(value)), uint64(l.RegisterSize)) //nolint:gosec // not negative
	old, used := r.content[register]
	if !used {
		v.room("registers", len(r.content), l.Registers)
	}
	total := r.total - len(old) + len(value)
	v.limit("the size of all registers", uint64(total), uint64(l.RegisterTotal)) //nolint:gosec // not negative
	v.mustHold(total - r.total)
	if r.content == nil {
		r.content = map[uint64][]byte{}
	}
	r.content[register], r.total = value, total
}

// overlay is what a call has written over a stored state.
type overlay map[string]Write

// writes returns the entries in the order of their keys.
func (o overlay) writes() []Write {
	list := make([]Write, 0, len(o))
	for _, w := range o {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Write) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list
}
